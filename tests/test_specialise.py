"""The written kernels are what is written anew, and compute what the generic ones do."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import test_enclosure
import test_kernels

from nconvex import MLP, cells, cells_1_4_4_1, kernels, pieces, specialise
from nconvex.kernels import LOSSES
from nconvex.problem import Problem, Segment

NETWORK = MLP((1, 4, 4, 1))
AUTHORS = MLP.of_the_authors()


@pytest.mark.parametrize("name", specialise.modules())
def test_the_files_are_up_to_date(name):
    written = (specialise.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert written == specialise.modules()[name]  # else run: python -m nconvex.specialise


def test_they_are_chosen_for_their_network_only():
    chosen = test_kernels.make(NETWORK, "mse")[0]
    assert chosen._kernels.__name__ == "nconvex.pieces_1_4_4_1"
    assert Segment(chosen, *np.ones((2, 33)))._bracket is cells_1_4_4_1.bracket
    problem = test_kernels.make(AUTHORS, "mae")[0]
    assert problem._kernels.__name__ == "nconvex.kernels_authors"
    for other, expected in (
        (MLP((1, 4, 4, 1), "tanh"), kernels),
        (MLP((2, 4, 4, 1)), kernels),
        (MLP((1, 4, 4, 1), biases=False), pieces),
        (MLP((1, 4, 1)), pieces),
        (replace(AUTHORS, biases=True), kernels),
        (replace(AUTHORS, sizes=(1, 4, 3, 1)), kernels),
    ):
        problem = test_kernels.make(other, "mse")[0]
        assert problem._kernels is expected
    for network in (NETWORK, AUTHORS):
        start = {"default": "uniform", "uniform": "default"}[network.initialisation]
        same = test_kernels.make(replace(network, initialisation=start), "mse")[0]
        assert same._kernels.__name__ in ("nconvex.pieces_1_4_4_1", "nconvex.kernels_authors")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("samples", [1, 7, 256, 1000])
@pytest.mark.parametrize("network", [NETWORK, AUTHORS], ids=["draft", "authors"])
def test_loss_and_gradient_agree_with_the_reference(network, loss, samples):
    problem, theta = test_kernels.make(network, loss, samples=samples)
    value, gradient = problem.loss_and_gradient(theta)
    data = problem.X, problem.y
    assert value == pytest.approx(reference.loss(network, loss, theta, *data), rel=1e-12)
    expected = reference.gradient(network, loss, theta, *data)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-13)
    for p in range(theta.size):  # a wrong gradient would be seen
        wrong = gradient.copy()
        wrong[p] += 1e-6
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(wrong, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("scale", [30.0, 1e3, 1e6])
def test_sigmoids_far_out_are_those_of_the_generic_kernels(scale):
    # four share a division: neither their product may overflow nor one disturb another
    problem, theta = test_kernels.make(AUTHORS, "mae")
    theta[:4] = -scale, -scale, -scale, scale  # three at one end of the range, one at the other
    theta[4:20] *= scale
    value, gradient = problem.loss_and_gradient(theta)
    problem._kernels = kernels
    expected, expected_gradient = problem.loss_and_gradient(theta)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("network", [NETWORK, AUTHORS], ids=["draft", "authors"])
def test_what_is_not_a_number_stays_visible(network):
    problem, theta = test_kernels.make(network, "mse")
    for p in range(theta.size):
        broken = theta.copy()
        broken[p] = np.nan
        losses = np.empty(1)
        problem._kernels.mean_losses(
            broken[None], problem._layers, problem._loss, *problem._test, *problem._work(), losses
        )
        assert np.isnan(losses[0])


def test_brackets_are_those_of_the_generic_kernels():
    for seed in range(20):
        problem, *ends = test_enclosure.make(seed, NETWORK.sizes, "relu", "mse", samples=600)
        special, generic = Segment(problem, *ends), Segment(problem, *ends)
        generic._bracket = cells.bracket
        assert special.tighten(np.inf, 1e-3, 500) == generic.tighten(np.inf, 1e-3, 500) is True
        assert special.peak.t_star == generic.peak.t_star
        assert special.peak.lower == pytest.approx(generic.peak.lower, rel=1e-12)
        assert special.peak.upper == pytest.approx(generic.peak.upper, rel=1e-12)


def test_other_sizes_could_be_written_as_well():
    for sizes in ((1, 3, 1), (1, 5, 2, 3, 2)):
        network = specialise.Network(sizes)
        sigmoids = specialise.Network(sizes, sigmoids=True)
        for code in (
            specialise.mean_loss_by_pieces(network),
            specialise.enclose(network),
            specialise.total_loss(network),
            specialise.mean_loss(sigmoids),
        ):
            compile("\n".join(code), "code", "exec")


def test_replacing_the_activation_falls_back(monkeypatch):
    model = replace(NETWORK, output_activation="sigmoid")
    problem, theta = test_kernels.make(model, "mse")
    assert isinstance(problem, Problem)
    assert problem.loss(theta) == pytest.approx(
        reference.loss(model, "mse", theta, problem.X_test, problem.y_test), rel=1e-12
    )
