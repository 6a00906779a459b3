"""Beads on springs: the pull is the gradient of what it says, and it holds beads back."""

import numpy as np
import pytest
from differences import check_gradient
from test_dss import LEFT, RIGHT, ring

import nconvex as nc
from nconvex.definitions import NconvexError
from nconvex.samplers.springs import pull

rng = np.random.default_rng(0)
A, B, THETA = rng.normal(size=(3, 5))


def energy(theta, zeta, kappa):
    length = np.linalg.norm(B - A)
    springs = np.linalg.norm(theta - A) + np.linalg.norm(theta - B)
    return zeta * springs / length + kappa * abs((B - A) @ (theta - (A + B) / 2)) / length**2


def test_the_pull_is_the_gradient_of_the_springs_and_of_the_hyperplane():
    check_gradient(
        lambda x: energy(x, 0.3, 0.7), pull(THETA, A, B, 0.3, 0.7), THETA, tolerance=1e-7
    )
    with pytest.raises(AssertionError):  # an injected wrong one
        check_gradient(
            lambda x: energy(x, 0.3, 0.7), pull(THETA, A, B, 0.3, -0.7), THETA, tolerance=1e-7
        )


def test_it_goes_round_a_ring():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2, sampler="springs")
    assert string.connected
    assert string.sampler == "springs"
    assert string.gradient_evaluations > 0


def test_the_hyperplane_keeps_the_first_bead_as_far_from_one_end_as_from_the_other():
    def unevenness(kappa):
        string = nc.connect(
            ring(),
            LEFT,
            RIGHT,
            L0=0.2,
            depth=1,
            sampler=nc.Springs(zeta=0.0, kappa=kappa, insert="peak"),
        )
        first, second = string.segment_lengths
        return abs(first - second)

    assert unevenness(100.0) < 0.1 * unevenness(0.0)


def test_springs_too_strong_leave_beads_above():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2, sampler=nc.Springs(zeta=50.0))
    assert string.status is nc.ConnectionStatus.BEAD_UNTRAINABLE


def test_networks_and_classifiers_have_gradients():
    problem = nc.quad.problem(seed=0, samples=100)
    ends = [nc.train(problem, 1e-2, seed).theta for seed in (1, 2)]
    string = nc.connect(problem, *ends, L0=1e-2, sampler="springs")
    assert string.connected
    assert string.certified
    digits = nc.mnist.problem("subset", nc.MLP((784, 4, 10)))
    theta = digits.initial(np.random.default_rng(0))
    whole = digits.loss_and_gradient(theta)[1]
    mean = np.mean([digits.gradient(theta, rng) for _ in range(300)], axis=0)
    assert np.linalg.norm(mean - whole) < 0.15 * np.linalg.norm(whole)


def test_bad_input_is_refused():
    class Blind:
        """A landscape without gradients."""

        loss = staticmethod(lambda theta: 0.1)
        descend = gamma = staticmethod(print)

    with pytest.raises(NconvexError, match=r"gradient\(theta, rng\)"):
        nc.connect(Blind(), LEFT, RIGHT, L0=0.2, sampler="springs")
    with pytest.raises(NconvexError, match="zeta must be at least 0"):
        nc.connect(ring(), LEFT, RIGHT, L0=0.2, sampler=nc.Springs(zeta=-1.0))
