import functools

import numpy as np
import pytest

from nconvex import FunctionLandscape, NconvexError, RMSProp, connect, interpolate
from nconvex.definitions import DescentStatus


def bowl(**settings):
    return FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x, RMSProp(**settings))


def test_descent_takes_the_steps_of_the_formula():
    landscape = bowl(budget=20)
    start = np.array([1.0, -2.0])
    descent = landscape.descend(start, 0.0, np.random.default_rng(0))
    settings, x, v = landscape.rmsprop, start, 0.0
    for n in range(20):
        g = 2 * x
        v = settings.decay * v + (1 - settings.decay) * g**2
        x = x - settings.learning_rate * settings.shrink**n * g / (v**0.5 + settings.epsilon)
    np.testing.assert_allclose(descent.theta, x, rtol=1e-12)
    assert (descent.steps, descent.status) == (20, DescentStatus.BUDGET_SPENT)
    assert start.tolist() == [1.0, -2.0]


def test_descent_stops_at_the_target():
    descent = bowl().descend(np.array([1.0, -2.0]), 1.5, np.random.default_rng(0))
    assert descent.status is DescentStatus.REACHED
    assert 1.4 < descent.loss <= 1.5
    assert descent.steps % 10 == 0
    already = bowl().descend(np.array([0.1, 0.0]), 1.5, np.random.default_rng(0))
    assert (already.steps, already.status) == (0, DescentStatus.REACHED)


def test_gamma_is_equation_2():
    gamma = bowl().gamma(np.array([1.0, 0.0]), np.array([-1.0, 0.0]), np.array([0.0, 0.5, 1.0]))
    assert gamma.tolist() == [2.0, 1.0, 2.0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_a_descent(value):
    landscape = FunctionLandscape(lambda x: value, lambda x: x)
    descent = landscape.descend(np.array([1.0]), 0.5, np.random.default_rng(0))
    assert (descent.steps, descent.status) == (0, DescentStatus.DIVERGED)


def test_wrong_shapes_are_named():
    with pytest.raises(NconvexError, match=r"one number, not an array of shape \(2,\)"):
        FunctionLandscape(lambda x: x, lambda x: x).loss(np.zeros(2))
    wrong = FunctionLandscape(lambda x: 1 + x @ x, lambda x: 1.0)
    with pytest.raises(NconvexError, match="gradient has shape"):
        wrong.descend(np.ones(2), 0.0, np.random.default_rng(0))
    with pytest.raises(NconvexError, match="without `initial`"):
        bowl().initial(np.random.default_rng(0))


def test_minibatches_are_drawn_with_the_descents_generator():
    def gradient(x, rng):
        return 2 * x + rng.normal(size=x.shape)

    noisy = FunctionLandscape(lambda x: 1 + x @ x, gradient, RMSProp(budget=20))
    ends = [noisy.descend(np.ones(2), 0.0, np.random.default_rng(seed)).theta for seed in (3, 3, 4)]
    assert ends[0].tolist() == ends[1].tolist() != ends[2].tolist()
    rng = np.random.default_rng(3)
    assert noisy.gradient(np.ones(2), np.random.default_rng(3)).tolist() == (
        gradient(np.ones(2), rng).tolist()
    )


@pytest.mark.parametrize(
    "gradient",
    [
        lambda x, rng=None: 2 * x if rng is None else x * np.nan,
        lambda x, *_: 2 * x,
        functools.partial(np.multiply, 2),
        np.positive,
    ],
)
def test_gradients_of_one_argument_get_one(gradient):
    landscape = FunctionLandscape(lambda x: x @ x, gradient)
    assert np.isfinite(landscape.gradient(np.ones(2), np.random.default_rng(0))).all()


def test_gamma_may_be_computed_at_once():
    calls = []

    def gamma(theta1, theta2, t):
        calls.append(t.size)
        return 1 + (interpolate(theta1, theta2, t[:, None]) ** 2).sum(axis=1)

    at_once = FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x, gamma=gamma)
    ends = np.array([[1.0, 0.5], [-1.0, 0.5]])
    strings = [connect(landscape, *ends, L0=2.5) for landscape in (at_once, bowl())]
    assert 101 in calls
    assert strings[0].max_error == pytest.approx(strings[1].max_error)
    wrong = FunctionLandscape(lambda x: 1.0, lambda x: x, gamma=lambda a, b, t: t[:2])
    with pytest.raises(NconvexError, match=r"gamma must return \(3,\) numbers, not \(2,\)"):
        wrong.gamma(*ends, [0.1, 0.2, 0.3])


def test_a_function_that_is_another_one_the_second_time_is_named():
    rng = np.random.default_rng(0)
    noisy = FunctionLandscape(lambda x: 1 + x @ x + 1e-9 * rng.random(), lambda x: 2 * x)
    ends = np.array([[1.0, 0.0], [-1.0, 0.0]])
    with pytest.raises(NconvexError, match=r"f is 2\.0.* at t = 0, and .* a difference of .*e-1"):
        connect(noisy, *ends, L0=3.0)
    for t, place in (([0.5, 1.0], "t = 1"), ([0.0], "t = 0")):
        with pytest.raises(NconvexError, match=place):
            noisy.gamma(*ends, t)
    other = FunctionLandscape(lambda x: 1.0, lambda x: x, gamma=lambda a, b, t: 1.1 + 0 * t)
    with pytest.raises(NconvexError, match=r"gamma is 1\.1 at t = 0.*one function"):
        other.gamma(*ends, [0.0])
    nowhere = FunctionLandscape(lambda x: np.nan, lambda x: x)
    assert np.isnan(nowhere.gamma(*ends, [0.0, 1.0])).all()
