"""The textbook's derivatives against differences, and what it runs against the compiled engines."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from differences import check_gradient

import nconvex as nc
from nconvex import textbook
from nconvex.kernels.parts import ACTIVATIONS, HUBER_DELTA, LOSSES
from nconvex.network import engines

SOURCE = Path(textbook.__file__)


def test_it_is_short_and_plain():
    text = SOURCE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "numba" not in text


def test_it_knows_every_activation_and_loss():
    assert set(textbook.ACTIVATIONS) == set(textbook.ACTIVATION_SLOPES) == set(ACTIVATIONS)
    assert set(textbook.LOSSES) == set(textbook.LOSS_SLOPES) == set(LOSSES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_of_activations(name):
    s, slope = textbook.ACTIVATIONS[name], textbook.ACTIVATION_SLOPES[name]
    z = np.array([-3.0, -0.5, 0.25, 2.0])
    h = 1e-6
    np.testing.assert_allclose(slope(s(z)), (s(z + h) - s(z - h)) / (2 * h), rtol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_slopes_of_losses(name):
    loss, slope = textbook.LOSSES[name], textbook.LOSS_SLOPES[name]
    r = np.array([-3.0, -0.5 * HUBER_DELTA, 0.3 * HUBER_DELTA, 2.0])
    h = 1e-6
    np.testing.assert_allclose(slope(r), (loss(r + h) - loss(r - h)) / (2 * h), rtol=1e-7)


@pytest.mark.parametrize(
    "model",
    [
        nc.MLP((2, 3, 4, 2), "tanh"),
        nc.MLP((2, 3, 1), "relu", biases=False),
        nc.MLP((1, 5, 3, 1), "sigmoid", output_activation="sigmoid"),
    ],
)
def test_gradient_agrees_with_central_differences(model):
    rng = np.random.default_rng(2)
    theta = rng.normal(size=model.n_parameters)
    X, y = rng.normal(size=(12, model.sizes[0])), rng.normal(size=(12, model.sizes[-1]))
    for loss in LOSSES:
        gradient = textbook.gradient(model, loss, theta, X, y)
        check_gradient(
            lambda v, loss=loss: textbook.mean_loss(model, loss, v, X, y), gradient, theta
        )
        gradient[1] *= 1.001
        with pytest.raises(AssertionError, match="central difference"):
            check_gradient(
                lambda v, loss=loss: textbook.mean_loss(model, loss, v, X, y), gradient, theta
            )


def test_rmsprop_by_hand():
    settings = nc.RMSProp(
        learning_rate=0.5, final_learning_rate=0.125, decay=0.75, epsilon=0.5, budget=2
    )
    found = list(textbook.rmsprop(np.array([1.0]), lambda x: 2.0 * x, settings))
    first = 1.0 - 0.5 * 2.0 / (1.0 + 0.5)  # v = 0.25 2² = 1
    g = 2.0 * first
    second = first - 0.25 * g / (np.sqrt(0.75 + 0.25 * g * g) + 0.5)
    np.testing.assert_allclose(np.ravel(found), [1.0, first, second], rtol=1e-15)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_every_engine_gives_the_same_pair(loss):
    settings = nc.RMSProp(learning_rate=2e-3, budget=600)
    pairs = [
        nc.run_pair(nc.quad.problem(loss=loss, samples=60, rmsprop=settings, engine=name), L0=5e-3)
        for name in engines.ENGINES
    ]
    strings = [pair.string for pair in pairs]
    assert all(string is not None for string in strings)
    assert len({(string.status, len(string.beads)) for string in strings}) == 1
    for string in strings[1:]:
        assert string.max_error == pytest.approx(strings[0].max_error, rel=1e-9)
        np.testing.assert_allclose(string.beads, strings[0].beads, rtol=1e-7, atol=1e-9)


def test_the_command_takes_the_textbook(capsys):
    options = ["--no-figure", "--json", "--quiet", "--samples", "50", "--L0", "0.02"]
    results = []
    for engine in ("textbook", "samples"):
        assert nc.quad.main([*options, "--engine", engine]) == 0
        results.append(capsys.readouterr().out)
    assert '"connected"' in results[0]


def test_engines_are_checked():
    with pytest.raises(nc.NconvexError, match="engine 'gpu' is unknown; choose from textbook"):
        nc.quad.problem(engine="gpu")
    with pytest.raises(nc.NconvexError, match="needs a ReLU network of one input"):
        nc.quad.problem(model=nc.MLP((1, 4, 1), "tanh"), engine="regions")


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_problems_can_be_copied_and_pickled(engine):
    problem = nc.quad.problem(samples=90, engine=engine)
    theta = problem.initial(np.random.default_rng(0))
    for other in (
        copy.copy(problem),
        copy.deepcopy(problem),
        pickle.loads(pickle.dumps(problem)),
    ):
        assert other.loss(theta) == problem.loss(theta)
        np.testing.assert_array_equal(
            other.loss_and_gradient(theta)[1], problem.loss_and_gradient(theta)[1]
        )
        assert other.max_gamma(theta, -theta, 1e-3) == problem.max_gamma(theta, -theta, 1e-3)


def test_classifiers_can_be_copied_and_pickled():
    rng = np.random.default_rng(0)
    X, labels = rng.random((30, 5)), rng.integers(0, 3, 30)
    problem = nc.Classification(nc.MLP((5, 4, 3)), X, labels, X, labels)
    theta = problem.initial(rng)
    assert problem.loss(theta) > 0
    for other in (copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert not other._memory._tiles  # first layers are large, and soon made again
        assert other.loss(theta) == problem.loss(theta)
        assert problem._memory._tiles
    assert not isinstance(problem, nc.Problem)


def test_the_textbook_does_not_depend_on_blas_threads():
    code = (
        "import numpy as np, nconvex as nc\n"
        "problem = nc.quad.problem(engine='textbook', samples=3000,"
        " model=nc.MLP((1, 40, 40, 1), 'tanh'))\n"
        "theta = problem.initial(np.random.default_rng(0))\n"
        "loss, gradient = problem.loss_and_gradient(theta)\n"
        "print(loss, gradient.tobytes().hex())"
    )
    results = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert results[0] == results[1]
