"""Bounds by cells: the tree is right, no bound is too low, and planted wrong ones are caught."""

import itertools
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_enclosure import exact_gamma, fault, plain
from test_pieces import SPREADS

from nconvex import MLP, Problem, cells, enclosure, quad, rounding, train
from nconvex.problem import Segment

SHAPES = ((1, 4, 4, 1), (1, 3, 1), (1, 2, 3, 2, 2), (1, 2), (1, 5, 1, 4, 1))


def make(seed, shape, samples=40, spread="random", scale=1.0, biases=True):
    """A problem, and two ends of a segment; targets follow a network, noisily."""
    rng = np.random.default_rng(seed)
    model = MLP(shape, biases=biases)
    X = SPREADS[spread](rng, samples)[:, None]
    theta1, theta2, theta = rng.normal(size=(3, model.n_parameters)) * scale
    y = model.predict(theta, X) + rng.normal(size=(samples, shape[-1])) * rng.choice([0.0, 0.3])
    return Problem(model, "mse", X, y, X, y), theta1, theta2


def by_samples(problem, theta1, theta2):
    """The bracket of `enclosure`, which takes sample by sample."""
    problem = Problem(problem.model, "mse", problem.X, problem.y, problem.X_test, problem.y_test)
    problem._by_pieces = False
    return Segment(problem, theta1, theta2)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("samples", [1, 2, 3, 8, 37])
def test_a_cell_knows_its_samples_squared_residuals(spread, samples):
    problem, *_ = make(samples, (1, 3, 2), samples, spread)
    (x,), Y = problem._sorted_test
    most = 2 * samples
    tree, children, spans = np.empty((most, 11)), np.zeros(most, int), np.zeros((most, 2), int)
    nodes = cells.plant(x, Y, tree, children, spans)
    rng = np.random.default_rng(0)
    for cell in range(nodes):
        start, end = spans[cell]
        n = end - start
        assert tree[cell, cells.LEFT] == x[start]
        assert tree[cell, cells.RIGHT] == x[end - 1]
        if children[cell]:
            (a, b), (c, d) = spans[children[cell] : children[cell] + 2]
            assert (a, b, d) == (start, c, end)
            assert a < b < d
        else:
            assert x[start] == x[end - 1]
        length = x[end - 1] - x[start]
        v = (x[start:end] - x[start]) / (length if length else 1.0)
        for j in range(2):
            c, d = rng.normal(size=2)
            root, place, spread_v = tree[cell, cells.ROOT : cells.OUTPUTS]
            mean, tilt, rest = tree[cell, cells.OUTPUTS + 3 * j :][:3]
            m = root * ((1 - place) * c + place * d - mean)
            h = spread_v * (d - c) - tilt
            r = c * (1 - v) + d * v - Y[j, start:end]
            assert m * m + h * h + rest == pytest.approx(r @ r, rel=1e-12, abs=1e-12 * n)
            assert np.abs(r).sum() <= root * np.sqrt(m * m + h * h + rest) * (1 + 1e-12) + 1e-12
    assert sorted(spans[:nodes][children[:nodes] == 0, 0].tolist())[0] == 0
    leaves = spans[:nodes][children[:nodes] == 0]
    assert (leaves[:, 1] - leaves[:, 0]).sum() == samples


@given(
    st.integers(0, 2**32),
    st.sampled_from(SHAPES),
    st.sampled_from(sorted(SPREADS)),
    st.sampled_from([1, 2, 5, 11]),
    st.sampled_from([1e-9, 1e-3, 0.1, 10.0, 1e3]),
    st.sampled_from([0.3, 1.0, 3.0]),
    st.fractions(0, 1, max_denominator=2**30),
)
@settings(max_examples=150, deadline=None)
def test_the_bracket_holds_in_exact_arithmetic(seed, shape, spread, samples, gap, scale, t):
    problem, theta1, theta2 = make(seed, shape, samples, spread, scale)
    segment = Segment(problem, theta1, theta2)
    segment.tighten(np.inf, gap, 40)
    peak = segment.peak
    for s in (t, Fraction(0), Fraction(1), Fraction(peak.t_star)):
        assert exact_gamma(problem, theta1, theta2, s) <= Fraction(peak.upper)
    at_peak = exact_gamma(problem, theta1, theta2, Fraction(peak.t_star))
    assert Fraction(peak.lower) <= at_peak


@given(
    st.integers(0, 2**32),
    st.sampled_from(SHAPES),
    st.sampled_from(sorted(SPREADS)),
    st.sampled_from([3, 64, 65, 1000]),
    st.sampled_from([1e-6, 1e-3, 0.1, 10.0]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_the_bracket_holds_on_dense_points(seed, shape, spread, samples, gap, biases):
    problem, theta1, theta2 = make(seed, shape, samples, spread, biases=biases)
    segment = Segment(problem, theta1, theta2)
    segment.tighten(np.inf, gap, 60)
    peak = segment.peak
    dense = problem.gamma(theta1, theta2, np.linspace(0, 1, 301))
    assert dense.max() <= peak.upper * (1 + 1e-12)
    (at_peak,) = problem.gamma(theta1, theta2, [peak.t_star])
    assert peak.lower <= at_peak * (1 + 1e-12)
    assert at_peak - peak.lower <= 1.01 * segment.rounding + 1e-11 * (1 + at_peak)
    # the same theorem, proven sample by sample
    other = by_samples(problem, theta1, theta2)
    other.tighten(np.inf, gap, 60)
    assert peak.lower <= other.peak.upper
    assert other.peak.lower <= peak.upper


@pytest.mark.parametrize("shape", SHAPES)
def test_brackets_close(shape):
    for seed in range(5):
        problem, theta1, theta2 = make(seed, shape, 500)
        peak = problem.bracket(theta1, theta2)
        assert peak.certified
        assert peak.upper <= peak.lower * (1 + 1e-3)
        tight = problem.bracket(theta1, theta2, 1e-6)
        allowed = max(1e-6 * tight.lower, 4 * Segment(problem, theta1, theta2).rounding)
        assert tight.upper - tight.lower <= 1.01 * allowed
        assert peak.lower <= tight.upper
        assert tight.lower <= peak.upper


def test_the_number_of_samples_does_not_matter():
    # counted, not timed: as many halvings prove it for 100,000 samples as for 1,000
    ends = [train(quad.problem(0), 1e-3, seed=seed).theta for seed in (1, 2)]
    halvings = []
    for samples in (1_000, 100_000):
        segment = Segment(quad.problem(0, samples=samples), *ends)
        halvings.append(0)
        while not segment.tighten(np.inf, 1e-3, 1):
            halvings[-1] += 1
    assert halvings[1] <= 1.5 * halvings[0]


def test_stopping_and_going_on_changes_nothing():
    problem, theta1, theta2 = make(5, (1, 4, 4, 1), 300)
    at_once, in_steps = Segment(problem, theta1, theta2), Segment(problem, theta1, theta2)
    steps = 0
    while not in_steps.tighten(np.inf, 1e-5, 1):
        steps += 1
    assert at_once.tighten(np.inf, 1e-5, 1000)
    assert at_once.peak == in_steps.peak
    assert steps > 3


def test_many_tiles_give_the_bracket_of_one(monkeypatch):
    problem, theta1, theta2 = make(0, (1, 5, 4, 1), 1000)
    whole = problem.bracket(theta1, theta2)
    monkeypatch.setattr(cells, "TILE", 8)
    small = problem.bracket(theta1, theta2)
    assert small.t_star == whole.t_star
    assert small.upper == pytest.approx(whole.upper, rel=1e-9)
    assert small.lower == pytest.approx(whole.lower, rel=1e-9)


def test_without_the_blur_a_perfect_fit_would_have_no_slack_left():
    # residuals of nothing: V² is what rounding leaves, and may be anything from 0
    model = MLP((1, 2, 1))
    theta = np.array([1.0, -0.7, 0.1, 0.3, 1.3, 0.9, 0.2])
    X = np.linspace(-1, 1, 50)[:, None]
    problem = Problem(model, "mse", X, model.predict(theta, X), X, model.predict(theta, X))
    segment = Segment(problem, theta, theta)
    segment.tighten(np.inf, 1e-3, 40)
    exact = exact_gamma(problem, theta, theta, 0)
    assert Fraction(segment.peak.lower) <= exact <= Fraction(segment.peak.upper)
    (blur,) = segment._settings
    size, error = np.empty((2, 2, 2))
    scales = (50, *problem._largest, size, error)
    assert blur == rounding.bound_cells(problem._layers, theta, theta, *scales)[1]
    assert 0.0 < blur < segment.rounding < 1e-9


def test_weights_that_overflow_bound_nothing():
    problem, theta1, theta2 = make(1, (1, 4, 4, 1))
    assert problem.bracket(theta1 * 1e200, theta2 * 1e200).upper == np.inf


# -- Planted wrong bounds: the source, changed, as plain Python -----------------------------------

SOURCE = Path(cells.__file__).read_text(encoding="utf-8")

FAULTS = [
    fault("a unit is dropped early", "off += 1 if hi <= 0.0", "off += 1 if hi <= 9.0"),
    fault("a unit stays on", "on += 1 if lo >= 0.0", "on += 1 if lo >= -0.5"),
    fault("the wrong line", "half = -0.5 * slope * lo", "half = -0.25 * slope * lo"),
    fault("a line from the left ends", "for k in range(first + 1, radius):",
          "for k in range(first + 2, radius, 2):"),
    fault("no radius is inherited", "size_a if size_a > size_b else size_b", "0.0"),
    fault("a coefficient is left out", "if k > 0:\n", "if k > 1:\n"),
    fault("the left end for the mean", "(1.0 - place) * c + place * d - mean", "c - mean"),
    fault("cells do not lean", "h = spread * (d - c) - tilt", "h = 0.0"),
    fault("targets do not lean", "h = spread * (d - c) - tilt", "h = spread * (d - c)"),
    fault("no rest", "rows[radius, n] += rest", "rows[radius, n] += 0.0"),
    fault("no V", "2.0 * V + root * rho", "root * rho"),
    fault("one half is lost", "listed += 2 if half > 0 else 1", "listed += 1"),
    fault("settled cells fade", "settled[k] / samples", "0.9 * settled[k] / samples"),
    fault("a polynomial by its ends", "for k in range(c.size):\n            height",
          "for k in (0, c.size - 1):\n            height"),
    fault("a sample between the cells", "spans[nodes + 1, 0] = middle\n",
          "spans[nodes + 1, 0] = middle + (1 if end - middle > 1 else 0)\n"),
]  # fmt: skip


SLACK_FAULTS = [
    fault("V without m", "largest_m * largest_m", "0.0"),
    fault("V without h", "largest_h * largest_h", "0.0"),
    fault("V without the rest", "+ rest + root", "+ root"),
    fault("no V", "2.0 * V + root * rho", "root * rho"),
    fault("no radius squared", "2.0 * V + root * rho", "2.0 * V"),
    fault("one root for all", "rows[radius, n] = root * rho", "rows[radius, n] = rho"),
]


def too_little_slack(module):
    """Cells whose bound for Σ (|r| + ρ)² is too low, one by one; lines c, d that do not move."""
    rng = np.random.default_rng(0)
    for case in range(200):
        n = rng.integers(1, 6)
        x = np.sort(rng.random(n))
        v = (x - x[0]) / (x[-1] - x[0] or 1.0)
        c, d = rng.normal(size=2) * [[0.0, 0.0], [1.0, 1.0], [1.0, 0.01]][case % 3]
        c = -d if case % 2 else c
        Y = (c * (1 - v) + d * v)[None] if case % 5 == 0 else rng.normal(size=(1, n)) * (case % 7)
        rho = rng.random()
        tree, children, spans = (
            np.empty((2 * n, 8)),
            np.zeros(2 * n, int),
            np.zeros((2 * n, 2), int),
        )
        module.plant(x, Y, tree, children, spans)
        rows = np.zeros((cells.FIRST + 3, 8))
        rows[cells.FIRST :, 0] = c, d, rho
        module.meet_samples(rows, cells.FIRST, 0, tree, np.array([0]), 0, 0.0)
        m, h, more = rows[cells.FIRST :, 0]
        r = c * (1 - v) + d * v - Y[0]
        if not ((np.abs(r) + rho) ** 2).sum() <= (m * m + h * h + more) * (1 + 1e-12):
            yield case


def test_slack_covers_the_radius():
    assert list(too_little_slack(plain(SOURCE))) == []


@pytest.mark.parametrize(("right", "wrong"), SLACK_FAULTS)
def test_too_little_slack_is_caught(right, wrong):
    assert SOURCE.count(right) >= 1
    assert list(too_little_slack(plain(SOURCE.replace(right, wrong)))) != []


def violations(module, monkeypatch):
    """Wrong brackets, one by one, of a fixed set of segments."""
    monkeypatch.setattr(cells, "bracket", module.bracket)
    monkeypatch.setattr(cells, "plant", module.plant)
    monkeypatch.setattr(cells, "LEVEL", 0)
    monkeypatch.setattr(cells, "TILE", 8)
    for seed, shape, gap in itertools.product(
        range(30), ((1, 2, 1), (1, 2, 2, 1), (1, 1)), (10.0, 1e-3)
    ):
        problem, theta1, theta2 = make(seed, shape, 5, scale=1.0 + seed % 3)
        dense = problem.gamma(theta1, theta2, np.linspace(0, 1, 401)).max()
        segment = Segment(problem, theta1, theta2)
        segment.tighten(np.inf, gap, 12)
        if not segment.peak.lower * (1 - 1e-2) <= dense <= segment.peak.upper * (1 + 1e-12):
            yield seed, shape, gap


def test_the_right_bounds_make_no_violation(monkeypatch):
    assert list(violations(plain(SOURCE), monkeypatch)) == []


@pytest.mark.parametrize(("right", "wrong"), FAULTS)
def test_a_wrong_bound_is_caught(right, wrong, monkeypatch):
    assert SOURCE.count(right) >= 1
    assert any(violations(plain(SOURCE.replace(right, wrong)), monkeypatch))


def test_no_index_is_out_of_bounds(tmp_path):
    code = (
        "import numpy as np, test_cells as t\n"
        "for shape in t.SHAPES:\n"
        "    for spread in t.SPREADS:\n"
        "        problem, *ends = t.make(0, shape, 301, spread)\n"
        "        assert problem.bracket(*ends).upper < np.inf\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_other_activations_and_losses_are_bounded_by_samples():
    for model, loss in ((MLP((1, 3, 1), "tanh"), "mse"), (MLP((1, 3, 1)), "mae")):
        problem = Problem(model, loss, np.ones((4, 1)), *[np.ones((4, 1))] * 3)
        theta = np.ones(model.n_parameters)
        assert Segment(problem, theta, theta)._bracket is enclosure.bracket
