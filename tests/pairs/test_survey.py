"""Many pairs: the same records whoever computes them, honest statistics, the command line."""

import copy
import csv
import math
import multiprocessing
import pickle
import re
from concurrent.futures import CancelledError, ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import nconvex as nc
from nconvex import NconvexError, RMSProp
from nconvex.commands import survey as command
from nconvex.commands.outputs import Progress
from nconvex.commands.survey import main
from nconvex.definitions import TrainingStatus
from nconvex.pairs import intervals, job
from nconvex.pairs.presets import PRESETS
from nconvex.pairs.published import comparison, published
from nconvex.pairs.records import FIELDS, OUTCOMES
from nconvex.pairs.store import Store
from nconvex.pairs.workers import Processes
from nconvex.survey import Setting, Survey, grid

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
    return nc.survey.run(SETTINGS, pairs=PAIRS, seed=3, workers=1)


# -- Records ---------------------------------------------------------------------------------------


def test_every_outcome_is_there_and_none_is_dropped(one_thread):
    assert one_thread.complete
    assert len(one_thread.records) == len(SETTINGS) * PAIRS
    assert set(one_thread.records["outcome"]) == {
        "connected", "bead_untrainable", "depth_exhausted", "end_untrainable"
    }  # fmt: skip
    rows = one_thread.aggregates()
    assert sum(rows[outcome].sum() for outcome in OUTCOMES) == len(one_thread.records)
    assert rows["end_untrainable"].tolist() == [0, 0, 0, PAIRS, 0]
    assert math.isnan(rows["beads"][3])
    assert rows["share"][3] == 0.0


@pytest.mark.parametrize("status", nc.ConnectionStatus)
def test_whatever_status_a_sampler_returns_is_counted(monkeypatch, status):
    def connect(setting, landscape, theta1, theta2, *_):
        string = nc.string_through(landscape, [theta1, theta2], setting.L0)
        return replace(string, segment_status=(status,))

    monkeypatch.setattr(Setting, "connect", connect)
    shown = []

    def survey():
        progress = command.Line(Progress(quiet=True))
        setting = Setting(L0=2e-2, samples=20, rmsprop=SMALL)
        return nc.survey.run(
            setting, pairs=2, workers=1, progress=lambda *at: shown.append(progress(*at))
        )

    if status is nc.ConnectionStatus.INTERRUPTED:  # an interrupted search is not a finished pair
        with pytest.raises(CancelledError):
            survey()
        return
    result = survey()
    (row,) = result.aggregates()
    assert row[status.name.lower()] == row["pairs"] == len(shown) == 2
    assert sum(row[outcome] for outcome in OUTCOMES) == 2


def test_every_pair_of_every_sampler_is_counted(tmp_path):
    few = RMSProp(budget=200)
    samplers = ("plain", "revive", "breadth-first")  # the springs' descents take longest
    settings = grid(sampler=samplers, L0=5e-4, samples=50, rmsprop=few, depth=2)
    result = nc.survey.run(settings, pairs=6, store=tmp_path / "s")
    rows = result.aggregates()
    assert sum(rows[outcome] for outcome in OUTCOMES).tolist() == [6] * len(settings)
    assert len(nc.survey.load(tmp_path / "s").records) == 6 * len(settings)
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
    job.forget()
    tried = []
    descend = nc.Problem.descend

    def counted(problem, theta, target, rng):
        tried.append(target)
        return descend(problem, theta, target, rng)

    monkeypatch.setattr(nc.Problem, "descend", counted)
    failed = {}  # the highest threshold that each start was tried for in vain
    for L0 in (2e-4, 1e-5, 1e-3, 5e-4, 2e-3, 1.5e-3):
        setting = Setting(L0=L0, samples=50, rmsprop=RMSProp(budget=100))
        problem = setting.problem((3, 0))
        expected = nc.train(problem, L0, (3, 0, 1))
        tried.clear()
        found = job.train_end(setting, problem, (3, 0, 1), lambda: None)
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
    threads = nc.survey.run(SETTINGS, pairs=PAIRS, seed=3, store=tmp_path / "s", workers=2)
    assert threads.records.tobytes() == one_thread.records.tobytes()
    context = multiprocessing.get_context("spawn")
    for executor in (Processes(2), ProcessPoolExecutor(1, mp_context=context)):
        with executor:
            processes = nc.survey.run(SETTINGS, pairs=PAIRS, seed=3, executor=executor)
        assert processes.records.tobytes() == one_thread.records.tobytes()


def test_processes_from_the_command_line(one_thread, tmp_path):
    path = tmp_path / "s"

    def stop(done, total, record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nc.survey.run(SETTINGS, pairs=PAIRS, seed=3, store=path, workers=1, progress=stop)
    assert main(["resume", str(path), "--processes", "--workers", "2"]) == 0
    assert nc.survey.load(path).records.tobytes() == one_thread.records.tobytes()
    assert not multiprocessing.active_children()


def test_strings_are_kept_where_asked_for(tmp_path):
    setting = SETTINGS[0]
    result = nc.survey.run(setting, pairs=3, seed=3, store=tmp_path / "s", keep_strings=True)
    with Store(tmp_path / "s", FIELDS) as store:
        for record in result.records:
            beads = store.beads(0, int(record["pair"]))
            assert len(beads) == record["beads"] + 2
            lengths = np.linalg.norm(np.diff(beads, axis=0), axis=1)
            assert record["path_length"] == pytest.approx(lengths.sum(), rel=1e-14)
    with pytest.raises(NconvexError, match="strings are kept in a store"):
        nc.survey.run(setting, pairs=3, keep_strings=True)


def test_numpy_integers_serve_as_integers(one_thread):
    first = SETTINGS[0]
    numbers = {"pairs": np.int64(PAIRS), "seed": np.int16(3), "workers": np.uint8(1)}
    assert nc.survey.run([first], **numbers) == nc.survey.run(first, pairs=PAIRS, seed=3, workers=1)
    assert nc.survey.run(first, **numbers).records.tobytes() == one_thread.of(0).tobytes()


def test_more_is_accepted_where_asked_for():
    strict, lax = grid(L0=1e-3, alpha=0.95, accept=(1.0, 1.1), samples=50, insert="midpoint")
    result = nc.survey.run((strict, lax), pairs=10)
    rows = result.aggregates()
    assert rows["connected"][1] >= rows["connected"][0] > 0
    assert result.of(1)["max_error"].max() > 1e-3
    assert (result.of(1)["max_error"] <= 1.1e-3 * (1 + 1e-12))[result.of(1)["connected"]].all()
    assert rows["strict"][0] == rows["connected"][0]
    assert (result.of(0)["loss_1"] == result.of(1)["loss_1"]).all()  # the same pairs


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
    normal = np.random.default_rng(0).normal(size=200_000)
    settings = [s for s in PRESETS["losses"].settings if s.residual < 0.05]  # below Huber's corner
    assert {round(setting.residual, 5) for setting in settings} == {0.01, 0.02, 0.03}
    assert len(settings) == 12
    for setting in settings:
        residuals = setting.residual * normal
        measured = {
            "mse": residuals**2,
            "mae": np.abs(residuals),
            "huber": residuals**2 / 2,
            "log-cosh": np.log(np.cosh(residuals)),
        }[setting.loss].mean()
        assert measured == pytest.approx(setting.L0, rel=0.01)


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


def test_a_survey_is_compared_by_its_records(one_thread):
    for other in (pickle.loads(pickle.dumps(one_thread)), copy.deepcopy(one_thread)):
        assert other == one_thread
        assert hash(other) == hash(one_thread)
        other.records["max_error"][0] += 1.0
        assert other != one_thread
    assert one_thread != Survey(SETTINGS, PAIRS, (4,), one_thread.records)
    assert one_thread != one_thread.records.tobytes()
    connected = np.sum(one_thread.records["outcome"] == "connected")
    assert repr(one_thread) == (
        f"Survey(5 settings, 8 pairs each, seed=(3,): 40 of 40 finished, {connected} connected)"
    )


def test_figures_show_what_was_measured(one_thread):
    rows = one_thread.aggregates()
    figure = nc.plots.survey(one_thread)
    share, beads, *_ = figure.axes
    drawn = np.concatenate([np.asarray(c.lines[0].get_ydata()) for c in share.containers])
    assert sorted(drawn) == sorted(rows["share"])
    assert len(beads.containers) == 2  # depth 10 and depth 1
    paper = Setting("quadratic", "authors", "mae", L0=0.1)
    points = published((paper,))
    survey = nc.survey.run(grid(paper, accept=(1.0, 1.1), samples=50), pairs=3)
    beads = nc.plots.survey(survey, points).axes[1]
    drawn = np.asarray(beads.containers[-1].lines[0].get_ydata())
    assert drawn.tolist() == [point.beads - 2 for point in points]
    table = comparison(survey).splitlines()
    assert len(table) == 4
    assert re.search(r"\| 3\.0 ± 0\.33 +\|", table[2])
    assert len({len(line) for line in table}) == 1
    assert comparison(one_thread) == ""


def test_the_figure_of_alpha_has_the_prediction():
    survey = nc.survey.run(grid(alpha=(0.5, 0.8, 1.0), samples=50), pairs=5)
    axes = nc.plots.survey(survey).axes
    assert len(axes) == 6  # the last one names the curves
    records = survey.records[survey.records["connected"] & (survey.records["alpha"] < 1)]
    records = records[records["beads"] > 0]
    enough = records["path_length"] * records["steepest"] / (2 * (1 - records["alpha"]) * 1e-3)
    drawn = np.concatenate([np.asarray(line.get_xdata()) for line in axes[4].lines[:-1]])
    assert sorted(drawn) == pytest.approx(sorted(enough))
    assert (records["beads"] <= enough).all()
