import numpy as np
import pytest

from nconvex import FunctionLandscape, NconvexError, RMSProp
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
