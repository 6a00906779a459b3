"""Surveys of one's own problem: known again by its data, grown, killed, on whatever workers."""

import itertools
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import nconvex as nc
from nconvex import NconvexError, RMSProp
from nconvex.commands.survey import main
from nconvex.pairs import identity, job
from nconvex.pairs.source import Source, differing
from nconvex.pairs.workers import Processes

x = np.linspace(-1.0, 1.0, 40)[:, None]
targets = np.array([0.5, -0.25])
LEVELS = [0.25, 0.15]


def problem(scale=1.0, budget=400, **settings):
    y = scale * np.sin(3.0 * x)
    model = nc.MLP((1, 4, 1), "tanh")
    return nc.Problem(model, "mse", x[::2], y[::2], x, y, RMSProp(budget=budget, **settings))


def height(theta):
    return 0.1 + ((theta - targets) ** 2).sum()


def slope(theta):
    return 2.0 * (theta - targets)


def start(rng):
    return rng.normal(size=2)


def bowl(initial=start):
    return nc.FunctionLandscape(height, slope, RMSProp(1e-2, budget=300), initial)


def of_seed(seed):
    """Data that differ between pairs."""
    noise = 0.05 * np.random.default_rng(seed).normal(size=x.shape)
    y = np.sin(3.0 * x)
    model = nc.MLP((1, 4, 1), "tanh")
    return nc.Problem(model, "mse", x, y + noise, x, y, RMSProp(budget=400))


GIVEN = {"problem": problem(), "bowl": bowl(), "of_seed": of_seed}


def surveyed(given="problem", pairs=4, **more):
    levels = [0.2, 0.11] if given == "bowl" else LEVELS
    return nc.survey.run(GIVEN[given], name="mine", L0=levels, pairs=pairs, seed=7, **more)


@pytest.fixture(scope="module")
def eight():
    return surveyed(pairs=8, workers=1).records


# -- The same records ------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_and_grown_on_threads_and_processes(tmp_path, eight):
    code = f"""
import os, signal, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_own
kill = lambda done, *_: done < 5 or os.kill(os.getpid(), signal.SIGKILL)
test_own.surveyed(store=sys.argv[1], workers=2, progress=kill)
"""
    for executor in (None, Processes(2)):
        path = tmp_path / str(executor is None)
        run = subprocess.run([sys.executable, "-c", code, str(path)], timeout=120)
        assert run.returncode == -signal.SIGKILL
        killed = nc.survey.load(path).records
        assert 5 <= len(killed) < 8
        seen = []
        more = {"progress": lambda done, *_, seen=seen: seen.append(done), "executor": executor}
        grown = surveyed(pairs=8, store=path, workers=2, **more)
        assert seen == list(range(len(killed) + 1, 17))  # what was there is not done again
        assert grown.records.tobytes() == nc.survey.load(path).records.tobytes() == eight.tobytes()
        if executor is not None:
            with executor:
                for given in ("bowl", "of_seed"):
                    expected = surveyed(given, workers=1)
                    assert surveyed(given, executor=executor) == expected
                    assert expected.complete


def test_a_pair_is_that_of_run_pair():
    for given, landscape in (("problem", lambda _: problem()), ("of_seed", of_seed)):
        for record in surveyed(given, pairs=2).of(1):
            seed = (7, int(record["pair"]))
            pair = nc.run_pair(landscape(seed), L0=LEVELS[1], seed=seed)
            assert record["training_steps"] == pair.training_gradient_evaluations
            assert record["loss_1"] == pair.trainings[0].loss
            assert record["max_error"] == pair.string.max_error


def test_searches_make_a_grid():
    values = {"L0": [0.2, 0.1], "alpha": (0.8, 0.9), "sampler": ["plain", "revive"], "depth": 3}
    settings = nc.survey.run(problem(), pairs=1, workers=1, **values).settings
    assert len(settings) == 8
    assert {(s.L0, s.alpha, s.sampler, s.depth) for s in settings} >= {(0.2, 0.9, "revive", 3)}
    assert {s.task for s in settings} == {"Problem"}
    assert all(eval(repr(s), {"Setting": nc.survey.Setting}) == s for s in settings)


def test_numpy_numbers_of_a_landscape_are_kept(tmp_path):
    class Numbers(nc.FunctionLandscape):
        def descend(self, theta, target, rng):
            found = super().descend(theta, target, rng)
            steps = np.int32(found.steps)
            return nc.definitions.Descent(found.theta, np.float64(found.loss), steps, found.status)

    one = Numbers(height, slope, RMSProp(1e-2, budget=300), start)
    survey = nc.survey.run(one, L0=0.2, pairs=2, store=tmp_path / "s", workers=1)
    assert nc.survey.load(tmp_path / "s") == survey


def test_descents_are_remembered_by_size_and_for_one_survey(monkeypatch):
    monkeypatch.setattr(job, "MEMORY", 2 * 8 * 13 * 3)
    tried = []
    descend = nc.Problem.descend

    def counted(one, theta, target, rng):
        tried.append(theta.tobytes())
        return descend(one, theta, target, rng)

    monkeypatch.setattr(nc.Problem, "descend", counted)
    nc.survey.run(problem(), L0=0.2, alpha=[0.7, 0.8], depth=0, pairs=1, workers=1)
    ends = len(tried)
    assert ends == len(set(tried))  # the second setting has trained none again
    assert len(job._descents) <= 3
    nc.survey.run(problem(), L0=0.2, depth=0, pairs=1, workers=1)
    assert len(tried) > ends  # another survey's landscape may be another


# -- Known again -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (problem(scale=1.1), "differs in y, y_test, engine; give this one a name="),
        (problem(learning_rate=1e-2), "differs in rmsprop; give"),
        (bowl(), "differs in"),
        (of_seed, "differs in X, y, engine"),
    ],
)
def test_other_data_or_settings_do_not_continue_a_file(tmp_path, other, words):
    path = tmp_path / "s"
    surveyed(pairs=1, store=path)
    before = path.read_bytes()
    with pytest.raises(NconvexError, match=f"holds another mine: it .*{words}"):
        nc.survey.run(other, name="mine", L0=LEVELS, pairs=1, seed=7, store=path)
    assert path.read_bytes() == before
    both = nc.survey.run(other, name="its own", L0=LEVELS[0], pairs=1, seed=7, store=path)
    assert both.settings[0].task == "its own"
    assert {s.task for s in nc.survey.load(path).settings} == {"mine", "its own"}
    surveyed(pairs=1, store=path, progress=pytest.fail)


def test_parts_are_the_same_in_every_process_and_after_use():
    code = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_own
print([test_own.Source(given).parts(7) for given in test_own.various()])
"""
    used = list(various())
    for one in used[:2]:
        one.max_gamma(*(one.initial(np.random.default_rng(k)) for k in (1, 2)), 10.0)
    expected = str([Source(given).parts(7) for given in used])
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert run.stdout.strip() == expected, run.stderr


class Named:
    """A landscape with what may have another order in another process."""

    loss = descend = gamma = initial = staticmethod(height)

    def __init__(self):
        self.words = {"some", "words", "in", "a", "set"}
        self.twice = ["".join(["a", "b"]), "ab"]
        self.again = self.twice[:1] * 2
        self.objects = np.array(["a", None], dtype=object)
        self.weigh = lambda theta: theta if theta in {"x", "y", "z"} else self.words


def various():
    labels = [0, 1] * 20
    model = nc.MLP((1, 3, 2))
    yield problem()
    yield nc.Classification(model, x, labels, x, labels)
    yield bowl()
    yield of_seed
    yield Named()


def test_what_a_function_reads_belongs_to_it(monkeypatch):
    before = Source(bowl()).parts(0)
    monkeypatch.setattr(sys.modules[__name__], "targets", targets + 1e-12)
    assert differing(before, Source(bowl()).parts(0)) == "f, gradient"
    shift = [0.0]
    parts = [
        Source(bowl(partial(np.random.Generator.normal, size=2))).parts(0),
        Source(bowl(lambda rng: rng.normal(size=2) + shift[0])).parts(0),
    ]
    shift[0] = 1.0
    parts.append(Source(bowl(lambda rng: rng.normal(size=2) + shift[0])).parts(0))
    assert [differing(one, other) for one, other in itertools.pairwise(parts)] == [
        "initial", "initial"
    ]  # fmt: skip


def again(n):
    return n and again(n - 1) + other(n)


def other(n):
    return again(n - 1)


def test_functions_that_call_each_other_and_what_cannot_be_pickled():
    assert identity.digest(again) == identity.digest(again) != identity.digest(other)
    cycle = []
    cycle.append(cycle)
    landscape = bowl()
    landscape.cycle = cycle
    with pytest.raises(NconvexError, match=r"cannot tell other data .*: cycle cannot be pickled"):
        Source(landscape).parts(0)


# -- Told in one line ------------------------------------------------------------------------------


def random_data(seed):
    return problem(scale=np.random.random())


@pytest.mark.parametrize(
    ("given", "more", "words"),
    [
        (problem(), {}, r"needs a threshold or several: L0=\["),
        (problem(), {"L0": 0.1, "hidden": (4,)}, "hidden belongs to a problem of one's own"),
        (problem(), {"L0": 0.1, "width": 4}, "a setting has no width"),
        (problem(), {"L0": 0.1, "name": "mnist"}, "mnist is a task of this package"),
        (problem(), {"L0": 0.1, "name": "a|b"}, "name has 1 to 32 letters, .* not 'a|b'"),
        (nc.survey.Setting(), {"name": "x"}, "name belongs into the settings"),
        (nc.survey.Setting(), {"L0": 0.1}, "L0 belongs into the settings"),
        (nc.survey.Setting.of_ones_own("mine"), {}, "settings of 'mine' need the problem"),
        (random_data, {"L0": 0.1}, "two landscapes from one seed, with y, y_test, engine of their"),
        (lambda seed: 3, {"L0": 0.1}, "3 has no loss, descend, gamma"),
        (nc.FunctionLandscape(height, slope), {"L0": 0.2}, "made without `initial`"),
    ],
)
def test_what_cannot_be_surveyed_is_told(tmp_path, given, more, words):
    with pytest.raises(NconvexError, match=words):
        nc.survey.run(given, pairs=1, store=tmp_path / "s", **more)


def test_a_problem_for_threads_alone(tmp_path):
    local = bowl(lambda rng: rng.normal(size=2))
    survey = nc.survey.run(local, L0=0.2, pairs=2, workers=2, store=tmp_path / "s")
    assert survey.complete
    with Processes(1) as one, pytest.raises(NconvexError, match="cannot be sent to other pro"):
        nc.survey.run(local, L0=0.2, pairs=2, executor=one)


def test_the_command_line_says_how_to_go_on(tmp_path, capsys):
    path = tmp_path / "s"
    survey = surveyed(pairs=1, store=path)
    assert main(["status", str(path)]) == 0
    assert survey.table() in capsys.readouterr().out
    assert main(["resume", str(path)]) == 2
    out, err = capsys.readouterr()
    call = f"nc.survey.run(problem, name='mine', L0=[0.15, 0.25], pairs=1, seed=(7,), store='{path}"
    assert (out, err.count("\n")) == ("", 1)
    assert call in err


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_tables_and_figures_bear_the_name_and_say_what_is_sampled():
    proven, sampled = surveyed(pairs=2), surveyed("bowl", pairs=2)
    assert " mine " in proven.table()
    assert "| connected (Wilson" in proven.table()
    assert "| connected, sampled (Wilson" in sampled.table()
    figure = nc.plots.survey(sampled)
    share, *_ = figure.axes
    assert share.get_title().startswith("lines: connected, sampled; failures")
    assert legend(figure) == ["mine"]
    both = nc.survey.Survey(
        (nc.survey.Setting(L0=1e-2), sampled.settings[1]), 2, (7,), sampled.records
    )
    assert any("mine" in label for label in legend(nc.plots.survey(both)))
    assert "connected, sampled" in both.table()
