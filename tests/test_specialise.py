"""The written kernels are what is written anew, and compute what the generic ones do."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import test_enclosure
import test_kernels

from nconvex import MLP, enclosure, kernels, specialise
from nconvex.kernels import LOSSES
from nconvex.problem import Problem, Segment

NETWORK = MLP((1, 4, 4, 1))


@pytest.mark.parametrize("name", specialise.modules())
def test_the_files_are_up_to_date(name):
    written = (specialise.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert written == specialise.modules()[name]  # else run: python -m nconvex.specialise


def test_they_are_chosen_for_their_network_only():
    chosen = test_kernels.make(NETWORK, "mse")[0]
    assert chosen._kernels.__name__ == "nconvex.kernels_1_4_4_1"
    assert chosen._enclosure.__name__ == "nconvex.enclosure_1_4_4_1"
    for other in (MLP((1, 4, 4, 1), "tanh"), MLP((1, 4, 4, 1), biases=False), MLP((1, 4, 1))):
        problem = test_kernels.make(other, "mse")[0]
        assert (problem._kernels, problem._enclosure) == (kernels, enclosure)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("samples", [1, 7, 256, 1000])
def test_loss_and_gradient_agree_with_the_reference(loss, samples):
    problem, theta = test_kernels.make(NETWORK, loss, samples=samples)
    value, gradient = problem.loss_and_gradient(theta)
    data = problem.X, problem.y
    assert value == pytest.approx(reference.loss(NETWORK, loss, theta, *data), rel=1e-12)
    expected = reference.gradient(NETWORK, loss, theta, *data)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-13)
    for p in range(theta.size):  # a wrong gradient would be seen
        wrong = gradient.copy()
        wrong[p] += 1e-6
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(wrong, expected, rtol=1e-10, atol=1e-13)


def test_what_is_not_a_number_stays_visible():
    problem, theta = test_kernels.make(NETWORK, "mse")
    for p in range(theta.size):
        broken = theta.copy()
        broken[p] = np.nan
        losses = np.empty(1)
        problem._kernels.mean_losses(
            broken[None], problem._layers, problem._loss, *problem._test, *problem._work(), losses
        )
        assert np.isnan(losses[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_brackets_are_those_of_the_generic_kernels(loss):
    for seed in range(20):
        problem, *ends = test_enclosure.make(seed, NETWORK.sizes, "relu", loss, samples=600)
        special, generic = Segment(problem, *ends), Segment(problem, *ends)
        generic._bracket = enclosure.bracket
        assert special.tighten(np.inf, 1e-3, 500) == generic.tighten(np.inf, 1e-3, 500) is True
        assert special.peak.t_star == generic.peak.t_star
        assert special.peak.lower == pytest.approx(generic.peak.lower, rel=1e-12)
        assert special.peak.upper == pytest.approx(generic.peak.upper, rel=1e-12)


def test_other_sizes_could_be_written_as_well():
    for sizes in ((2, 3, 1), (1, 5, 2, 3, 2)):
        for code in (specialise.mean_loss(sizes), specialise.enclose(sizes)):
            compile("\n".join(line for line in code if line != "@part"), "code", "exec")


def test_replacing_the_activation_falls_back(monkeypatch):
    model = replace(NETWORK, output_activation="sigmoid")
    problem, theta = test_kernels.make(model, "mse")
    assert isinstance(problem, Problem)
    assert problem.loss(theta) == pytest.approx(
        reference.loss(model, "mse", theta, problem.X_test, problem.y_test), rel=1e-12
    )
