"""The command line, as a user meets it, and the experiment behind it."""

import json
import os
import signal
import subprocess
import sys
import time

import attack_commands
import numpy as np
import pytest
from command_lines import refused

import nconvex as nc
from nconvex import MLP, ConnectionStatus, textbook
from nconvex.commands import outputs
from nconvex.quad import main

KEYS = {
    "status", "connected", "L0", "alpha", "depth", "max_error", "n_beads", "path_length",
    "normalized_length", "endpoint_losses", "line_max_error", "gradient_evaluations", "seed",
    "seconds", "version", "settings",
}  # fmt: skip


def start(*argv, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "nconvex.quad", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def document(capsys, *argv):
    assert main(["--json", "--quiet", *argv]) == 0
    out, err = capsys.readouterr()
    assert err == ""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(out, parse_constant=refuse)


# -- What a finished run gives --------------------------------------------------------------------


def test_without_arguments_it_trains_connects_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    out, err = capsys.readouterr()
    for words in ("1-4-4-1 relu", "straight line", "connected", "normalized length", "quad.png"):
        assert words in out
    assert "network 2 trained to test loss" in err
    assert "recursion 1, depth 0: gamma(t*" in err
    assert "\r" not in err  # no live line where there is no terminal
    assert (tmp_path / "quad.png").read_bytes().startswith(b"\x89PNG")


def test_the_json_document(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = document(capsys, "--seed", "3")
    assert result.keys() >= KEYS
    assert result["connected"] is True
    assert result["status"] == "connected"
    assert result["max_error"] <= result["L0"] == 1e-3
    assert len(result["endpoint_losses"]) == 2
    assert max(result["endpoint_losses"]) <= result["max_error"]
    assert result["line_max_error"] > result["L0"]
    assert result["settings"]["sizes"] == [1, 4, 4, 1]
    assert result["settings"]["rmsprop"]["budget"] == 10_000
    assert not list(tmp_path.iterdir())  # --json alone writes no files


def test_the_document_is_what_the_functions_give(capsys):
    result = document(capsys, "--seed", "3", "--L0", "0.002", "--alpha", "0.7", "--depth", "5")
    problem = nc.quad.problem(seed=3)
    pair = nc.run_pair(problem, L0=0.002, alpha=0.7, depth=5, seed=3)
    assert result["max_error"] == pair.string.max_error
    assert result["n_beads"] == pair.string.n_beads
    assert result["normalized_length"] == pair.string.normalized_length
    assert result["endpoint_losses"] == [training.loss for training in pair.trainings]
    assert result["gradient_evaluations"] == pair.string.gradient_evaluations
    assert result["endpoint_gradient_evaluations"] == pair.training_gradient_evaluations


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--activation", "tanh", "--loss", "log-cosh", "--task", "cubic", "--L0", "0.01"],
        ["--activation", "leaky-relu"],
        ["--activation", "sigmoid", "--loss", "mae", "--L0", "0.03", "--hidden", "7"],
        ["--authors-network", "--loss", "huber", "--L0", "0.003"],
    ],
)
def test_anyone_can_check_the_path_from_the_files_alone(tmp_path, capsys, argv):
    folder = tmp_path / "new" / "folder"
    result = document(capsys, *argv, "--out", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [
        "figure.png", "report.html", "result.json", "string.npz",
    ]  # fmt: skip
    assert json.loads((folder / "result.json").read_text()) == result
    with np.load(folder / "string.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["beads"].dtype == np.float64
    assert arrays["X_test"].shape == arrays["y_test"].shape == (1000, 1)
    assert "row-major" in str(arrays["theta_layout"])
    model = MLP(
        tuple(arrays["sizes"].tolist()),
        str(arrays["activation"]),
        str(arrays["output_activation"]),
        bool(arrays["biases"]),
    )
    highest = 0.0
    for left, right in zip(arrays["beads"], arrays["beads"][1:], strict=False):
        for t in np.linspace(0, 1, 301):
            theta = left * (1 - t) + right * t
            highest = max(
                highest,
                textbook.mean_loss(
                    model, str(arrays["loss"]), theta, arrays["X_test"], arrays["y_test"]
                ),
            )
    assert highest <= result["max_error"] * (1 + 1e-9)
    assert highest == pytest.approx(result["max_error"], rel=0.01)
    assert result["connected"] == (result["max_error"] <= result["L0"])
    string = nc.load_string(folder / "string.npz")
    assert string.max_error == result["max_error"]


def test_most_seeds_connect_and_no_point_on_their_paths_lies_above_L0():
    connected = 0
    t = np.linspace(0, 1, 10_001)
    for seed in range(20):
        problem = nc.quad.problem(seed)
        string = nc.run_pair(problem, L0=1e-3, seed=seed).string
        connected += string.connected
        if string.connected:
            for left, right in zip(string.beads, string.beads[1:], strict=False):
                # the tolerance that curve.maximum states: second order in 1e-6
                assert problem.gamma(left, right, t).max() <= 1e-3 * (1 + 1e-9)
    assert connected >= 18


def test_a_run_that_finds_no_path_has_finished(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--depth", "0", "--quiet"]) == 0
    out, _ = capsys.readouterr()
    assert "not connected: segments above L0 are left at the full depth" in out
    assert "1 of 1 segments: 1 depth exhausted" in out
    result = document(capsys, "--depth", "0")
    assert (result["connected"], result["status"]) == (False, "depth_exhausted")
    assert result["certified"]
    lower, upper = result["max_error_bounds"]
    assert 1e-3 < result["line_max_error"] == lower <= upper == result["max_error"]


# -- Determinism ----------------------------------------------------------------------------------


def test_two_processes_give_the_same_bits(tmp_path):
    runs = [
        start("--seed", "5", "--L0", "3e-4", "--json", "--out", str(tmp_path / name))
        for name in ("a", "b")
    ]
    results = [json.loads(run.communicate()[0]) for run in runs]
    for result in results:
        result.pop("seconds")
    assert results[0] == results[1]
    assert (tmp_path / "a/string.npz").read_bytes() == (tmp_path / "b/string.npz").read_bytes()


def test_different_seeds_give_different_data_and_networks():
    one, other = nc.quad.problem(0), nc.quad.problem(1)
    assert not np.intersect1d(one.X, other.X).size
    pair = nc.run_pair(one, L0=0.01, seed=0)
    assert (pair.trainings[0].theta != pair.trainings[1].theta).all()


# -- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--L0", "0"], "L0 must be a positive finite number, not 0.0"),
        (["--L0", "-1"], "not -1.0"),
        (["--L0", "nan"], "not nan"),
        (["--L0", "small"], "'small' is neither a number nor auto"),
        (["--alpha", "0"], "alpha must lie in (0, 1], not 0.0"),
        (["--alpha", "1.5"], "alpha must lie in (0, 1], not 1.5"),
        (["--depth", "-1"], "depth must be an integer of at least 0, not -1"),
        (["--depth", "65"], "at most 64"),
        (["--seed", "-1"], "seed"),
        (["--budget", "0"], "budget must be an integer of at least 1, not 0"),
        (["--samples", "0"], "samples must be an integer of at least 1, not 0"),
        (["--hidden", "4-0"], "not 0"),
        (["--hidden", "400000-400000-400000"], "parameters must be at most 268435456"),
        (["--hidden", "8", "4", "2"], "joined by dashes; give --hidden 8-4-2 "),
        (["--hidden", "8,4"], "'8,4' must be units joined by dashes; give --hidden 4-4"),
        (["--hidden", "8-"], "'8-' must be units"),
        (["4"], "unrecognized arguments: 4"),
        (["--activation", "elu"], "elu"),
        (["--authors-network", "--activation", "tanh"], "drop --activation"),
        (["--threshold", "1"], "unrecognized arguments"),
        (["--seed", "9" * 5000], "invalid int value"),
        (["--out", ""], "the name is empty"),
        (["--out", "n" * 256], "File name too long"),
        (["--out", "two\nlines/" + "n" * 256], r"cannot use the folder two\nlines/"),
        (["--out", "/dev/null/below"], "Not a directory"),
        (["--L0", "1e-12", "--budget", "20"], "could not be trained to L0 = 1e-12: of 20 starts"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_no_output(
    tmp_path, monkeypatch, capsys, argv, words
):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, main, ["--quiet", "--out", "new/folder", *argv])
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(
        "nconvex.commands.experiment.run_pair", lambda *_: pytest.fail("work was done")
    )
    for folder in ("file", "file/below"):
        assert main(["--out", folder]) == 2
        assert "folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize("mode", [0o500, 0o600, 0o000])
def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch, capsys, mode):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "nconvex.commands.experiment.run_pair", lambda *_: pytest.fail("work was done")
    )
    tmp_path.chmod(mode)
    superuser = os.geteuid() == 0  # who may write to any folder
    try:
        if superuser:
            os.seteuid(65534)
        results = [main(argv) for argv in ([], ["--out", "."], ["--out", "below/new"])]
    finally:
        if superuser:
            os.seteuid(0)
        tmp_path.chmod(0o700)
    out, err = capsys.readouterr()
    assert (results, out) == ([2, 2, 2], "")
    assert err.count("\n") == err.count("Permission denied") == 3


def test_a_disk_that_fills_up_loses_no_result_and_leaves_no_half_files(
    tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["--quiet", "--out", str(tmp_path / "new")]) == outputs.OUTPUT_FAILED
    out, err = capsys.readouterr()
    assert "verdict         connected" in out
    assert err.count("\n") == err.count("No space left on device") == 3  # results, page, figure
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("latex\nwas not found"), MemoryError(), KeyboardInterrupt(), ImportError()],
)
def test_a_figure_that_fails_comes_last_and_loses_nothing(tmp_path, monkeypatch, capsys, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr("nconvex.plots.summary", fail)
    status = main(["--quiet", "--out", str(tmp_path)])
    assert status == outputs.OUTPUT_FAILED or isinstance(failure, KeyboardInterrupt)
    out, err = capsys.readouterr()
    assert "verdict         connected" in out
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html", "result.json", "string.npz",
    ]  # fmt: skip
    assert "string.npz" in out
    assert "figure.png" not in out.partition("written to")[2]


def test_results_are_replaced_only_when_asked_and_then_all_of_them(tmp_path, capsys):
    (tmp_path / "models.npz").write_text("of another run")
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["--quiet", "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "holds models.npz already" in err
    assert "--force" in err
    assert main(["--quiet", "--no-figure", "--force", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes.txt", "report.html", "result.json", "string.npz",
    ]  # fmt: skip


def test_a_threshold_that_needs_no_training_is_pointed_out(capsys):
    assert main(["--L0", "50", "--no-figure"]) == 0
    out, err = capsys.readouterr()
    assert "network 1 needs no training" in err
    assert "trained to" not in err
    assert "random starts lie below L0 already" in out


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
@pytest.mark.parametrize(
    ("moment", "argv", "kept"),
    [
        ("recursion 1", ["--L0", "3e-5", "--alpha", "0.3", "--budget", "100000"], "string"),
        ("training network 1", ["--L0", "1e-6", "--budget", "10000000"], "nothing"),
    ],
)
def test_ctrl_c_saves_what_was_computed(tmp_path, moment, argv, kept):
    run = start(*argv, "--activation", "tanh", "--json", "--out", str(tmp_path / "out"))
    for line in run.stderr:
        if moment in line:
            break
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in err
    result = json.loads(out)
    assert (result["status"], result["connected"]) == ("interrupted", False)
    assert json.loads((tmp_path / "out/result.json").read_text()) == result
    if kept == "string":
        string = nc.load_string(tmp_path / "out/string.npz")
        assert string.status is ConnectionStatus.INTERRUPTED
        assert string.n_beads == result["n_beads"] >= 1
    else:
        assert result["n_beads"] is None
        assert result["endpoint_losses"] == [None, None]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_path_is_kept_whose_tightening_is_broken_off(tmp_path, monkeypatch, capsys, signum):
    def tighten(*_):
        os.kill(os.getpid(), signum)
        pytest.fail("the signal did not come")

    monkeypatch.setattr("nconvex.commands.experiment.tighten", tighten)
    argv = ["--quiet", "--tighten", "--out", str(tmp_path)]
    assert main(argv) == 128 + signum
    out, err = capsys.readouterr()
    assert err == ""
    assert "verdict         connected" in out
    assert "interrupted     while the path was tightened" in out
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["status"], result["interrupted"]) == ("connected", True)
    assert nc.load_string(tmp_path / "string.npz").connected
    assert (tmp_path / "figure.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
def test_signals_in_storms_leave_no_traceback_and_lose_nothing(tmp_path):
    for fault in attack_commands.storms(tmp_path, 3, 0, attack_commands.VICTIMS[:1]):
        pytest.fail(fault)


def test_fuzzed_command_lines_are_run_or_refused_in_one_line():
    # In a process of its own: a Ctrl-C may strike Numba's compiler, and leave its lock locked.
    options = [
        "--lines",
        "60",
        "--streams",
        "0",
        "--storms",
        "0",
        "--seed",
        "0",
        "--commands",
        "quad",
        "csv",
        "connect",
        "package",
    ]
    run = subprocess.run(
        [sys.executable, attack_commands.__file__, *options], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "60 lines: 0 faults" in run.stdout


def test_an_animation_is_written_on_demand_and_needs_a_bead(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--quiet", "--no-figure", "--animate"]) == 0
    assert "written to      growth.gif\n" in capsys.readouterr().out
    with open("growth.gif", "rb") as file:
        assert file.read(6) == b"GIF89a"
    assert main(["--quiet", "--no-figure", "--animate", "--L0", "0.1", "--out", "run"]) == 1
    out, err = capsys.readouterr()
    assert "verdict         connected" in out
    assert err.count("\n") == 1
    assert "growth.gif: no bead was inserted" in err
    assert sorted(os.listdir("run")) == ["report.html", "result.json", "string.npz"]
