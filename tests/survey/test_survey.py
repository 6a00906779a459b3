"""Many pairs: the same records whoever computes them, honest statistics, the command line."""

import csv
import importlib.util
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import nconvex as nc
from nconvex import MLP, NconvexError, RMSProp
from nconvex.commands.outputs import Progress
from nconvex.definitions import TrainingStatus
from nconvex.samplers.merging import Connectivity
from nconvex.survey import command, intervals, pairs, presets
from nconvex.survey.command import main
from nconvex.survey.pairs import Setting, grid
from nconvex.survey.workers import Processes, WorkersLost

SMALL = RMSProp(budget=400)
#: With every outcome among their records.
SETTINGS = (
    *grid(L0=(1e-2, 1e-3), samples=50, rmsprop=SMALL),
    Setting(L0=2e-2, depth=1, samples=50, rmsprop=SMALL),
    Setting(L0=1e-5, samples=50, rmsprop=RMSProp(budget=20)),
    Setting(L0=1e-3, samples=50, rmsprop=SMALL, bead_rmsprop=RMSProp(budget=1)),
)
PAIRS = 8


@pytest.fixture(scope="module")
def one_thread():
    return nc.survey.run(SETTINGS, PAIRS, 3, workers=1)


# -- Records ---------------------------------------------------------------------------------------


def test_every_outcome_is_there_and_none_is_dropped(one_thread):
    assert one_thread.complete
    assert len(one_thread.records) == len(SETTINGS) * PAIRS
    assert set(one_thread.records["outcome"]) == {
        "connected", "bead_untrainable", "depth_exhausted", "end_untrainable"
    }  # fmt: skip
    rows = one_thread.aggregates()
    assert sum(rows[outcome].sum() for outcome in pairs.OUTCOMES) == len(one_thread.records)
    assert rows["end_untrainable"].tolist() == [0, 0, 0, PAIRS, 0]
    assert math.isnan(rows["beads"][3])
    assert rows["share"][3] == 0.0


@pytest.mark.parametrize("status", nc.ConnectionStatus)
def test_whatever_status_a_sampler_returns_is_counted(monkeypatch, status):
    def sampler(landscape, theta1, theta2, L0, *_):
        string = nc.string_through(landscape, [theta1, theta2], L0)
        return replace(string, segment_status=(status,))

    monkeypatch.setitem(pairs.SAMPLERS, "springs", sampler)
    shown = []

    def survey():
        progress = command._Line(Progress(quiet=True))
        setting = Setting(sampler="springs", L0=2e-2, samples=20, rmsprop=SMALL)
        return nc.survey.run(
            setting, 2, workers=1, progress=lambda *at: shown.append(progress(*at))
        )

    if status is nc.ConnectionStatus.INTERRUPTED:  # an interrupted search is not a finished pair
        with pytest.raises(CancelledError):
            survey()
        return
    result = survey()
    (row,) = result.aggregates()
    assert row[status.name.lower()] == row["pairs"] == len(shown) == 2
    assert sum(row[outcome] for outcome in pairs.OUTCOMES) == 2


def test_every_pair_of_every_sampler_is_counted(tmp_path):
    few = RMSProp(budget=200)
    samplers = ("plain", "revive", "breadth-first")  # the springs' descents take longest
    settings = grid(sampler=samplers, L0=5e-4, samples=50, rmsprop=few, depth=2)
    result = nc.survey.run(settings, 6, store=tmp_path / "s")
    rows = result.aggregates()
    assert sum(rows[outcome] for outcome in pairs.OUTCOMES).tolist() == [6] * len(settings)
    assert len(pairs.load(tmp_path / "s").records) == 6 * len(settings)
    assert "bead_untrainable" in result.of(2)["outcome"]


def test_a_pair_is_that_of_run_pair(one_thread):
    for record in one_thread.of(1):
        seed = (3, int(record["pair"]))
        problem = nc.quad.problem(seed, samples=50, rmsprop=SMALL)
        pair = nc.run_pair(problem, L0=1e-3, seed=seed)
        assert record["max_error"] == pair.string.max_error
        assert record["beads"] == pair.string.n_beads
        assert record["outcome"] == pair.string.status.name.lower()
        assert record["training_steps"] == pair.training_gradient_evaluations
        assert record["steepest"] > 0


def test_a_start_in_vain_is_not_tried_again_for_a_lower_threshold(monkeypatch):
    monkeypatch.setattr(pairs, "_ends", {})
    monkeypatch.setattr(pairs, "_failed", {})
    tried = []
    descend = nc.Problem.descend

    def counted(problem, theta, target, rng):
        tried.append(target)
        return descend(problem, theta, target, rng)

    monkeypatch.setattr(nc.Problem, "descend", counted)
    failed = {}  # the highest threshold that each start was tried for in vain
    for L0 in (2e-4, 1e-5, 1e-3, 5e-4, 2e-3, 1.5e-3):
        what = Setting(L0=L0, samples=50, rmsprop=RMSProp(budget=100))
        problem = what.problem((3, 0))
        expected = nc.train(problem, L0, (3, 0, 1))
        tried.clear()
        found = pairs._trained(what, problem, (3, 0, 1), lambda: None)
        np.testing.assert_array_equal(found.theta, expected.theta)
        assert (found.loss, found.steps) == (expected.loss, expected.steps)
        assert (found.starts, found.status) == (expected.starts, expected.status)
        new = [start for start in range(found.starts) if failed.get(start, 0.0) < L0]
        assert len(tried) == len(new)
        in_vain = found.starts - (found.status is TrainingStatus.TRAINED)
        failed |= {start: L0 for start in new if start < in_vain}
    assert found.status is TrainingStatus.TRAINED  # where others were not
    assert 0 < len(new) < found.starts


def test_two_threads_and_two_processes_give_the_same_records(one_thread, tmp_path):
    threads = nc.survey.run(SETTINGS, PAIRS, 3, tmp_path / "s", workers=2)
    assert threads.records.tobytes() == one_thread.records.tobytes()
    context = multiprocessing.get_context("spawn")
    for executor in (Processes(2), ProcessPoolExecutor(1, mp_context=context)):
        with executor:
            processes = nc.survey.run(SETTINGS, PAIRS, 3, executor=executor)
        assert processes.records.tobytes() == one_thread.records.tobytes()


def test_processes_from_the_command_line(one_thread, tmp_path):
    path = tmp_path / "s"

    def stop(done, total, record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nc.survey.run(SETTINGS, PAIRS, 3, path, workers=1, progress=stop)
    assert main(["resume", str(path), "--processes", "--workers", "2"]) == 0
    assert pairs.load(path).records.tobytes() == one_thread.records.tobytes()
    assert not multiprocessing.active_children()


def test_strings_are_kept_where_asked_for(tmp_path):
    setting = SETTINGS[0]
    result = nc.survey.run(setting, 3, 3, tmp_path / "s", keep_strings=True)
    with pairs.Store(tmp_path / "s", pairs.FIELDS) as store:
        for record in result.records:
            beads = store.beads(0, int(record["pair"]))
            assert len(beads) == record["beads"] + 2
            lengths = np.linalg.norm(np.diff(beads, axis=0), axis=1)
            assert record["path_length"] == pytest.approx(lengths.sum(), rel=1e-14)
    with pytest.raises(NconvexError, match="strings are kept in a store"):
        nc.survey.run(setting, 3, keep_strings=True)


def test_more_is_accepted_where_asked_for():
    strict, lax = grid(L0=1e-3, alpha=0.95, accept=(1.0, 1.1), samples=50, insert="midpoint")
    result = nc.survey.run((strict, lax), 10)
    rows = result.aggregates()
    assert rows["connected"][1] >= rows["connected"][0] > 0
    assert result.of(1)["max_error"].max() > 1e-3
    assert (result.of(1)["max_error"] <= 1.1e-3 * (1 + 1e-12))[result.of(1)["connected"]].all()
    assert rows["strict"][0] == rows["connected"][0]
    assert (result.of(0)["loss_1"] == result.of(1)["loss_1"]).all()  # the same pairs


def test_midpoint_insertion_starts_half_way():
    problem = nc.FunctionLandscape(
        lambda x: 1 + (x[0] ** 2 - 1) ** 2 * (1.2 + x[0]) + x[1] ** 2,
        lambda x: np.array([
            4 * x[0] * (x[0] ** 2 - 1) * (1.2 + x[0]) + (x[0] ** 2 - 1) ** 2, 2 * x[1],
        ]),
        RMSProp(budget=1),
    )  # fmt: skip
    starts = []
    descend = problem.descend
    problem.descend = lambda theta, *rest: starts.append(theta) or descend(theta, *rest)
    ends = np.array([-1.0, 0.0]), np.array([1.0, 0.0])
    for insert in ("peak", "midpoint"):
        nc.connect(problem, *ends, L0=1.01, sampler=nc.Plain(insert=insert))
    assert abs(starts[0][0]) > 0.1
    assert starts[1][0] == 0.0
    with pytest.raises(NconvexError, match="insert 'end' is unknown"):
        nc.connect(problem, *ends, L0=1.01, sampler=nc.Plain(insert="end"))


# -- Statistics ------------------------------------------------------------------------------------


def test_wilson_and_t_are_those_of_the_tables():
    assert intervals.wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert intervals.wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert intervals.wilson(10, 10)[1] == 1.0
    for freedom, t in ((1, 12.7062), (2, 4.3027), (4, 2.7764), (9, 2.2622), (99, 1.9842)):
        assert intervals.t_quantile(freedom) == pytest.approx(t, abs=1e-4)
    assert intervals.mean(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2.0, -0.4841, 4.4841), abs=1e-4
    )


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = [
        low <= 0.8 <= high
        for low, high in (intervals.wilson(int(k), 50) for k in rng.binomial(50, 0.8, 2000))
    ]
    assert 0.93 < np.mean(inside) < 0.97
    inside = [
        low <= 0.0 <= high
        for _, low, high in (intervals.mean(rng.normal(size=8)) for _ in range(2000))
    ]
    assert 0.93 < np.mean(inside) < 0.97


def test_means_are_over_connected_pairs(one_thread):
    records = one_thread.of(2)
    connected = records[records["connected"]]
    assert 0 < len(connected) < PAIRS
    row = one_thread.aggregates()[2]
    assert row["beads"] == connected["beads"].mean()
    assert row["share"] == len(connected) / PAIRS


def test_matched_accuracies():
    residuals = np.random.default_rng(0).normal(0.0, 0.02, 200_000)
    for setting in presets._matched(0.02):
        measured = {
            "mse": residuals**2,
            "mae": np.abs(residuals),
            "huber": residuals**2 / 2,
            "log-cosh": np.log(np.cosh(residuals)),
        }[setting.loss].mean()
        assert measured == pytest.approx(setting.L0, rel=0.01)
        assert setting.residual == pytest.approx(0.02, rel=1e-5)


# -- Tables and figures ----------------------------------------------------------------------------


def test_csv_has_one_line_a_pair_and_exact_numbers(one_thread, tmp_path):
    one_thread.to_csv(tmp_path / "records.csv")
    with open(tmp_path / "records.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(one_thread.records)
    assert [float(row["line_max_error"] or "nan") for row in rows] == pytest.approx(
        one_thread.records["line_max_error"].tolist(), rel=1e-9, nan_ok=True
    )
    assert rows[3 * PAIRS]["beads"] == ""
    one_thread.aggregates_to_csv(tmp_path / "aggregates.csv")
    with open(tmp_path / "aggregates.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["L0"] for row in rows] == ["0.01", "0.001", "0.02", "1e-05", "0.001"]
    table = one_thread.table()
    assert "8 end untrainable" in table
    assert len({len(line) for line in table.splitlines()}) == 1


def test_figures_show_what_was_measured(one_thread):
    rows = one_thread.aggregates()
    figure = nc.plots.survey(one_thread)
    share, beads, *_ = figure.axes
    drawn = np.concatenate([np.asarray(c.lines[0].get_ydata()) for c in share.containers])
    assert sorted(drawn) == sorted(rows["share"])
    assert len(beads.containers) == 2  # depth 10 and depth 1
    paper = Setting("quadratic", "authors", "mae", L0=0.1)
    points = presets.published((paper,))
    survey = nc.survey.run(grid(paper, accept=(1.0, 1.1), samples=50), 3)
    beads = nc.plots.survey(survey, points).axes[1]
    published = np.asarray(beads.containers[-1].lines[0].get_ydata())
    assert published.tolist() == [point.beads - 2 for point in points]
    table = presets.comparison(survey).splitlines()
    assert len(table) == 4
    assert "| 3.0 ± 0.33 |" in table[2]
    assert presets.comparison(one_thread) == ""


def test_the_figure_of_alpha_has_the_prediction():
    survey = nc.survey.run(grid(alpha=(0.5, 0.8, 1.0), samples=50), 5)
    axes = nc.plots.survey(survey).axes
    assert len(axes) == 5
    records = survey.records[survey.records["connected"] & (survey.records["alpha"] < 1)]
    records = records[records["beads"] > 0]
    enough = records["path_length"] * records["steepest"] / (2 * (1 - records["alpha"]) * 1e-3)
    drawn = np.concatenate([np.asarray(line.get_xdata()) for line in axes[4].lines[:-1]])
    assert sorted(drawn) == pytest.approx(sorted(enough))
    assert (records["beads"] <= enough).all()


# -- Components ------------------------------------------------------------------------------------


def valleys():
    """Three minima in a row on the first axis, with passes of height 0.5 and 1.5."""

    def f(x):
        return 0.01 + (np.sin(np.pi * x[0] / 2) ** 2) * (0.5 if x[0] < 2 else 1.5) + x[1] ** 2

    def gradient(x):
        height = 0.5 if x[0] < 2 else 1.5
        return np.array([height * np.pi / 2 * np.sin(np.pi * x[0]), 2 * x[1]])

    return nc.FunctionLandscape(f, gradient, RMSProp(budget=200))


def test_components_and_merges_of_a_known_surface():
    thetas = [np.array([4.0, 0.0]), np.array([0.0, 0.0]), np.array([2.0, 0.0])]
    levels = (0.1, 0.6, 2.0)
    found = nc.connectivity(valleys(), thetas, L0=levels)
    assert [found.components(level) for level in levels] == [3, 2, 1]
    assert found.components(0.001) == 0
    first, second = found.merges()
    assert first.height == pytest.approx(0.51, rel=1e-3)
    assert {first.left, first.right} == {(1,), (2,)}
    assert second.height == pytest.approx(1.51, rel=1e-3)
    assert nc.plots.disconnectivity(found, levels).axes[0].get_yscale() == "log"


def test_a_pair_in_one_component_is_not_searched():
    thetas = [np.array([float(x), 0.0]) for x in (0.0, 0.1, 0.2, 0.3)]
    flat = nc.FunctionLandscape(lambda x: 1.0 + 0 * x[0], lambda x: 0 * x)
    found = nc.connectivity(flat, thetas, L0=(2.0,))
    assert found.searches == 3  # of six pairs
    assert found.components(2.0) == 1
    with pytest.raises(NconvexError, match="thetas must be two models at least"):
        nc.connectivity(flat, thetas[:1], L0=(2.0,))


def test_single_linkage_against_a_plain_implementation():
    rng = np.random.default_rng(0)
    heights = rng.random((9, 9))
    heights = np.maximum(heights, heights.T)
    np.fill_diagonal(heights, 0.0)
    connectivity = Connectivity(np.zeros(9), heights, 0)
    for level in rng.random(20):
        reach = np.linalg.matrix_power((heights <= level).astype(int), 9) > 0
        assert connectivity.components(level) == len(np.unique(reach, axis=0))


# -- Settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task": "quartic"}, "task 'quartic' is unknown"),
        ({"L0": 0.0}, "L0 must be a positive"),
        ({"alpha": 2.0}, "alpha must lie in"),
        ({"accept": 0.9}, "accept must be at least 1, not 0.9"),
        ({"depth": 99}, "depth must be at most 64, not 99"),
        ({"loss": "error"}, "loss 'error' is unknown"),
        ({"task": "mnist"}, "loss 'mse' is unknown; choose from loss, error"),
        ({"hidden": ()}, "hidden must name one layer"),
        ({"width": 3}, "a setting has no width; choose from L0, accept, activation"),
    ],
)
def test_bad_settings_are_named(values, words):
    with pytest.raises(NconvexError, match=re.escape(words)):
        grid(**values)


def test_a_record_has_room_for_its_setting(tmp_path):
    shape = (4,) * 20
    setting = Setting(
        "quadratic", "leaky-relu", hidden=shape, samples=np.int64(5), depth=np.int32(1),
        rmsprop=RMSProp(budget=1),
    )  # fmt: skip
    record = nc.survey.run(setting, np.int64(1), store=tmp_path / "s").records[0]
    assert record["hidden"] == "-".join(map(str, shape))
    assert record["activation"] == "leaky-relu"
    assert pairs.load(tmp_path / "s").settings == (setting,)
    with pytest.raises(NconvexError, match=r"hidden 4-4-.* has too many layers"):
        Setting(hidden=(4,) * 40)


def test_classifiers_are_surveyed_with_any_activation():
    model = Setting("mnist", "tanh", "loss", (8,)).problem(0).model
    assert (model.sizes, model.activation) == ((784, 8, 10), "tanh")


def test_bad_surveys_are_named():
    with pytest.raises(NconvexError, match="one setting at least"):
        nc.survey.run(())
    with pytest.raises(NconvexError, match="occurs twice"):
        nc.survey.run((Setting(), Setting()))
    with pytest.raises(NconvexError, match="pairs must be an integer of at least 1, not 0"):
        nc.survey.run(Setting(), 0)
    with pytest.raises(NconvexError, match="pairs must be at most 1000000"):
        nc.survey.run(Setting(), 10**21)
    with pytest.raises(NconvexError, match="workers must be at most 1024"):
        nc.survey.run(Setting(), workers=10**21)
    with pytest.raises(NconvexError, match="executor must be an Executor or a Dask client, not 3"):
        nc.survey.run(Setting(), executor=3)


def test_the_presets_are_the_published_ones():
    first = presets.preset("paper-quadratic").settings[0]
    assert first.problem(0).model == MLP.of_the_authors((1, 4, 4, 1))
    assert {s.L0 for s in presets.preset("paper-quadratic").settings} == {
        point.L0 for point in presets.PUBLISHED["quadratic"]
    }
    assert len(presets.preset("alpha").settings) == 21


# -- The command line ------------------------------------------------------------------------------


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
    try:
        status = main(argv)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_survey_grows_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = ["run", "--L0", "1e-2", "--quiet", "--store", "s", "--pairs"]
    assert main([*run, "1"]) == 0
    assert main([*run, "3"]) == 0
    assert main([*run, "2"]) == 2
    assert "s is a survey of 3 pairs a setting" in capsys.readouterr().err
    assert pairs.load("s").pairs == 3


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
    nc.survey.run(Setting(L0=1e-2, samples=20), 1, store="s")
    before = (tmp_path / "s").read_bytes()
    monkeypatch.setattr(pairs, "run", lambda *_, **__: pytest.fail("it works"))
    try:
        status = main(argv)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    assert (tmp_path / "s").read_bytes() == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, WorkersLost("they died")])
def test_without_a_store_what_was_finished_is_printed(monkeypatch, capsys, stop):
    setting = Setting(L0=1e-2)

    def stopped(*_):
        for pair in (1, 0):
            yield pairs.run(0, pair, setting, (0, pair), False)
        raise stop

    monkeypatch.setattr("nconvex.survey.workers.results", stopped)
    status = main(["run", "--L0", "1e-2", "--pairs", "9", "--quiet"])
    assert status == (1 if isinstance(stop, WorkersLost) else 130)
    out, err = capsys.readouterr()
    assert out == nc.survey.Survey((setting,), 9, (0,), _records(setting, 2)).table() + "\n"
    assert err.count("\n") == 1


def _records(setting, count):
    rows = [pairs.run(0, pair, setting, (0, pair), False)[0] for pair in range(count)]
    return np.array(rows, dtype=list(pairs.FIELDS))


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
    assert 0 < len(pairs.load(path).records) < 10_000
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_a_survey_from_python():
    assert nc.survey.run(Setting(L0=1e-2, samples=20), 1).complete
    assert json.dumps(pairs.versions())
