"""Bisection on L₀ closes in on passes that are known."""

import mueller_brown
import numpy as np
import pytest
from test_dss import WELLS, double_well

import nconvex as nc
from nconvex.definitions import NconvexError


def test_the_pass_of_a_double_well():
    found = nc.barrier(double_well, *WELLS, sampler="plain", alpha=1.0)
    assert found.upper == pytest.approx(1.5)
    assert (found.lower, found.failed) == (0.5, pytest.approx(1.5, rel=0.01))
    assert found.height == pytest.approx(1.0)
    assert found.string.max_error == found.upper
    assert all(level < 1.5 for level, connected in found.levels if not connected)


def test_the_pass_of_mueller_brown_within_a_thousandth():
    found = nc.barrier(
        mueller_brown.landscape(),
        mueller_brown.LEFT,
        mueller_brown.RIGHT,
        precision=1e-4,
        sampler="plain",
        alpha=0.95,
        depth=20,
    )
    assert mueller_brown.SADDLE <= found.upper <= mueller_brown.SADDLE * 1.001
    assert found.failed <= found.upper <= (1 + 1e-4) * found.failed
    assert found.gradient_evaluations > 0


def test_on_a_convex_surface_there_is_no_barrier_and_no_search():
    bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
    found = nc.barrier(bowl, np.array([1.0, 0]), np.array([0, 2.0]))
    assert (found.lower, found.upper, found.height) == (5.0, 5.0, 0.0)
    assert (found.levels, found.gradient_evaluations) == ((), 0)


def test_a_network_pairs_barrier_is_certified():
    problem = nc.quad.problem(seed=0, samples=100)
    ends = [nc.train(problem, 1e-3, seed).theta for seed in (1, 2)]
    found = nc.barrier(problem, *ends, precision=0.1)
    assert found.string.certified
    assert found.lower == max(problem.loss(theta) for theta in ends)
    assert found.upper < problem.bracket(*ends).lower  # lower than the straight line
    assert [connected for _, connected in found.levels]


def test_a_lower_bound_that_is_none_is_refused():
    with pytest.raises(NconvexError, match="a path was found below lower"):
        nc.barrier(double_well, *WELLS, lower=1.7, sampler="plain", alpha=1.0)
    with pytest.raises(NconvexError, match="precision"):
        nc.barrier(double_well, *WELLS, precision=0.0)
