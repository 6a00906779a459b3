"""No bound is ever too low: against dense samples, against exact rational arithmetic, and planted
wrong enclosures are caught. Also run with bounds checked."""

import itertools
import math
import os
import subprocess
import sys
import types
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nconvex import MLP, Problem, enclosure, parts, textbook
from nconvex.problem import Segment

SHAPES = ((1, 4, 4, 1), (2, 3, 2), (1, 2, 3, 2, 1), (3, 5, 1), (2, 1), (1, 3, 2, 2, 2, 1))
ACTIVATIONS = ("relu", "sigmoid", "tanh")


def make(seed, shape, activation, loss, samples=23, scale=1.0, biases=True, output="identity"):
    """A problem, and two ends of a segment."""
    rng = np.random.default_rng(seed)
    model = MLP(shape, activation, output, biases)
    X, X_test = rng.normal(size=(2, samples, shape[0]))
    y, y_test = rng.normal(size=(2, samples, shape[-1])) * 0.5
    theta1, theta2 = rng.normal(size=(2, model.n_parameters)) * scale
    return Problem(model, loss, X, y, X_test, y_test), theta1, theta2


def exact_gamma(problem, theta1, theta2, t):
    """γ(t) of a ReLU net in rational arithmetic; squared, absolute or Huber loss."""
    model, t = problem.model, Fraction(t)
    theta = [
        (1 - t) * Fraction(a) + t * Fraction(b)
        for a, b in zip(theta1.tolist(), theta2.tolist(), strict=True)
    ]
    delta = Fraction(parts.HUBER_DELTA)
    total = Fraction(0)
    for x, y in zip(problem.X_test.tolist(), problem.y_test.tolist(), strict=True):
        a, offset = [Fraction(v) for v in x], 0
        for layer, (m, n) in enumerate(itertools.pairwise(model.sizes)):
            W, b = theta[offset : offset + m * n], [Fraction(0)] * n
            offset += m * n
            if model.biases:
                b = theta[offset : offset + n]
                offset += n
            a = [sum(a[i] * W[i * n + j] for i in range(m)) + b[j] for j in range(n)]
            if layer < len(model.sizes) - 2:
                a = [max(z, Fraction(0)) for z in a]
        for value, target in zip(a, y, strict=True):
            r = abs(value - Fraction(target))
            if problem.loss_name == "mse":
                total += r * r
            elif problem.loss_name == "mae":
                total += r
            else:
                total += r * r / 2 if r <= delta else delta * (r - delta / 2)
    return total / len(problem.X_test)


@given(
    st.integers(0, 2**32),
    st.sampled_from(SHAPES),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(sorted(parts.LOSSES)),
    st.sampled_from([0.1, 1.0, 2.0]),
    st.integers(0, 6),
    st.sampled_from([1e-6, 1e-3, 0.1, 10.0, 1e3]),
    st.sampled_from(["identity", "sigmoid"]),
)
@settings(max_examples=300, deadline=None)
def test_the_bracket_holds_on_dense_samples(
    seed, shape, activation, loss, scale, level, gap, output
):
    problem, theta1, theta2 = make(seed, shape, activation, loss, scale=scale, output=output)
    width = 2.0**-level
    left = width * (seed % 2**level)
    segment = Segment(problem, theta1, theta2, left, left + width)
    segment.tighten(np.inf, gap, 60)
    peak = segment.peak
    t = np.linspace(left, left + width, 101)
    dense = [
        textbook.mean_loss(problem.model, loss, (1 - s) * theta1 + s * theta2, problem.X_test,
                       problem.y_test)
        for s in t
    ]  # fmt: skip
    assert max(dense) <= peak.upper * (1 + 1e-12)
    (at_peak,) = problem.gamma(theta1, theta2, [peak.t_star])
    assert left <= peak.t_star <= left + width
    assert peak.lower <= at_peak * (1 + 1e-12)
    # Not loose either: only what rounding can have added is taken off, and that is little unless
    # weights of five layers multiply up.
    assert at_peak - peak.lower <= 1.01 * segment.rounding + 1e-12 * (1 + at_peak)
    assert scale > 1.0 or segment.rounding <= 1e-5 * (1 + at_peak)
    assert peak.lower <= peak.upper


@given(
    st.integers(0, 2**32),
    st.sampled_from(((1, 4, 4, 1), (2, 3, 1), (2, 3, 2, 2))),
    st.sampled_from(["mse", "mae", "huber"]),
    st.sampled_from([1e-9, 1e-3, 0.1, 10.0, 1e3]),
    st.fractions(0, 1, max_denominator=2**30),
)
@settings(max_examples=60, deadline=None)
def test_the_bracket_holds_in_exact_arithmetic(seed, shape, loss, gap, t):
    problem, theta1, theta2 = make(seed, shape, "relu", loss, samples=7)
    segment = Segment(problem, theta1, theta2)
    segment.tighten(np.inf, gap, 60)
    peak = segment.peak
    for s in (t, Fraction(0), Fraction(1), Fraction(peak.t_star)):
        assert exact_gamma(problem, theta1, theta2, s) <= Fraction(peak.upper)
    at_peak = exact_gamma(problem, theta1, theta2, Fraction(peak.t_star))
    assert Fraction(peak.lower) <= at_peak


@given(st.integers(0, 2**32), st.sampled_from(["mse", "mae"]))
@settings(max_examples=150, deadline=None)
def test_the_bracket_holds_at_any_scale(seed, loss):
    # from numbers that underflow when multiplied to numbers that overflow
    problem, theta1, theta2 = make(seed, (1, 2, 1), "relu", loss, samples=2)
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-323, 60, size=(3, theta1.size))
    X = problem.X_test * 10.0 ** rng.uniform(-323, 60)
    problem = Problem(problem.model, loss, X, problem.y_test, X, problem.y_test)
    theta1, theta2 = theta1 * scales[0], theta2 * scales[1]
    segment = Segment(problem, theta1, theta2)
    segment.tighten(np.inf, 1e-3, 40)
    peak = segment.peak
    for s in (0, 1, Fraction(1, 3), Fraction(peak.t_star)):
        exact = exact_gamma(problem, theta1, theta2, s)
        assert peak.upper == np.inf or exact <= Fraction(peak.upper)
    assert peak.lower == -np.inf or Fraction(peak.lower) <= exact


def single(model, x, y, loss="mse"):
    x, y = np.atleast_2d(x).T.astype(float), np.atleast_2d(y).T.astype(float)
    return Problem(model, loss, x, y, x, y)


def test_a_product_that_underflows_does_not_vanish_from_the_bound():
    problem = single(MLP((1, 1, 1, 1), biases=False), [1e-170], [0.0])
    a, b = np.array([0.0, 1e170, 1e170]), np.array([1e-154, 1e170, 0.0])
    assert exact_gamma(problem, a, b, Fraction(1, 2)) > 1e30
    assert problem.max_gamma(a, b, 1e-3).upper > 1e30
    problem = single(MLP((1, 1), biases=False), [1.0], [0.0])
    theta = np.array([1e-170])
    assert Fraction(problem.bracket(theta, theta).upper) >= exact_gamma(problem, theta, theta, 0)
    problem = single(MLP((1, 1, 1), biases=False), [1e300], [5e-4], "mae")
    theta = np.array([5e-324, 1e20])
    assert Fraction(problem.bracket(theta, theta).lower) <= exact_gamma(problem, theta, theta, 0)


def test_a_sum_that_overflows_proves_nothing():
    problem = single(MLP((1, 1), biases=False), [1.0, 1.0], [0.0, 0.0])
    theta = np.array([1e154])
    peak = problem.max_gamma(theta, theta, 1.5e308)
    assert peak.lower <= 1e308 <= peak.upper


def test_a_threshold_alone_is_settled_where_the_loss_is_zero():
    problem = single(MLP((1, 2, 1)), [0.0], [0.0])
    segment = Segment(problem, np.zeros(7), np.zeros(7))
    assert segment.tighten(1.0, np.inf, 5)
    assert segment.peak.upper <= 1.0


def test_without_the_rounding_term_bounds_would_fail():
    # γ is constant on a segment of no length: then nothing but rounding parts bound and truth.
    wrong = 0
    for seed in range(40):
        problem, theta, _ = make(seed, (1, 4, 4, 1), "relu", "mse", samples=7)
        segment = Segment(problem, theta, theta)
        segment.tighten(np.inf, 1e-3, 40)
        truth = exact_gamma(problem, theta, theta, 0)
        assert Fraction(segment.peak.lower) <= truth <= Fraction(segment.peak.upper)
        wrong += truth > Fraction(segment.peak.upper - segment.rounding)
        wrong += truth < Fraction(segment.peak.lower + segment.rounding)
        assert segment.rounding < 1e-7 * max(1.0, float(truth))
    assert wrong > 10


@pytest.mark.parametrize(
    ("activation", "loss"), list(itertools.product(ACTIVATIONS, sorted(parts.LOSSES)))
)
def test_brackets_close(activation, loss):
    for seed, shape in enumerate(SHAPES):
        problem, theta1, theta2 = make(seed, shape, activation, loss)
        peak = problem.bracket(theta1, theta2)
        assert peak.upper <= peak.lower * (1 + 1e-3)
        t = np.linspace(0, 1, 2001)
        dense = problem.gamma(theta1, theta2, t).max()
        assert dense <= peak.upper
        assert dense >= peak.lower * (1 - 1e-3)


def test_many_tiles_give_the_bracket_of_one(monkeypatch):
    problem, theta1, theta2 = make(0, (2, 5, 4, 1), "relu", "mse", samples=1000)
    whole = problem.bracket(theta1, theta2)
    monkeypatch.setattr(enclosure, "ROOM", 0)
    monkeypatch.setattr(enclosure, "SHORT_TILE", 56)
    small = problem.bracket(theta1, theta2)
    assert small.t_star == whole.t_star
    assert small.upper == pytest.approx(whole.upper, rel=1e-9)
    assert small.lower == pytest.approx(whole.lower, rel=1e-9)


def test_stopping_and_going_on_changes_nothing():
    problem, theta1, theta2 = make(5, (1, 4, 4, 1), "tanh", "mae", samples=300)
    at_once, in_steps = Segment(problem, theta1, theta2), Segment(problem, theta1, theta2)
    uppers = []
    while not in_steps.tighten(np.inf, 1e-5, 1):
        uppers.append(in_steps.peak.upper)
    assert at_once.tighten(np.inf, 1e-5, 1000)
    assert at_once.peak == in_steps.peak
    assert len(uppers) > 5
    assert (np.diff(uppers[uppers.count(np.inf) :]) <= 0).all()


def test_weights_that_overflow_bound_nothing():
    problem, theta1, theta2 = make(1, (1, 4, 4, 1), "relu", "mse")
    peak = problem.bracket(theta1 * 1e200, theta2 * 1e200)
    assert peak.upper == np.inf


def test_the_exponential_is_as_good_as_stated():
    getcontext().prec = 40
    rng = np.random.default_rng(0)
    x = -np.concatenate([rng.random(3000), rng.uniform(0, 700, 3000), [0.0, 700.0, 1e-300]])
    code = enclosure.exponential
    values = [code(v) for v in x.tolist()]
    u = Decimal(2) ** -53
    for v, value in zip(x.tolist(), values, strict=True):
        exact = Decimal(v).exp()
        assert abs(Decimal(float(value)) - exact) <= 2 * u * exact
    assert math.isnan(code(math.nan))
    assert code(-1e9) == code(-700.0) > 0


# -- Planted wrong enclosures: the source, changed, as plain Python --------------------------------

SOURCE = Path(enclosure.__file__).read_text(encoding="utf-8")


def fault(name, right, wrong):
    return pytest.param(right, wrong, id=name)


FAULTS = [
    fault("a unit is dropped early", "off += 1 if hi <= 0.0", "off += 1 if hi <= 9.0"),
    fault("the wrong line", "half = -0.5 * slope * lo", "half = -0.25 * slope * lo"),
    fault("the wrong sign", "half = -0.5 * slope * lo", "half = 0.5 * slope * lo"),
    fault("no radius is inherited", "size_a if size_a > size_b else size_b", "0.0"),
    fault("radii shrink", "weights[terms] = size_a if", "weights[terms] = 0.3 * size_a if"),
    fault("a coefficient is left out", "if k > 0:\n", "if k > 1:\n"),
    fault("r^2 without its radius", "rho * (2.0 * size - rho)", "rho * rho"),
    fault("|r| without its radius", "abs(rows[first + k, n]) + rows[radius, n]",
          "abs(rows[first + k, n])"),
    fault("a chord that hardly sags", "* span * span * 0.125", "* span * span * 0.02"),
    fault("a bend at the wrong end", "bend = largest *", "bend = smallest *"),
    fault("a constant too narrow", "radius if chord else flat", "radius if chord else 0.5 * flat"),
    fault("a polynomial by its ends", "for k in range(c.size):\n            height",
          "for k in (0, c.size - 1):\n            height"),
    fault("settled samples fade", "settled[k] / samples", "0.9 * settled[k] / samples"),
    fault("samples are mixed up", "+ unsettled] = members[n]", "+ unsettled] = members[0]"),
]  # fmt: skip


def plain(source):
    """The kernels as plain Python functions."""
    module = types.ModuleType("plain")
    source = source.replace(
        "from nconvex.jit import careful_kernel as kernel\n"
        "from nconvex.jit import careful_part as part\n"
        "from nconvex.jit import part as sum_part\n",
        "kernel = part = sum_part = lambda function: function\n",
    )
    assert "nconvex.jit" not in source
    exec(compile(source, "plain", "exec"), module.__dict__)
    return module


CASES = [
    ("relu", "mse", (2, 2, 2, 1)), ("relu", "mae", (1, 2, 1)), ("tanh", "mse", (1, 2, 1)),
    ("sigmoid", "log-cosh", (1, 2, 1)), ("tanh", "mae", (1, 1, 1)),
    ("relu", "huber", (1, 2, 2, 2, 1)),
]  # fmt: skip


def violations(module, monkeypatch):
    """Wrong brackets, one by one, of a fixed set of segments."""
    monkeypatch.setattr(enclosure, "bracket", module.bracket)
    monkeypatch.setattr(enclosure, "TILE", 8)
    for seed, case, gap in itertools.product(range(40), CASES, (10.0, 1e-3)):
        activation, loss, shape = case
        problem, theta1, theta2 = make(
            seed, shape, activation, loss, samples=2, scale=1.0 + seed % 4
        )
        dense = problem.gamma(theta1, theta2, np.linspace(0, 1, 401)).max()
        segment = Segment(problem, theta1, theta2)
        segment.tighten(np.inf, gap, 12)
        if not segment.peak.lower * (1 - 1e-2) <= dense <= segment.peak.upper * (1 + 1e-12):
            yield seed, case, gap


def test_the_right_enclosure_makes_no_violation(monkeypatch):
    assert list(violations(plain(SOURCE), monkeypatch)) == []


@pytest.mark.parametrize(("right", "wrong"), FAULTS)
def test_a_wrong_enclosure_is_caught(right, wrong, monkeypatch):
    assert SOURCE.count(right) >= 1
    assert any(violations(plain(SOURCE.replace(right, wrong)), monkeypatch))


def test_no_index_is_out_of_bounds(tmp_path):
    code = (
        "import numpy as np, test_enclosure as t\n"
        "for shape in t.SHAPES:\n"
        "    for activation, loss in (('relu', 'mse'), ('tanh', 'mae')):\n"
        "        if (shape[0], loss) == (1, 'mse'):\n"
        "            continue  # goes by cells\n"
        "        problem, *ends = t.make(0, shape, activation, loss, samples=601)\n"
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
