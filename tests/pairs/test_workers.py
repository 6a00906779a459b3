"""Workers that die, and parents that die: nothing is lost, nothing is left, nothing hangs."""

import importlib.util
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnProcess

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import nconvex as nc
from nconvex import NconvexError
from nconvex.commands import survey as command
from nconvex.kernels import jit
from nconvex.pairs import job, workers
from nconvex.pairs.workers import Processes, WorkersLost

needs_kill = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


def square(number, check_cancelled=None):
    return number * number


def fail(number, check_cancelled=None):
    raise NconvexError(f"no {number}")


def overflow(number, check_cancelled=None):
    raise RuntimeError("in the job")


def die(number, check_cancelled=None):
    """Kill this process, from 3 on each time."""
    if number >= 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(flag, number, check_cancelled=None):
    """Kill this process the first time."""
    if not os.path.exists(flag):
        open(flag, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def variable(name, check_cancelled=None):
    return os.environ.get(name)


def sleep(seconds, check_cancelled=None):
    time.sleep(seconds)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids, patience=20.0):
    """Wait until processes have ended."""
    given_up = time.monotonic() + patience
    while any(map(running, pids)) and time.monotonic() < given_up:
        time.sleep(0.05)
    return not any(map(running, pids))


def test_whoever_works_all_results_come_once():
    jobs = [(number,) for number in range(50)]
    expected = [number * number for number in range(50)]
    context = multiprocessing.get_context("spawn")
    with Processes(2) as two, ProcessPoolExecutor(1, context) as executor:
        for work in (None, two, two, executor):
            assert sorted(workers.results(square, jobs, 3, work)) == expected
        for work in (None, two, executor):
            with pytest.raises(NconvexError, match="no 7"):
                list(workers.results(fail, [(7,)], 1, work))
            with pytest.raises(RuntimeError, match=r"^in the job$"):  # no matter of threads
                list(workers.results(overflow, [(7,)], 1, work))
        assert list(workers.results(square, [], 1, two)) == []
    assert not multiprocessing.active_children()


def test_workers_of_a_quiet_survey_announce_no_compilation(monkeypatch):
    heard = []

    def surveyed(*_, executor, **__):
        with executor as pool:
            heard.extend(pool.results(variable, [(jit.QUIET,)]))
        raise NconvexError("done")

    monkeypatch.delenv(jit.QUIET, raising=False)
    monkeypatch.setattr("nconvex.pairs.running.run", surveyed)
    assert command.main(["run", "--processes", "--workers", "1"]) == 2
    assert command.main(["run", "--processes", "--workers", "1", "--quiet"]) == 2
    assert heard == [None, "1"]


def test_no_more_workers_are_started_than_there_is_work():
    with Processes(1000) as pool:
        assert list(pool.results(square, [(3,)])) == [9]
        assert len(multiprocessing.active_children()) == 1


@needs_kill
def test_a_dead_worker_s_job_is_done_again_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "TRIES", 2)
    with Processes(2) as pool:
        jobs = [(str(tmp_path / "died"), number) for number in range(9)]
        assert sorted(pool.results(die_once, jobs)) == list(range(9))
        with pytest.raises(WorkersLost, match=r"died 2 times at one pair, .* exit code -9"):
            list(pool.results(die, [(1,), (2,), (3,), (1,)]))
        assert sorted(pool.results(square, [(1,), (2,)])) == [1, 4]  # it is as good as new
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, context) as executor,
        pytest.raises(WorkersLost, match="a worker of the executor died"),
    ):
        list(workers.results(die, [(3,)] * 100, 1, executor))
    assert not multiprocessing.active_children()


@needs_kill
def test_a_closed_pool_leaves_no_process_at_work():
    with Processes(2) as pool:
        results = pool.results(sleep, [(0.0,), (60.0,), (60.0,)])
        next(results)
        results.close()
    assert not multiprocessing.active_children()


def compiler_is_free(check_cancelled):
    lock = global_compiler_lock._lock  # Numba's own has no limit of time
    free = lock.acquire(timeout=5.0)
    if free:
        lock.release()
    return free


def test_a_compiler_that_an_interrupt_left_locked_is_freed():
    global_compiler_lock.acquire()  # what a Ctrl-C in the midst of a compilation can leave behind
    try:
        assert list(workers.results(compiler_is_free, [(), ()], 2, None)) == [True, True]
        assert not global_compiler_lock.is_locked()
    finally:
        jit.free_compiler()


@needs_kill
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_worker_has_started(monkeypatch, signum):
    start, started = SpawnProcess.start, []

    def struck(process):
        os.kill(os.getpid(), signum)
        time.sleep(0.05)
        start(process)
        started.append(process)

    monkeypatch.setattr(SpawnProcess, "start", struck)
    before = signal.signal(signum, signal.default_int_handler)
    # Another thread, as BLAS has some, takes the signals that this one blocks.
    done = threading.Event()
    threading.Thread(target=done.wait).start()
    try:
        with Processes(1) as pool, pytest.raises(KeyboardInterrupt):
            list(pool.results(square, [(1,)]))
        assert signal.getsignal(signum) is signal.default_int_handler
    finally:
        signal.signal(signum, before)
        done.set()
    assert len(started) == 1
    assert not multiprocessing.active_children()


@needs_kill
def test_what_is_said_of_lost_workers_is_true(tmp_path, monkeypatch):
    setting = nc.survey.Setting(L0=1e-2, samples=20)

    def lost(*_):
        yield job.connect_pair(0, 0, setting, (0, 0), False)
        raise WorkersLost("they died")

    monkeypatch.setattr(workers, "results", lost)
    with pytest.raises(NconvexError, match="they died; nothing keeps what was finished: name a st"):
        nc.survey.run(setting, pairs=2)
    with pytest.raises(NconvexError, match=r"they died; what was finished is in .*s: resume it"):
        nc.survey.run(setting, pairs=2, store=tmp_path / "s")
    assert len(nc.survey.load(tmp_path / "s").records) == 1


@needs_kill
def test_workers_end_with_their_parent_however_it_ends():
    code = f"""
import multiprocessing, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from nconvex.pairs.workers import Processes
import test_workers
if __name__ == "__main__":
    results = Processes(1).results(test_workers.sleep, [(0.0,), (600.0,)])
    next(results)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    next(results)
"""
    ends = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in ends
    ]
    for run, end in zip(runs, ends, strict=True):
        with run.stdout:
            pids = [int(word) for word in run.stdout.readline().split()]
        assert len(pids) == 1
        assert all(map(running, pids))
        run.send_signal(end)
        run.wait(20)
        assert gone(pids), f"{end.name} leaves workers"


@pytest.mark.filterwarnings("ignore")  # Dask's own, when its workers are killed
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs nconvex[dask]")
def test_a_dask_cluster_may_lose_workers_but_not_all(monkeypatch, tmp_path):
    from distributed import Client, LocalCluster

    from nconvex.commands.survey import main

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster, Client(cluster) as client:  # fmt: skip
        jobs = [(number,) for number in range(100)]
        found = []
        for result in workers.results(square, jobs, 1, client):
            found.append(result)
            if len(found) in (5, 50):
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        assert sorted(found) == [number * number for number in range(100)]
        with pytest.raises(NconvexError, match="no 7"):
            list(workers.results(fail, [(7,)], 1, client))
        with pytest.raises(NconvexError, match="pass the Dask client itself"):
            workers.results(square, jobs, 1, client.get_executor())
        run = ["run", "--L0", "1e-2", "--pairs", "4", "--quiet", "--store", str(tmp_path / "s")]
        assert main([*run, "--dask", cluster.scheduler_address]) == 0
        expected = nc.survey.run(nc.survey.grid(L0=(1e-2,)), pairs=4).records
        assert nc.survey.load(tmp_path / "s").records.tobytes() == expected.tobytes()
        x = np.linspace(0.0, 1.0, 20)[:, None]
        own = nc.Problem(nc.MLP((1, 3, 1)), "mse", x, x**2, x, x**2)
        kill = next(iter(client.run(os.getpid).values()))
        done = nc.survey.run(
            own, L0=0.05, pairs=6, executor=client,
            progress=lambda n, *_: n == 2 and os.kill(kill, signal.SIGKILL),
        )  # fmt: skip
        assert done == nc.survey.run(own, L0=0.05, pairs=6)  # it is sent again to a new worker
        monkeypatch.setattr(workers, "SILENCE", 0.2)
        cluster.scale(0)
        with pytest.raises(WorkersLost, match="has no workers left"):
            list(workers.results(sleep, itertools.repeat((60.0,), 3), 1, client))
