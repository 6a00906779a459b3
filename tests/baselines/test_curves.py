"""The baselines work where they should, count every gradient, and are certified as strings are."""

import numpy as np
import pytest
from differences import check_gradient
from test_dss import LEFT, RIGHT, bowl, ring

import nconvex as nc
from nconvex.baselines import curves
from nconvex.baselines.assignment import permuted
from nconvex.definitions import Move, NconvexError

TRAINED = {
    "polychain": curves.polychain,
    "bezier": curves.bezier,
    "elastic band": curves.nudged_elastic_band,
}
rng = np.random.default_rng(0)


class Counting:
    """A landscape that counts its gradients."""

    def __init__(self, landscape):
        self.landscape, self.gradients = landscape, 0

    def gradient(self, theta, rng):
        self.gradients += 1
        return self.landscape.gradient(theta, rng)

    def __getattr__(self, name):
        return getattr(self.landscape, name)


@pytest.mark.parametrize("name", TRAINED)
def test_they_go_round_a_ring_and_count_what_they_take(name):
    landscape = Counting(ring())
    string = TRAINED[name](landscape, LEFT, RIGHT, L0=0.2, budget=20_000)
    assert string.connected
    assert string.sampler == name
    assert string.gradient_evaluations == landscape.gradients <= 20_000
    assert [insertion.move for insertion in string.trace] == [Move.RESHAPE]
    np.testing.assert_array_equal(string.beads[[0, -1]], [LEFT, RIGHT])
    assert string.line_max_error == pytest.approx(1.1, rel=1e-3)
    again = TRAINED[name](ring(), LEFT, RIGHT, L0=0.2, budget=20_000)
    np.testing.assert_array_equal(again.beads, string.beads)


@pytest.mark.parametrize("name", TRAINED)
def test_the_budget_is_kept_and_failure_is_said(name):
    landscape = Counting(ring())
    string = TRAINED[name](landscape, LEFT, RIGHT, L0=0.12, budget=101)
    assert not string.connected
    assert string.status is nc.ConnectionStatus.PATH_ABOVE_L0
    assert 90 < landscape.gradients == string.gradient_evaluations <= 101


@pytest.mark.parametrize("name", TRAINED)
def test_networks_are_connected_with_proof(name):
    problem = nc.quad.problem(seed=0, samples=100)
    ends = [nc.train(problem, 1e-2, seed).theta for seed in (1, 2)]
    string = TRAINED[name](problem, *ends, 1e-2, budget=30_000)
    assert string.connected
    assert string.certified
    assert not curves.straight_line(problem, *ends, 1e-2).connected


def test_nothing_is_trained_where_the_line_serves():
    for search in TRAINED.values():
        string = search(bowl(), np.array([1.0, 0]), np.array([0, 1.0]), L0=2.0)
        assert string.connected
        assert string.gradient_evaluations == 0


def test_a_curves_gradient_is_that_of_its_mean_loss():
    landscape = ring()
    points, weights = rng.normal(size=(5, 2)), rng.dirichlet(np.ones(5), size=7)
    gradient = curves.curve_gradient(landscape, points, weights, rng)

    def mean_loss(inner):
        whole = np.concatenate([points[:1], inner.reshape(3, 2), points[-1:]])
        return np.mean([landscape.loss(theta) for theta in weights @ whole])

    inner = points[1:-1].ravel()
    check_gradient(mean_loss, gradient.ravel(), inner, tolerance=1e-6)
    with pytest.raises(AssertionError):  # an injected wrong one: shifted by one bend
        check_gradient(mean_loss, np.roll(gradient, 1, 0).ravel(), inner, tolerance=1e-6)


def test_a_nudged_gradient_is_across_the_path_but_for_the_springs():
    beads = np.array([[0.0, 0], [1, 1], [2, 0], [6, 0]])
    g = rng.normal(size=(2, 2))
    nudged = curves._nudged(g, beads)
    np.testing.assert_allclose(nudged[0], [0, g[0, 1]], atol=1e-12)  # neighbours as far: no pull
    tangent = np.array([5.0, -1.0]) / np.sqrt(26.0)
    assert nudged[1] @ tangent < 0  # a step against it goes towards the farther neighbour
    across = np.array([1.0, 5.0]) / np.sqrt(26.0)
    assert nudged[1] @ across == pytest.approx(g[1] @ across)


def test_alignment_connects_a_permuted_copy_and_says_where_it_ends():
    problem = nc.quad.problem(seed=0, samples=100)
    theta = nc.train(problem, 1e-3, seed=1).theta
    copy = permuted(problem.model, theta, [rng.permutation(4), rng.permutation(4)])
    string = curves.align(problem, theta, copy, 1e-3)
    assert string.connected
    np.testing.assert_array_equal(string.beads[-1], theta)  # P(θ₂), not θ₂
    assert not np.array_equal(copy, theta)
    with pytest.raises(NconvexError, match="pass a Problem"):
        curves.align(ring(), LEFT, RIGHT, 0.2)


def test_bad_input_is_refused():
    with pytest.raises(NconvexError, match="bends"):
        curves.polychain(ring(), LEFT, RIGHT, 0.2, bends=0)
    with pytest.raises(NconvexError, match="budget"):
        curves.nudged_elastic_band(ring(), LEFT, RIGHT, 0.2, budget=0)
    with pytest.raises(nc.EndpointAboveL0):
        curves.straight_line(ring(), LEFT, RIGHT, 0.01)
