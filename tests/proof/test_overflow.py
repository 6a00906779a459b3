"""Bounds hold, against exact arithmetic, for weights at which float64 overflows."""

import math
from fractions import Fraction

import numpy as np
import pytest

import nconvex as nc
from nconvex.kernels.parts import HUBER_DELTA, LOSSES

#: Powers of ten that weights are of, in one network.
SCALES = ((100, 100), (150, 160), (300, 300), (0, 300), (-300, 100), (75, 80), (-10, 60))
PLACES = [Fraction(k, 8) for k in range(9)]


def saturating(z, activation):
    if activation == "relu":
        return max(z, Fraction(0))
    if activation == "identity":
        return z
    if abs(z) < 40:
        value = math.tanh(z) if activation == "tanh" else 1.0 / (1.0 + math.exp(-z))
        return Fraction(value)
    return Fraction(1 if z > 0 else (-1 if activation == "tanh" else 0))


def outputs(problem, theta1, theta2, t):
    """Exact, but for tanh and sigmoid, which are to a few units of rounding."""
    model = problem.model
    theta = np.array(
        [(1 - t) * Fraction(a) + t * Fraction(b) for a, b in zip(theta1, theta2, strict=True)]
    )
    layers = model.unpack(theta)
    rows = [[Fraction(float(x)) for x in row] for row in problem.X_test]
    for layer, (W, b) in enumerate(layers):
        last = layer == len(layers) - 1
        activation = model.output_activation if last else model.activation
        offset = [Fraction(0)] * W.shape[1] if b is None else b
        rows = [
            [
                saturating(sum(map(Fraction.__mul__, row, column)) + c, activation)
                for column, c in zip(W.T.tolist(), offset, strict=True)
            ]
            for row in rows
        ]
    return rows


def residual_loss(r, loss):
    r = abs(r)
    if loss == "mse":
        return r * r
    if loss == "huber":
        delta = Fraction(HUBER_DELTA)
        return r * r / 2 if r <= delta else delta * (r - delta / 2)
    if loss == "log-cosh":
        return Fraction(math.log(math.cosh(r))) if r < 40 else r - Fraction(math.log(2))
    return r


def draw(model, scales, rng):
    size = model.n_parameters
    return rng.normal(size=size) * 10.0 ** rng.uniform(*scales, size)


def assert_holds(peak, lowest, highest):
    """Of functions that enclose γ: lower ≤ γ(t*), and upper is above γ everywhere."""
    assert not math.isnan(peak.lower)
    assert not math.isnan(peak.upper)
    assert peak.lower <= peak.upper
    assert 0 <= peak.t_star <= 1
    assert Fraction(peak.lower) <= highest(Fraction(peak.t_star)) if peak.lower > -np.inf else True
    if peak.upper < np.inf:
        assert all(Fraction(peak.upper) >= lowest(t) for t in PLACES)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("loss", LOSSES)
def test_brackets_hold_for_all_activations_and_losses(activation, loss):
    rng = np.random.default_rng(len(loss))
    for scales in SCALES:
        for model in (
            nc.MLP((1, 3, 2, 1), activation),
            nc.MLP((2, 2, 2), activation, "sigmoid" if activation == "sigmoid" else "identity"),
        ):
            x, y = rng.random((4, model.sizes[0])), rng.random((4, model.sizes[-1]))
            problem = nc.Problem(model, loss, x, y, x, y)
            ends = draw(model, scales, rng), draw(model, scales, rng)

            def gamma(t, problem=problem, ends=ends, y=y):
                rows = outputs(problem, *ends, t)
                total = sum(
                    residual_loss(a - Fraction(b), problem.loss_name)
                    for row, targets in zip(rows, y, strict=True)
                    for a, b in zip(row, targets, strict=True)
                )
                return total / len(y)

            def above(t, gamma=gamma):  # tanh and the logarithm are not exact here
                return gamma(t) * (1 + Fraction(1e-12)) + Fraction(1e-12)

            for peak in (problem.bracket(*ends), problem.max_gamma(*ends, 1e-3)):
                assert_holds(peak, lambda t: gamma(t) * (1 - Fraction(1e-12)), above)


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_brackets_of_classifiers_hold(metric):
    rng = np.random.default_rng(0)
    for sizes in ((2, 3, 3), (2, 3, 2, 3)):
        model = nc.MLP(sizes)
        X, labels = rng.random((6, 2)).astype(np.float32), rng.integers(3, size=6)
        problem = nc.Classification(model, X, labels, X, labels, metric=metric)
        for scales in SCALES * 4:
            ends = draw(model, scales, rng), draw(model, scales, rng)
            if rng.random() < 0.3:
                ends = ends[0], ends[0]

            def enclosed(t, ends=ends):
                """The share of errors, or cross-entropy, which is from 0 to log 3 above margins."""
                rows = outputs(problem, *ends, t)  # noqa: B023
                margins = [
                    max(z for k, z in enumerate(row) if k != label) - row[label]
                    for row, label in zip(rows, labels.tolist(), strict=True)  # noqa: B023
                ]
                if metric == "error":
                    share = Fraction(sum(margin >= 0 for margin in margins) / len(labels))  # noqa: B023
                    return share, share
                mean = sum(max(margin, Fraction(0)) for margin in margins) / len(labels)  # noqa: B023
                return mean, mean + Fraction(math.log(3) + 1e-12)

            for peak in (problem.bracket(*ends), problem.max_gamma(*ends, 0.1)):
                assert_holds(peak, lambda t: enclosed(t)[0], lambda t: enclosed(t)[1])


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_where_anything_may_overflow_nothing_is_claimed(metric):
    model = nc.MLP((2, 3, 3))
    X, labels = np.ones((6, 2), np.float32), np.zeros(6, int)
    problem = nc.Classification(model, X, labels, X, labels, metric=metric)
    theta = np.full(model.n_parameters, 1e200)
    peak = problem.bracket(theta, theta)
    assert (peak.lower, peak.upper) == (-np.inf, np.inf)
    for loss in LOSSES:
        net = nc.Problem(nc.MLP((1, 3, 3, 1)), loss, *[np.ones((5, 1))] * 4)
        theta = np.full(net.model.n_parameters, 1e120)
        peak = net.bracket(theta, theta)
        assert (peak.lower, peak.upper) == (-np.inf, np.inf)
