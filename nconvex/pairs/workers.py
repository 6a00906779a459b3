"""Many jobs at once: on threads, processes, an executor or a Dask cluster.

A job is a tuple of arguments, and its result depends on these alone. So a job whose worker died is
done again, a bounded number of times. Results come in the order in which they are finished.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, resource_tracker
from types import MappingProxyType
from typing import Any

import numpy as np

from nconvex.definitions import NconvexError, require_integer
from nconvex.kernels.jit import free_compiler

#: Workers at most; each takes some megabytes, a process 150.
MOST_WORKERS = 1024

#: Times that a job is started, each time after its worker died.
TRIES = 5

#: Jobs that an executor is given ahead of the results.
AHEAD = 1024

#: Seconds without any result until a Dask cluster is asked whether it still has workers.
SILENCE = 30.0

Job = tuple[Any, ...]
Function = Callable[..., Any]
Results = Generator[Any, None, None]


class WorkersLost(NconvexError):
    """Workers died too often; finished results are not affected."""


def workers_or_all(workers: int | np.integer[Any] | None) -> int:
    """Return the number of workers, which is that of the cores by default."""
    if workers is None:
        return os.cpu_count() or 1
    require_integer("workers", workers, 1, MOST_WORKERS)
    return int(workers)


def results(function: Function, jobs: Iterable[Job], workers: int, executor: Any = None) -> Results:
    """Yield function(*job) of each job; closing the generator drops the jobs that are left.

    Args:
        function: Of a module, so that other processes find it; it takes `check_cancelled=` as
            well, which it calls now and then, and which raises CancelledError where it should stop.
        jobs: Arguments of each call; one is taken when a worker becomes free.
        workers: Threads, where there is no executor.
        executor: `Processes`, a `concurrent.futures.Executor`, or a Dask `Client`.

    Raises:
        NconvexError: The executor is of another kind, or a worker cannot be started.
        WorkersLost: A job's worker died `TRIES` times, or the executor is broken.
    """
    if executor is None:
        return _on_threads(function, jobs, workers)
    if isinstance(executor, Processes):
        return executor.results(function, jobs)
    if type(executor).__module__ == "distributed.cfexecutor":
        raise NconvexError("pass the Dask client itself as the executor, not client.get_executor()")
    if isinstance(executor, Executor):
        return _on_executor(function, jobs, executor)
    if type(executor).__module__.startswith("distributed."):
        return _on_dask(function, jobs, executor)
    raise NconvexError(f"executor must be an Executor or a Dask client, not {executor!r}")


# -- Threads and executors ------------------------------------------------------------------------


def _on_threads(function: Function, jobs: Iterable[Job], workers: int) -> Results:
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers)
    free_compiler()

    def check_cancelled(*_: object) -> None:
        if stop.is_set():
            raise CancelledError

    def submit(job: Job) -> Any:
        try:
            return pool.submit(function, *job, check_cancelled=check_cancelled)
        except RuntimeError as error:  # Python's, where the system refuses a thread
            advice = "use fewer workers"
            raise NconvexError(f"cannot start {workers} threads ({error}); {advice}") from None

    try:
        yield from _as_finished(submit, jobs, 2 * workers)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _on_executor(function: Function, jobs: Iterable[Job], executor: Executor) -> Results:
    try:
        yield from _as_finished(lambda job: executor.submit(function, *job), jobs, AHEAD)
    except BrokenExecutor as error:
        raise WorkersLost(f"a worker of the executor died ({error})") from error


def _as_finished(
    submit: Callable[[Job], Any],
    jobs: Iterable[Job],
    ahead: int,
    accidents: tuple[type[BaseException], ...] = (),
    check: Callable[[], None] | None = None,
) -> Results:
    """Submit jobs, some ahead, and yield the results of their futures.

    Not by `concurrent.futures.wait`: it takes the locks of all futures each time, and Ctrl-C in the
    midst of that leaves some locked for ever.

    Args:
        submit: Makes the future of a job.
        jobs: What to do.
        ahead: Futures at a time.
        accidents: Errors after which a job is done again.
        check: Called where nothing was finished for `SILENCE` seconds; may raise.
    """
    jobs = iter(jobs)
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pending: dict[Any, tuple[Job, int]] = {}

    def start(job: Job, tries: int) -> None:
        future = submit(job)
        pending[future] = job, tries
        future.add_done_callback(finished.put)

    try:
        while True:
            for job in itertools.islice(jobs, ahead - len(pending)):
                start(job, 1)
            if not pending:
                return
            try:
                future = finished.get(timeout=SILENCE if check else None)
            except queue.Empty:
                assert check is not None
                check()
                continue
            job, tries = pending.pop(future)
            try:
                result = future.result(SILENCE)  # it is there, unless its worker died just now
            except accidents as error:
                if tries == TRIES:
                    raise WorkersLost(f"workers died {TRIES} times at one pair") from error
                start(job, tries + 1)
                continue
            yield result
    except BrokenExecutor:
        pending.clear()  # the executor is about to end them itself, and may hang if we do, too
        raise
    finally:
        for future in pending:
            future.cancel()


# -- Dask -----------------------------------------------------------------------------------------


def _on_dask(function: Function, jobs: Iterable[Job], client: Any) -> Results:
    # Not by the client's executor: it reads a future's status after its result, and takes one for
    # the other where the result's worker died in between.
    from distributed import KilledWorker, TimeoutError

    shared: dict[str, Any] = {}
    if isinstance(function, partial):  # what all jobs share is sent once, and not with each
        shared = {
            name: client.submit(_same, of, pure=False) for name, of in function.keywords.items()
        }
        function = function.func

    def check() -> None:
        try:
            client.wait_for_workers(1, timeout=SILENCE)
        except TimeoutError:
            raise WorkersLost("the Dask cluster has no workers left") from None

    try:
        yield from _as_finished(
            lambda job: client.submit(function, *job, **shared, pure=False),
            jobs,
            AHEAD,
            (KilledWorker, CancelledError, TimeoutError),
            check,
        )
    except Exception as error:
        if client.status == "running":
            raise
        raise WorkersLost("the Dask scheduler does not answer any more") from error


def _same(value: Any) -> Any:
    return value


# -- Processes ------------------------------------------------------------------------------------


class Processes:
    """Worker processes: started when there is work for them, and replaced when one dies.

    Each has its own pipe. The thread that asks for results serves all pipes. So no process holds a
    lock or queue when it is killed, and no thread waits for one. A worker ends with its parent,
    however that ends, and ignores Ctrl-C.

    Args:
        workers: Processes at most.
        environment: Variables for each process, beside its parent's.
    """

    def __init__(
        self, workers: int | np.integer[Any], environment: Mapping[str, str] = MappingProxyType({})
    ):
        self._most = workers_or_all(workers)
        self._environment = dict(environment)
        self._idle: list[_Worker] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().end()

    def results(self, function: Function, jobs: Iterable[Job]) -> Results:
        """Yield function(*job) of each job; see `results`."""
        new = ((job, 1) for job in jobs)
        again: deque[tuple[Job, int]] = deque()
        busy: dict[Any, tuple[_Worker, Job, int]] = {}
        ready: list[Any] = []

        def occupy() -> None:
            while len(busy) < self._most:
                job, tries = again.popleft() if again else next(new, (None, 0))
                if job is None:
                    return
                worker = self._idle.pop() if self._idle else _Worker(self._environment)
                busy[worker.pipe] = worker, job, tries
                worker.start(function, job)

        try:
            while True:
                occupy()
                if not busy:
                    return
                ready = ready or connection.wait(list(busy))
                worker, job, tries = busy.pop(ready.pop())
                answer = worker.answer()
                if answer is None:
                    code = worker.end(1.0)
                    if tries == TRIES:
                        raise WorkersLost(
                            f"worker processes died {TRIES} times at one pair, the last with exit "
                            f"code {code} (-9 often means that memory ran out: use fewer workers)"
                        )
                    again.append((job, tries + 1))
                    continue
                self._idle.append(worker)
                occupy()  # before the result is taken, so that the worker does not wait for that
                succeeded, value = answer
                if not succeeded:
                    raise value
                yield value
        finally:
            for worker, *_ in busy.values():
                worker.end()


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, environment), daemon=True)
        try:
            with _signals_held_back():
                self._process.start()
        except KeyboardInterrupt:
            if self._process.pid is not None:
                self.end()
            raise
        except OSError as error:
            raise NconvexError(
                f"cannot start a worker process: {error.strerror}; use fewer workers"
            ) from error
        finally:
            other.close()  # so that the pipe ends with the process

    def start(self, function: Function, job: Job) -> None:
        """Send a job; if the process died, its answer will say so."""
        with suppress(OSError):
            self.pipe.send((function, job))

    def answer(self) -> tuple[bool, Any] | None:
        """What became of the job: (True, result) or (False, error); None if the worker died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def end(self, grace: float = 0.0) -> int | None:
        """End the process after some seconds; nothing is lost with it. Returns its exit code."""
        self.pipe.close()
        self._process.join(grace)
        self._process.kill()
        self._process.join()
        return self._process.exitcode


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Start a process undisturbed; it ignores Ctrl-C from its first moment on.

    Ctrl-C reaches a whole group of processes, and only the parent acts on it, once the child has
    all that it is sent. To block the signal is not enough: threads of BLAS receive it, too.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would change the mask
    held: list[tuple[int, Any]] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(handler := signal.getsignal(signum)):
                handlers[signum] = handler
                signal.signal(signum, lambda *signal_and_frame: held.append(signal_and_frame))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in reversed(handlers):
            signal.signal(number, handlers[number])
    for first, frame in held[:1]:
        handlers[first](first, frame)


def _serve(pipe: connection.Connection, environment: dict[str, str]) -> None:
    """Do jobs until the parent closes the pipe, or ends."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            request = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            function, job = pickle.loads(request)  # imports the package
            answer = True, function(*job)
        except Exception as error:
            answer = False, error
        try:
            pipe.send(answer)
        except OSError:
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
