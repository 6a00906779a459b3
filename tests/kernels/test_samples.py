"""The kernels against the textbook. Also run without the JIT, and with bounds checked."""

import itertools
import os
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from compiled import run_again
from differences import check_gradient

from nconvex import textbook
from nconvex.definitions import DescentStatus, RMSProp
from nconvex.kernels import parts, samples
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem

HIDDEN = parts.NONLINEAR
NETS = (
    MLP((2, 4, 4, 1)),
    MLP((3, 5, 2), biases=False),
    MLP((2, 1, 9, 3, 2), output_activation="sigmoid"),
    MLP((2, 3)),
)
COMBINATIONS = list(itertools.product(HIDDEN, parts.LOSSES))


def stepped(theta, gradient, steps, settings):
    """The textbook's θ after so many steps."""
    return next(islice(textbook.rmsprop(theta, gradient, settings), steps, None))


def make(model, loss, samples=60, seed=0, **settings):
    rng = np.random.default_rng(seed)
    X, X_test = rng.normal(size=(2, samples, model.sizes[0]))
    y, y_test = rng.normal(size=(2, samples, model.sizes[-1])) * 0.3
    theta = rng.normal(size=model.n_parameters) * 0.7
    return Problem(model, loss, X, y, X_test, y_test, RMSProp(**settings)), theta


@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS)
@pytest.mark.parametrize("net", range(len(NETS)))
def test_loss_and_gradient_agree_with_the_reference(net, activation, loss):
    model = replace(NETS[net], activation=activation)
    problem, theta = make(model, loss, seed=net)
    value, gradient = problem.loss_and_gradient(theta)
    assert value == pytest.approx(
        textbook.mean_loss(model, loss, theta, problem.X, problem.y), rel=1e-12
    )
    expected = textbook.gradient(model, loss, theta, problem.X, problem.y)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-13)
    assert problem.loss(theta) == pytest.approx(
        textbook.mean_loss(model, loss, theta, problem.X_test, problem.y_test), rel=1e-12
    )


@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS)
def test_gradient_agrees_with_central_differences(activation, loss):
    # A difference across a kink of ReLU, |r| or Huber would be off by O(1/N): with 12 samples and
    # steps of 1e-6 none is met for this seed.
    problem, theta = make(MLP((2, 3, 3, 1), activation), loss, samples=12, seed=3)
    _, gradient = problem.loss_and_gradient(theta)
    check_gradient(lambda v: problem.loss_and_gradient(v)[0], gradient, theta)


@pytest.mark.parametrize("parameter", [0, 5, -1])
def test_the_gradient_checker_catches_an_injected_wrong_gradient(parameter):
    problem, theta = make(MLP((2, 3, 3, 1), "tanh"), "mse", samples=12)
    _, gradient = problem.loss_and_gradient(theta)
    gradient[parameter] *= 1.001
    with pytest.raises(AssertionError, match="central difference"):
        check_gradient(lambda v: problem.loss_and_gradient(v)[0], gradient, theta)


@pytest.mark.parametrize(
    "count", [1, samples.TILE - 1, samples.TILE, samples.TILE + 1, 2 * samples.TILE + 7]
)
def test_every_sample_counts_once_at_the_edges_of_tiles(count):
    model = MLP((2, 4, 4, 1))
    problem, theta = make(model, "mse", samples=count)
    value, gradient = problem.loss_and_gradient(theta)
    assert value == pytest.approx(textbook.mean_loss(model, "mse", theta, problem.X, problem.y))
    np.testing.assert_allclose(
        gradient, textbook.gradient(model, "mse", theta, problem.X, problem.y), rtol=1e-10
    )


@pytest.mark.parametrize("activation", HIDDEN)
def test_rmsprop_takes_the_steps_of_the_formula(activation):
    model = MLP((2, 4, 4, 1), activation)
    problem, theta = make(model, "mse", budget=25, check_every=10)
    descent = problem.descend(theta, 0.0, np.random.default_rng(0))
    expected = stepped(
        theta,
        lambda v: textbook.gradient(model, "mse", v, problem.X, problem.y),
        25,
        problem.rmsprop,
    )
    assert descent.steps == 25
    assert descent.status is DescentStatus.BUDGET_SPENT
    # where a gradient is all rounding, its steps are, too
    np.testing.assert_allclose(descent.theta, expected, rtol=1e-7, atol=1e-7)


def test_rmsprop_stops_at_the_first_evaluation_at_or_below_the_target():
    problem, theta = make(MLP((2, 4, 4, 1), "tanh"), "mse", budget=50, check_every=3)
    losses = {}
    for steps in range(3, 51, 3):
        settings = replace(problem.rmsprop, budget=50)
        whole = Problem(
            problem.model, "mse", problem.X, problem.y, problem.X_test, problem.y_test, settings
        )
        expected = stepped(
            theta,
            lambda v: textbook.gradient(problem.model, "mse", v, problem.X, problem.y),
            steps,
            whole.rmsprop,
        )
        losses[steps] = problem.loss(expected)
    target = losses[24] * 1.0000001
    descent = problem.descend(theta, target, np.random.default_rng(0))
    assert descent.steps == min(steps for steps, loss in losses.items() if loss <= target)
    assert descent.status is DescentStatus.REACHED
    assert descent.loss <= target


def test_a_descent_in_several_calls_is_the_same_descent(monkeypatch):
    problem, theta = make(MLP((2, 4, 4, 1)), "mse", budget=40, check_every=7)
    whole = problem.descend(theta, 1e-9, np.random.default_rng(0))
    monkeypatch.setattr("nconvex.network.engines.WORK_BETWEEN_SIGNALS", 1)
    chunked = problem.descend(theta, 1e-9, np.random.default_rng(0))
    assert chunked.steps == whole.steps == 40
    np.testing.assert_array_equal(chunked.theta, whole.theta)


@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS)
def test_gamma_agrees_with_the_reference(activation, loss, monkeypatch):
    model = MLP((2, 4, 5, 1), activation)
    problem, theta1 = make(model, loss)
    theta2 = np.random.default_rng(9).normal(size=theta1.size)
    t = np.array([0.0, 1.0, 0.25, 1 / 3, 0.9999])
    gamma = problem.gamma(theta1, theta2, t)
    expected = [
        textbook.mean_loss(
            model, loss, theta1 * (1 - s) + theta2 * s, problem.X_test, problem.y_test
        )
        for s in t
    ]
    np.testing.assert_allclose(gamma, expected, rtol=1e-12)
    assert gamma[0] == problem.loss(theta1)
    assert gamma[1] == problem.loss(theta2)
    monkeypatch.setattr("nconvex.network.engines.WORK_BETWEEN_SIGNALS", 1)
    np.testing.assert_array_equal(problem.gamma(theta1, theta2, t), gamma)


@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS)
def test_a_descent_reports_the_very_loss_that_the_landscape_gives(activation, loss):
    # connect() asks the landscape again, and grants no tolerance; the kernel's own sums may be
    # ordered differently, so the descent must have asked it, too
    for seed in range(1 if "NCONVEX_INNER_RUN" in os.environ else 5):
        problem, theta = make(MLP((2, 4, 4, 1), activation), loss, seed=seed, budget=30)
        descent = problem.descend(theta, 0.0, np.random.default_rng(0))
        assert descent.loss == problem.loss(descent.theta)


@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS)
def test_what_is_not_a_number_stays_visible(activation, loss):
    problem, theta = make(MLP((2, 4, 4, 1), activation), loss, samples=5)
    bad = theta.copy()
    bad[0] = np.nan
    engine = problem.engine
    gradient = np.zeros_like(bad)
    value = samples.loss_and_gradient(
        bad, *engine._network, engine._train, engine._workspace(), gradient
    )
    assert np.isnan(value)
    assert np.isnan(gradient).any()


@pytest.mark.parametrize("activation", HIDDEN)
@pytest.mark.parametrize("loss", ["mae", "huber", "log-cosh"])
def test_large_weights_give_a_large_loss_not_a_wrong_one(activation, loss):
    model = MLP((2, 4, 1), activation)
    problem, theta = make(model, loss, samples=7)
    large = theta * 1e5
    expected = {
        "mae": lambda r: np.abs(r),
        "huber": lambda r: np.where(
            np.abs(r) <= 0.1, r * r / 2, 0.1 * (np.abs(r) - 0.05)
        ),
        "log-cosh": lambda r: np.abs(r) + np.log1p(np.exp(-2 * np.abs(r))) - np.log(2),
    }[loss](model.predict(large, problem.X_test) - problem.y_test).mean()  # fmt: skip
    assert problem.loss(large) == pytest.approx(expected, rel=1e-12)


def test_a_diverging_descent_says_so():
    problem, theta = make(MLP((2, 4, 1)), "mse", learning_rate=1e200, final_learning_rate=1e200)
    with np.errstate(all="ignore"):  # without the JIT, NumPy's own numbers would warn
        descent = problem.descend(theta, 1e-3, np.random.default_rng(0))
    assert descent.status is DescentStatus.DIVERGED
    assert descent.steps < problem.rmsprop.budget


@pytest.mark.skipif("NCONVEX_INNER_RUN" in os.environ, reason="this is the inner run")
def test_the_same_holds_without_the_jit_where_each_index_is_checked():
    run_again(__file__)
