"""No bound is ever too low: against dense samples, exact rational arithmetic and 50 digits.

Injected wrong formulas are caught. Also run with indices checked."""

import itertools
import math
import types
from decimal import Decimal, getcontext
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from compiled import compiled, run_code
from hypothesis import given, settings
from hypothesis import strategies as st

from nconvex import MLP, Classification, Problem, textbook
from nconvex.kernels import parts
from nconvex.proof import blocks, centred, certify, rounding

enclose = compiled(centred.enclose)

SHAPES = ((1, 4, 4, 1), (2, 3, 2), (1, 2, 3, 2, 1), (3, 5, 1), (2, 1), (1, 3, 2, 2, 2, 1))
CLASSIFIERS = ((3, 5, 3), (4, 6, 4, 5), (2, 3, 4, 4, 2), (9, 1, 7))
ACTIVATIONS = parts.NONLINEAR
RATIONAL = {"relu": Fraction(0), "leaky-relu": Fraction(parts.LEAKY_SLOPE)}  # slopes below zero
LOSSES = tuple(parts.LOSSES)
METRICS = ("cross-entropy", "error")


def make(seed, shape, activation="relu", loss="mse", samples=23, scale=1.0, **options):
    """A problem or a classifier, and two ends of a segment."""
    rng = np.random.default_rng(seed)
    model = MLP(shape, activation, **options)
    theta1, theta2 = rng.normal(size=(2, model.n_parameters)) * scale
    X, X_test = rng.normal(size=(2, samples, shape[0]))
    if loss in METRICS:
        y, y_test = rng.integers(0, shape[-1], (2, samples))
        metric = "loss" if loss == "cross-entropy" else "error"
        return Classification(model, X, y, X_test, y_test, metric=metric), theta1, theta2
    y, y_test = rng.normal(size=(2, samples, shape[-1])) * 0.5
    return Problem(model, loss, X, y, X_test, y_test), theta1, theta2


def values(problem, theta1, theta2, points):
    """γ by the textbook."""
    found = []
    for t in points:
        theta = (1 - t) * theta1 + t * theta2
        X, y = problem.X_test.astype(float), problem.y_test
        if problem.loss_name not in METRICS:
            found.append(textbook.mean_loss(problem.model, problem.loss_name, theta, X, y))
            continue
        z = textbook.forward(problem.model, theta, X)[-1]
        own = z[np.arange(len(y)), y]
        if problem.loss_name == "cross-entropy":
            found.append((np.logaddexp.reduce(z, axis=1) - own).mean())
        else:
            z[np.arange(len(y)), y] = -np.inf
            found.append((z.max(axis=1) >= own).mean())
    return np.array(found)


def bound(problem, theta1, theta2, c, r):
    """γ(c) and the bound of γ on [c - r, c + r], rounding included."""
    segment = problem.segment(theta1, theta2)
    value, upper = enclose(c, r, *segment.network, segment.margin, *segment.workspaces())
    samples = problem.proof_data.samples
    return value / samples - segment.sigma, upper / samples + segment.sigma


def exact_gamma(problem, theta1, theta2, t):
    """γ(t) of a net of ReLUs, leaky or not, in rational arithmetic."""
    t = Fraction(t)
    theta = [
        (1 - t) * Fraction(a) + t * Fraction(b)
        for a, b in zip(theta1.tolist(), theta2.tolist(), strict=True)
    ]
    leak = RATIONAL[problem.model.activation]
    return evaluate(problem, theta, Fraction, lambda z: max(z, leak * z))


def digits_gamma(problem, theta1, theta2, t):
    """γ(t) of any net in 50 digits."""
    mpmath.mp.dps = 50
    number, t = mpmath.mpf, mpmath.mpf(t)
    theta = [
        (1 - t) * number(a) + t * number(b)
        for a, b in zip(theta1.tolist(), theta2.tolist(), strict=True)
    ]
    activation = {
        "relu": lambda z: max(z, number(0)),
        "leaky-relu": lambda z: max(z, number(parts.LEAKY_SLOPE) * z),
        "tanh": mpmath.tanh,
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    }[problem.model.activation]
    return evaluate(problem, theta, number, activation)


def evaluate(problem, theta, number, activation):
    """The mean loss at θ, in the arithmetic of `number`."""
    model, delta, total = problem.model, number(parts.HUBER_DELTA), number(0)
    for x, y in zip(problem.X_test.tolist(), problem.y_test.tolist(), strict=True):
        a, offset = [number(v) for v in x], 0
        for layer, (m, n) in enumerate(itertools.pairwise(model.sizes)):
            W, b = theta[offset : offset + m * n], [number(0)] * n
            offset += m * n
            if model.biases:
                b = theta[offset : offset + n]
                offset += n
            a = [sum(a[i] * W[i * n + j] for i in range(m)) + b[j] for j in range(n)]
            if layer < len(model.sizes) - 2:
                a = [activation(z) for z in a]
        if problem.loss_name == "error":
            total += max(z for k, z in enumerate(a) if k != y) >= a[y]
        elif problem.loss_name == "cross-entropy":
            total += mpmath.log(sum(mpmath.exp(z - a[y]) for z in a))
        else:
            for value, target in zip(a, y, strict=True):
                r = abs(value - number(target))
                if problem.loss_name == "mse":
                    total += r * r
                elif problem.loss_name == "mae":
                    total += r
                elif problem.loss_name == "huber":
                    total += r * r / 2 if r <= delta else delta * (r - delta / 2)
                else:
                    total += mpmath.log(mpmath.cosh(r))
    return total / len(problem.X_test)


@st.composite
def cases(draw, losses=LOSSES + METRICS, activations=ACTIVATIONS):
    """Arguments of `make`."""
    loss = draw(st.sampled_from(losses))
    shape = draw(st.sampled_from(CLASSIFIERS if loss in METRICS else SHAPES))
    return draw(st.integers(0, 2**32)), shape, draw(st.sampled_from(activations)), loss


@given(cases(), st.sampled_from([0.1, 1.0, 3.0]), st.integers(1, 9))
@settings(max_examples=400, deadline=None)
def test_no_point_of_an_interval_lies_above_its_bound(case, scale, level):
    problem, theta1, theta2 = make(*case, scale=scale)
    r = 2.0**-level
    c = r * (1 + 2 * (case[0] % 2 ** (level - 1)))
    value, upper = bound(problem, theta1, theta2, c, r)
    dense = values(problem, theta1, theta2, np.linspace(c - r, c + r, 65))
    assert dense.max() <= upper * (1 + 1e-12)
    assert value <= dense[32] * (1 + 1e-12)
    if case[3] != "error":  # nor is it loose, but for the share of errors, which jumps
        sigma = problem.segment(theta1, theta2).sigma
        assert dense[32] - value <= 2.0 * sigma + 1e-12 * (1 + dense[32])
        assert scale > 1.0 or sigma <= 1e-5 * (1 + dense[32])


@pytest.mark.parametrize(("activation", "loss"), list(itertools.product(ACTIVATIONS, LOSSES)))
def test_bounds_close_with_the_square_of_the_interval(activation, loss):
    problem, theta1, theta2 = make(3, (1, 4, 4, 1), activation, loss, samples=200)
    excess = []
    for r in (2.0**-6, 2.0**-7, 2.0**-8, 2.0**-9):
        worst = 0.0
        for c in np.arange(r, 1, 2 * r):
            _, upper = bound(problem, theta1, theta2, c, r)
            worst += upper - values(problem, theta1, theta2, np.linspace(c - r, c + r, 17)).max()
        excess.append(worst * 2 * r)  # its mean over the segment
    assert excess[0] > 3.0 * excess[1] > 9.0 * excess[2] > 27.0 * excess[3] > 0


@given(
    st.integers(0, 2**32),
    st.sampled_from(((1, 4, 4, 1), (2, 3, 1), (2, 3, 2, 2))),
    st.sampled_from(sorted(RATIONAL)),
    st.sampled_from(["mse", "mae", "huber", "error"]),
    st.sampled_from([1e-9, 1e-3, 0.1, 10.0]),
    st.fractions(0, 1, max_denominator=2**30),
)
@settings(max_examples=80, deadline=None)
def test_the_bracket_holds_in_exact_arithmetic(seed, shape, activation, loss, gap, t):
    shape = (2, 3, 3) if loss == "error" else shape
    problem, theta1, theta2 = make(seed, shape, activation, loss, samples=7)
    segment = problem.segment(theta1, theta2)
    segment.tighten(-np.inf, gap, 60)
    peak = segment.peak
    for s in (t, Fraction(0), Fraction(1), Fraction(peak.t_star)):
        assert rounded(exact_gamma(problem, theta1, theta2, s), loss) <= Fraction(peak.upper)
    at_peak = exact_gamma(problem, theta1, theta2, Fraction(peak.t_star))
    assert Fraction(peak.lower) <= rounded(at_peak, loss)


def rounded(value, loss):
    """A share of errors is reported as the float next to it, whoever computes it."""
    return Fraction(float(value)) if loss == "error" else value


@given(cases(("mse", "log-cosh", "mae", "cross-entropy")), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_the_bracket_holds_in_fifty_digits(case, place):
    problem, theta1, theta2 = make(*case, samples=3)
    peak = problem.bracket(theta1, theta2, 1e-6)
    for t in (place / 2**20, 0.0, 1.0, peak.t_star):
        assert digits_gamma(problem, theta1, theta2, t) <= peak.upper
    assert digits_gamma(problem, theta1, theta2, peak.t_star) >= peak.lower


@given(st.integers(0, 2**32), st.sampled_from(sorted(RATIONAL)), st.sampled_from(["mse", "mae"]))
@settings(max_examples=150, deadline=None)
def test_the_bracket_holds_at_any_scale(seed, activation, loss):
    # from numbers that underflow when multiplied to numbers that overflow
    problem, theta1, theta2 = make(seed, (1, 2, 1), activation, loss, samples=2)
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-323, 60, size=(3, theta1.size))
    X = problem.X_test * 10.0 ** rng.uniform(-323, 60)
    problem = Problem(problem.model, loss, X, problem.y_test, X, problem.y_test)
    theta1, theta2 = theta1 * scales[0], theta2 * scales[1]
    peak = problem.bracket(theta1, theta2)
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


def test_what_rounding_does_not_treat_is_not_bounded():
    layers, theta = MLP((1, 2, 1)).layers, np.ones(7)

    def bound(layers, loss):
        return rounding.bound(
            layers, theta, theta, loss, 1, theta[:1], theta[:1], np.zeros((2, 3, 2))
        )

    assert bound(layers, parts.MSE)[0] < 1e-10
    assert bound(layers, -1)[0] == np.inf
    layers[0, 4] = len(parts.ACTIVATIONS)
    assert bound(layers, parts.MSE) == (np.inf, np.inf)


def test_a_sum_that_overflows_proves_nothing():
    problem = single(MLP((1, 1), biases=False), [1.0, 1.0], [0.0, 0.0])
    theta = np.array([1e154])
    peak = problem.max_gamma(theta, theta, 1.5e308)
    assert peak.lower <= 1e308 <= peak.upper


@pytest.mark.parametrize("loss", LOSSES + METRICS)
def test_weights_that_overflow_bound_nothing(loss):
    shape = (3, 5, 3) if loss in METRICS else (1, 4, 4, 1)
    for scale in (1e100, 1e155, 1e200, 1e300):
        problem, theta1, theta2 = make(1, shape, "relu", loss)
        peak = problem.bracket(theta1 * scale, theta2 * scale)
        if loss not in ("log-cosh", "cross-entropy"):
            exact = exact_gamma(problem, theta1 * scale, theta2 * scale, peak.t_star)
            assert peak.lower == -np.inf or Fraction(peak.lower) <= rounded(exact, loss)
            assert peak.upper == np.inf or rounded(exact, loss) <= Fraction(peak.upper)
        assert scale < 1e200 or (peak.lower, peak.upper) == (-np.inf, np.inf)


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_weights_whose_differences_overflow_prove_nothing(metric):
    # Logits are 0 exactly, but the difference of their weights is infinite, and times 0 no number.
    X, label = np.ones((1, 1)), np.array([0])
    problem = Classification(MLP((1, 1, 2)), X, label, X, label, metric=metric)
    theta = np.array([0.0, 0.0, 1.7e308, -1.7e308, 0.0, 0.0])
    truth = math.log(2.0) if metric == "loss" else 1.0
    assert problem.bracket(theta, theta).lower <= truth <= problem.bracket(theta, theta).upper
    apart = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    peak = problem.bracket(apart, -1.7e308 * apart)
    assert peak.lower <= truth <= peak.upper


def test_a_hidden_unit_that_overflows_is_not_forgotten():
    # It has a weight of zero, and infinity times zero is no number, which no maximum may drop.
    X, label = np.full((1, 1), 1e30), np.array([0])
    problem = Classification(MLP((1, 1, 2)), X, label, X, label)
    theta = np.array([1e300, 0.0, 0.0, 0.0, 0.0, 0.0])
    segment = problem.segment(theta, theta)
    assert (segment.sigma, segment.margin) == (np.inf, np.inf)


def test_a_threshold_is_decided_where_the_loss_is_zero():
    problem = single(MLP((1, 2, 1)), [0.0], [0.0])
    segment = problem.segment(np.zeros(7), np.zeros(7))
    assert segment.tighten(1.0, np.inf, 0)
    assert segment.peak.upper <= 1.0


def test_without_the_rounding_term_bounds_would_fail():
    # γ is constant on a segment of no length: then nothing but rounding parts bound and truth.
    wrong = 0
    for seed in range(40):
        problem, theta, _ = make(seed, (1, 4, 4, 1), samples=7)
        segment = problem.segment(theta, theta)
        segment.tighten(-np.inf, 1e-3, 40)
        truth = exact_gamma(problem, theta, theta, 0)
        assert Fraction(segment.peak.lower) <= truth <= Fraction(segment.peak.upper)
        wrong += truth > Fraction(segment.peak.upper - segment.sigma)
        wrong += truth < Fraction(segment.peak.lower + segment.sigma)
        assert segment.sigma < 1e-7 * max(1.0, float(truth))
    assert wrong > 10


@pytest.mark.parametrize("loss", LOSSES + METRICS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_brackets_close(activation, loss):
    for seed, shape in enumerate(CLASSIFIERS if loss in METRICS else SHAPES):
        problem, theta1, theta2 = make(seed, shape, activation, loss)
        peak = problem.bracket(theta1, theta2)
        slack = 2.0 / 23 if loss == "error" else 0.0
        assert peak.upper <= peak.lower * (1 + 1e-3) + slack + 1e-12
        dense = values(problem, theta1, theta2, np.linspace(0, 1, 301))
        assert dense.max() <= peak.upper
        assert values(problem, theta1, theta2, [peak.t_star])[0] >= peak.lower


def test_stopping_and_going_on_changes_nothing():
    problem, theta1, theta2 = make(5, (1, 4, 4, 1), "tanh", "mae", samples=300)
    at_once, in_steps = problem.segment(theta1, theta2), problem.segment(theta1, theta2)
    uppers = []
    while not in_steps.tighten(-np.inf, 1e-5, 1):
        uppers.append(in_steps.peak.upper)
    assert at_once.tighten(-np.inf, 1e-5, 1000)
    assert at_once.peak == in_steps.peak
    assert len(uppers) > 5
    assert (np.diff(uppers) <= 0).all()


def test_a_search_that_ends_at_once_has_finite_bounds():
    problem, theta1, theta2 = make(5, (1, 3, 1), samples=5)
    segment = problem.segment(theta1, theta2)
    assert not segment.tighten(-np.inf, 1e-12, 0)
    peak = segment.peak
    dense = values(problem, theta1, theta2, np.linspace(0, 1, 101)).max()
    assert peak.lower <= dense <= peak.upper < np.inf


def test_samples_of_many_tiles_are_each_counted_once():
    for samples in (1, 127, 128, 129, 300):
        for loss, shape in (("mae", (2, 3, 2)), ("cross-entropy", (3, 4, 3))):
            problem, theta, _ = make(samples, shape, loss=loss, samples=samples)
            value, upper = bound(problem, theta, theta, 0.5, 0.5)
            expected = values(problem, theta, theta, [0.5])[0]
            assert value == pytest.approx(expected, rel=1e-9)
            assert upper == pytest.approx(expected, rel=1e-9)


def test_the_exponential_is_as_good_as_stated():
    getcontext().prec = 40
    rng = np.random.default_rng(0)
    x = -np.concatenate([rng.random(3000), rng.uniform(0, 700, 3000), [0.0, 700.0, 1e-300]])
    code = compiled(parts.exponential)
    values = [code(v) for v in x.tolist()]
    u = Decimal(2) ** -53
    for v, value in zip(x.tolist(), values, strict=True):
        exact = Decimal(v).exp()
        assert abs(Decimal(float(value)) - exact) <= 2 * u * exact
    assert math.isnan(code(math.nan))
    assert code(-1e9) == code(-700.0) > 0


# -- Injected wrong formulas: the kernels as plain Python, one function replaced -------------------

TILE = 4


def plain(**wrong):
    """The module `centred` without a compiler, with short tiles and some functions replaced.

    A replacement is given the right function and returns the wrong one.
    """
    module = types.SimpleNamespace(
        **{**vars(parts), **vars(blocks), **vars(centred)}
        | {"TILE": TILE, "BLOCK": 4 * TILE, "max": max}
    )
    names = vars(module)
    for source in (parts, blocks, centred):
        for name, function in vars(source).items():
            code = getattr(function, "py_func", function)
            if isinstance(code, types.FunctionType):
                names[name] = types.FunctionType(code.__code__, names, name)
    for name, change in wrong.items():
        names[name] = change(names[name])
    return module


def after(change):
    """Let a change follow a function; it is given the function's arguments."""

    def wrapped(right):
        def function(*arguments):
            result = right(*arguments)
            change(*arguments)
            return result

        return function

    return wrapped


def scaled(row, factor):
    """Scale a row of the block that a function wrote."""

    def change(_, x, *rest):
        x[row * TILE : (row + 1) * TILE] *= factor
        x[3 * TILE :] = np.abs(x[TILE : 2 * TILE]) + x[2 * TILE : 3 * TILE]

    return after(change)


def scaled_weights(row, factor):
    def change(*arguments):
        arguments[-1][row] *= factor

    return after(change)


def without_radius(right):
    def add(y, *rest):
        right(np.concatenate([y[: 2 * TILE], 0 * y[2 * TILE :]]), *rest)

    return add


def one_end(right):
    def add(*arguments):
        sums = arguments[-1]
        right(*arguments)
        sums[2] = sums[1] = min(sums[1], sums[2])

    return add


def dead_early(right):
    def rectify(y, *rest):
        return False if (y[:TILE] < 0).all() else right(y, *rest)

    return rectify


def without_leak(right):
    return lambda y, x, r, leak: right(y, x, r, 0.0 if (y[:TILE] < 0).all() else leak)


def slopes_of_relu(right):
    def rectify(y, x, r, leak):
        x[:] = 0.0
        left = right(y, x, r, 0.0)
        x[:TILE] = np.maximum(y[:TILE], leak * y[:TILE])
        return left or leak > 0.0

    return rectify


def fault(name, **wrong):
    return pytest.param(wrong, id=name)


FAULTS = [
    fault("ReLU's slopes too narrow", rectify=scaled(2, 0.5)),
    fault("ReLU's slopes too small", rectify=scaled(1, 0.7)),
    fault("a unit is dropped early", rectify=dead_early),
    fault("a leaky unit is dropped", rectify=without_leak),
    fault("a leaky unit has ReLU's slopes", rectify=slopes_of_relu),
    fault("tanh's slopes too narrow", squash=scaled(2, 0.3)),
    fault("tanh's slopes too small", squash=scaled(1, 0.8)),
    fault("no radius from dW", mix_weights=scaled_weights(3, 0.0)),
    fault("no radius is inherited", mix_weights=scaled_weights(2, 0.0)),
    fault("dW has the wrong sign", mix_weights=scaled_weights(1, -1.0)),
    fault("squares without their radius", add_squares=without_radius),
    fault("losses without their radius", add_losses=without_radius),
    fault("squares at one end", add_squares=one_end),
    fault("losses at one end", add_losses=one_end),
    fault("cross-entropies at one end", add_cross_entropies=one_end),
    fault("logits without their radius", upper_logits=lambda right: (
        lambda above, classes, s, v: right(
            np.where(np.arange(above.size) // TILE % 4 == 2, 0.0, above), classes, s, v))),
    fault("the worse half is forgotten", max=lambda right: min),
]  # fmt: skip

INJECTED = [
    ("relu", "mse", (2, 2, 2, 1)), ("relu", "mae", (1, 2, 1)), ("tanh", "mse", (1, 2, 1)),
    ("sigmoid", "log-cosh", (1, 2, 1)), ("tanh", "mae", (1, 1, 1)),
    ("relu", "huber", (1, 2, 2, 1)), ("relu", "cross-entropy", (2, 3, 3)),
    ("relu", "error", (2, 3, 3)), ("leaky-relu", "mse", (1, 2, 1)),
    ("leaky-relu", "cross-entropy", (2, 3, 2)), ("tanh", "cross-entropy", (2, 2, 2)),
]  # fmt: skip


def violations(module):
    """Wrong bounds, one by one, of a fixed set of intervals."""
    for seed, case, (c, r) in itertools.product(
        range(25), INJECTED, ((0.5, 0.5), (0.25, 0.25), (0.6875, 0.0625))
    ):
        activation, loss, shape = case
        problem, theta1, theta2 = make(
            seed, shape, activation, loss, samples=2, scale=1.0 + seed % 4
        )
        segment = problem.segment(theta1, theta2)
        data = problem.proof_data
        network = list(segment.network)
        for at, array in ((4, data.inputs), (7, data.targets)):
            if array is not None:
                network[at] = cut(array)
        if data.labels is not None:
            network[5:7] = [cut(array) for array in network[5:7]]
        value, upper = module.enclose(c, r, *network, segment.margin, *workspaces(data.layers))
        dense = values(problem, theta1, theta2, np.linspace(c - r, c + r, 41))
        if not dense.max() <= upper / 2 * (1 + 1e-9) + 1e-12 or value / 2 > dense[20] + 1e-9:
            yield seed, case, c, r


def cut(tiles):
    """Tiles of TILE samples from the package's."""
    return np.ascontiguousarray(
        tiles.reshape(len(tiles), -1, parts.TILE)[:, :, :TILE].reshape(len(tiles), -1)
    )


def workspaces(layers):
    widest, outputs = int(layers[:, :2].max()), int(layers[-1, 1])
    room = int(((layers[:, 0] + 2) * layers[:, 1]).sum()) * outputs
    return (
        np.zeros((4, room)), np.zeros((2, widest * 4 * TILE)), np.zeros(16 * TILE),
        np.zeros(4, dtype=int), np.zeros(outputs * TILE), np.zeros((3, TILE)),
        np.zeros(5),
    )  # fmt: skip


def test_the_right_formulas_make_no_violation():
    assert list(violations(plain())) == []


@pytest.mark.parametrize("wrong", FAULTS)
def test_a_wrong_formula_is_caught(wrong):
    assert any(violations(plain(**wrong)))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_proof_that_forgets_rounding_is_caught(loss):
    code = getattr(rounding.bound, "py_func", rounding.bound).__code__
    wrong = types.FunctionType(code, {**vars(rounding), "U": 0.0})
    caught = 0
    for seed in range(40):
        problem, theta, _ = make(seed, (1, 4, 4, 1), loss=loss, samples=7)
        data = problem.proof_data
        sigma, _ = wrong(
            data.layers, theta, theta, data.loss, data.samples, data.largest_input,
            data.largest_target, np.empty((2, 3, 4)),
        )  # fmt: skip
        segment = problem.segment(theta, theta)
        segment.tighten(-np.inf, 1e-3, 40)
        upper = segment.peak.upper - segment.sigma + sigma
        caught += exact_gamma(problem, theta, theta, 0) > Fraction(upper)
    assert caught > 0


def test_no_index_is_out_of_bounds():
    # Without the JIT, NumPy checks each index.
    code = (
        "import test_centred as t\n"
        "t.certify.MOST_SPLITS = 3  # the room for intervals, which become more than fit\n"
        "full = 0\n"
        "for shape, activation, loss in (\n"
        "        ((1, 4, 4, 1), 'relu', 'mse'), ((2, 3, 2), 'tanh', 'mae'),\n"
        "        ((2, 1), 'relu', 'mse'), ((3, 5, 3), 'relu', 'error'),\n"
        "        ((2, 3, 9, 4, 2), 'relu', 'cross-entropy')):\n"
        "    problem, *ends = t.make(0, shape, activation, loss, samples=301)\n"
        "    segment = problem.segment(*ends)\n"
        "    full += not segment.tighten(-t.np.inf, 1e-12, 9)\n"
        "    assert segment.peak.upper < t.np.inf\n"
        "    assert segment.tighten(2 * segment.peak.upper, t.np.inf, 0)\n"
        "assert full == 4, full\n"  # without a hidden layer it is decided before
    )
    run_code(code, __file__)


def test_a_bracket_needs_a_gap():
    problem, *ends = make(0, (1, 2, 1))
    for gap in (0.0, -1.0, np.nan, np.inf, "x", True):
        with pytest.raises(ValueError, match="gap must be positive"):
            certify.maximum(problem.segment(*ends), gap=gap)
