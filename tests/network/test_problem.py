"""The loss surface of a network: the symmetries it must have, the data it must refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nconvex import MLP, NconvexError, Problem, RMSProp
from nconvex.kernels.parts import LOSSES, NONLINEAR

losses = st.sampled_from(sorted(LOSSES))
activations = st.sampled_from(NONLINEAR)
seeds = st.integers(0, 2**32)


def make(seed, activation, loss, samples=20):
    rng = np.random.default_rng(seed)
    model = MLP((2, 4, 3, 1), activation)
    X, X_test = rng.normal(size=(2, samples, 2))
    y, y_test = rng.random((2, samples, 1))
    return Problem(model, loss, X, y, X_test, y_test), rng


@given(seeds, activations, losses)
@settings(max_examples=50, deadline=None)
def test_permuting_hidden_units_leaves_the_loss(seed, activation, loss):
    problem, rng = make(seed, activation, loss)
    theta = rng.normal(size=problem.model.n_parameters)
    permuted = theta.copy()
    order = rng.permutation(4)
    (W1, b1), (W2, _), _ = problem.model.unpack(permuted)
    W1[:], b1[:], W2[:] = W1[:, order], b1[order], W2[order]
    assert problem.loss(permuted) == pytest.approx(problem.loss(theta), rel=1e-12)


@given(seeds, losses, st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_rescaling_a_relu_unit_leaves_the_loss(seed, loss, factor):
    problem, rng = make(seed, "relu", loss)
    theta = rng.normal(size=problem.model.n_parameters)
    scaled = theta.copy()
    (W1, b1), (W2, _), _ = problem.model.unpack(scaled)
    W1[:, 1] *= factor
    b1[1] *= factor
    W2[1] /= factor
    assert problem.loss(scaled) == pytest.approx(problem.loss(theta), rel=1e-10)


@given(seeds, activations, losses)
@settings(max_examples=50, deadline=None)
def test_gamma_runs_backwards_when_the_ends_are_swapped(seed, activation, loss):
    problem, rng = make(seed, activation, loss)
    theta1, theta2 = rng.normal(size=(2, problem.model.n_parameters))
    t = rng.random(9)
    np.testing.assert_allclose(
        problem.gamma(theta1, theta2, t), problem.gamma(theta2, theta1, 1 - t), rtol=1e-9
    )


def test_reported_losses_are_the_test_sets_and_gradients_the_training_sets():
    problem, rng = make(0, "tanh", "mse")
    theta = rng.normal(size=problem.model.n_parameters)
    other = Problem(problem.model, "mse", problem.X + 1, problem.y, problem.X_test, problem.y_test)
    assert other.loss(theta) == problem.loss(theta)
    assert (other.loss_and_gradient(theta)[1] != problem.loss_and_gradient(theta)[1]).any()
    other = Problem(problem.model, "mse", problem.X, problem.y, problem.X_test + 1, problem.y_test)
    assert other.loss(theta) != problem.loss(theta)
    np.testing.assert_array_equal(
        other.loss_and_gradient(theta)[1], problem.loss_and_gradient(theta)[1]
    )


def test_a_descent_leaves_its_start_alone():
    problem, rng = make(0, "tanh", "mse")
    theta = rng.normal(size=problem.model.n_parameters)
    before = theta.copy()
    problem.descend(theta, 0.0, rng)
    np.testing.assert_array_equal(theta, before)


def data(**changes):
    arrays = {
        "X": np.zeros((5, 1)),
        "y": np.zeros((5, 1)),
        "X_test": np.zeros((4, 1)),
        "y_test": np.zeros((4, 1)),
    }
    return {**arrays, **changes}


bad = np.zeros((5, 1))
bad[3] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": bad}, r"X\[3, 0\] is nan"),
        ({"y_test": np.full((4, 1), np.inf)}, r"y_test\[0, 0\] is inf"),
        ({"X": np.zeros(())}, r"X has shape \(\); the model needs \(N, 1\)"),
        ({"X": np.zeros((5, 2))}, r"X has shape \(5, 2\); the model needs \(N, 1\)"),
        ({"X_test": np.zeros((0, 1))}, r"X_test has shape \(0, 1\)"),
        ({"y": np.zeros((6, 1))}, "X has 5 samples but y has 6"),
        ({"y_test": [["a"]] * 4}, "y_test must be an array of numbers"),
        ({"loss": "hinge"}, "'hinge' is unknown"),
    ],
)
def test_bad_data_are_named(changes, message):
    with pytest.raises(NconvexError, match=message):
        Problem(MLP((1, 2, 1)), **{"loss": "mse", **data(**changes)})


def test_wrong_parameters_are_named():
    problem = Problem(MLP((1, 2, 1)), "mse", **data())
    for method in (problem.loss, problem.loss_and_gradient):
        with pytest.raises(NconvexError, match="6 parameters; this landscape has 7"):
            method(np.zeros(6))
    with pytest.raises(NconvexError, match="theta2"):
        problem.gamma(np.zeros(7), np.zeros(6), np.array([0.5]))
    with pytest.raises(NconvexError, match="6 parameters"):
        problem.descend(np.zeros(6), 1.0, np.random.default_rng(0))


def test_threads_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    small, rng = make(0, "tanh", "mse", samples=700)
    data = small.X, small.y, small.X_test, small.y_test
    problem = Problem(small.model, "mse", *data, RMSProp(budget=500))
    starts = rng.normal(size=(16, problem.model.n_parameters))
    alone = [problem.descend(start, 0.0, rng).theta for start in starts]
    with ThreadPoolExecutor(4) as pool:
        together = [d.theta for d in pool.map(lambda s: problem.descend(s, 0.0, rng), starts)]
    np.testing.assert_array_equal(alone, together)
