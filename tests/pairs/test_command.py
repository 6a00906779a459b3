"""The command line of surveys."""

import importlib.util
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_lines import refused

import nconvex as nc
from nconvex.commands.survey import main
from nconvex.pairs import job, running
from nconvex.pairs.records import FIELDS
from nconvex.pairs.workers import WorkersLost
from nconvex.survey import Setting, Survey


def test_from_start_to_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = ["run", "--L0", "1e-2", "1e-3", "--alpha", "0.8", "--pairs", "3", "--store", "s"]
    assert main([*run, "--out", "s.png"]) == 0
    out, err = capsys.readouterr()
    assert "connected (Wilson 95 %)" in out
    assert "6 of 6 pairs, 0:00:00 left" in err
    assert main(["status", "s"]) == 0
    assert "6 of 6 pairs finished" in capsys.readouterr().out
    assert main(["export", "s", "--csv", "a", "--aggregates", "b", "--markdown", "c"]) == 0
    assert [len((tmp_path / f).read_text().splitlines()) for f in "abc"] == [7, 3, 4]
    assert main(["plot", "s"]) == 0
    assert (tmp_path / "survey.png").read_bytes() == (tmp_path / "s.png").read_bytes()
    assert main(["resume", "s", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "--L0", "-1", "--pairs", "1"], "L0 must be a positive finite number, not -1.0"),
        (["run", "--preset", "alpha", "--L0", "1"], "drop the other options"),
        (["run", "--workers", "0"], "workers must be an integer of at least 1, not 0"),
        (["run", "--workers", "0", "--processes"], "workers must be an integer of at least 1"),
        (["run", "--hidden", "4-x"], "'4-x' must be units joined by dashes; give --hidden 4-4"),
        (["run", "--dask", "tcp://127.0.0.1:9", "--processes"], "drop --workers and --processes"),
        (["run", "--dask", "tcp://127.0.0.1:9", "--workers", "2"], "drop --workers"),
        (["run", "--keep-strings"], "strings are kept in a store"),
        (["status", "none"], "none does not exist"),
        (["export", "README"], "README does not exist"),
        ([], "required"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, main, argv)
    assert not list(tmp_path.iterdir())


def test_a_survey_grows_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = ["run", "--L0", "1e-2", "--quiet", "--store", "s", "--pairs"]
    assert main([*run, "1"]) == 0
    assert main([*run, "3"]) == 0
    assert nc.survey.load("s").pairs == 3
    before = nc.survey.load("s").records.tobytes()
    capsys.readouterr()
    assert main([*run, "2"]) == 0  # what is asked for is shown, what is there stays
    assert "| 2 " in capsys.readouterr().out
    assert nc.survey.load("s").records.tobytes() == before
    assert main(["run", "--L0", "1e-3", "--quiet", "--store", "s", "--pairs", "3"]) == 0
    assert [setting.L0 for setting in nc.survey.load("s").settings] == [1e-2, 1e-3]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "--out", "no/x.png"], "cannot write no/x.png: No such file or directory"),
        (["run", "--out", ""], "Is a directory"),
        (["run", "--store", ""], "'' is no file; name one"),
        (["run", "--store", ":memory:"], "would keep nothing"),
        (["run", "--store", "new", "--out", "new"], "--out new is also new"),
        (["run", "--store", "s", "--out", "./s"], "--out s is also s"),
        (["resume", "s", "--out", "s"], "--out s is also s"),
        (["plot", "s", "--out", "s"], "--out s is also s"),
        (["export", "s", "--csv", "s"], "--csv s is also s"),
        (["export", "s", "--csv", "a", "--markdown", "a"], "--markdown a is also a"),
        (["export", "s", "--csv", "no/a", "--markdown", "a"], "cannot write no/a"),
        (["run", "--pairs", "9" * 21], "pairs must be at most 1000000"),
        (["run", "--workers", "9" * 21], "workers must be at most 1024"),
        (["run", "--workers", "9" * 21, "--processes"], "workers must be at most 1024"),
        (["run", "--budget", "9" * 31], "budget must be at most"),
        (["run", "--hidden", "9" * 21], "a layer's size must be at most"),
        pytest.param(
            ["run", "--dask", "tls://127.0.0.1:9"],
            "no Dask scheduler answers at --dask tls://127",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("distributed") is None, reason="needs nconvex[dask]"
            ),
        ),
        (["status", "two\nlines"], r"two\nlines does not exist"),
    ],
)
def test_outputs_and_sizes_are_tried_before_any_work(tmp_path, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(tmp_path)
    nc.survey.run(Setting(L0=1e-2, samples=20), pairs=1, store="s")
    before = (tmp_path / "s").read_bytes()
    monkeypatch.setattr(running, "connect_pair", lambda *_, **__: pytest.fail("it works"))
    assert words in refused(capsys, main, argv)
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    assert (tmp_path / "s").read_bytes() == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, WorkersLost("they died")])
def test_without_a_store_what_was_finished_is_printed(monkeypatch, capsys, stop):
    setting = Setting(L0=1e-2)

    def stopped(*_):
        for pair in (1, 0):
            yield job.connect_pair(0, pair, setting, (0, pair), False)
        raise stop

    monkeypatch.setattr("nconvex.pairs.workers.results", stopped)
    status = main(["run", "--L0", "1e-2", "--pairs", "9", "--quiet"])
    assert status == (1 if isinstance(stop, WorkersLost) else 130)
    out, err = capsys.readouterr()
    assert out == Survey((setting,), 9, (0,), _records(setting, 2)).table() + "\n"
    assert err.count("\n") == 1


def _records(setting, count):
    rows = [job.connect_pair(0, pair, setting, (0, pair), False)[0] for pair in range(count)]
    return np.array(rows, dtype=list(FIELDS))


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
@pytest.mark.parametrize("workers", [[], ["--processes", "--workers", "2"]])
def test_ctrl_c_keeps_what_is_finished(tmp_path, workers):
    path = tmp_path / "s"
    run = subprocess.Popen(
        [sys.executable, "-m", "nconvex.survey", "run", "--L0", "1e-3", "1e-4", "--pairs", "5000",
         "--store", str(path), *workers],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for line in run.stderr:
        if "pairs" in line:
            break
    time.sleep(0.3)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    _, err = run.communicate(timeout=60)  # which ends with the last process that holds the pipe
    assert run.returncode == 130
    assert "Traceback" not in err
    assert f"resume {path}" in err
    assert 0 < len(nc.survey.load(path).records) < 10_000
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
