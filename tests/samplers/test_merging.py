"""Components of many models, and their merge tree."""

import numpy as np
import pytest

import nconvex as nc
from nconvex import NconvexError, RMSProp
from nconvex.samplers.merging import Connectivity


def valleys():
    """Three minima in a row on the first axis, with passes of height 0.5 and 1.5."""

    def f(x):
        return 0.01 + (np.sin(np.pi * x[0] / 2) ** 2) * (0.5 if x[0] < 2 else 1.5) + x[1] ** 2

    def gradient(x):
        height = 0.5 if x[0] < 2 else 1.5
        return np.array([height * np.pi / 2 * np.sin(np.pi * x[0]), 2 * x[1]])

    return nc.FunctionLandscape(f, gradient, RMSProp(budget=200))


def test_components_and_merges_of_a_known_surface():
    thetas = [np.array([4.0, 0.0]), np.array([0.0, 0.0]), np.array([2.0, 0.0])]
    levels = (0.1, 0.6, 2.0)
    found = nc.connectivity(valleys(), thetas, L0=levels)
    assert [found.components(level) for level in levels] == [3, 2, 1]
    assert found.components(0.001) == 0
    first, second = found.merges()
    assert first.height == pytest.approx(0.51, rel=1e-3)
    assert {first.left, first.right} == {(1,), (2,)}
    assert second.height == pytest.approx(1.51, rel=1e-3)
    assert nc.plots.disconnectivity(found, levels).axes[0].get_yscale() == "log"


def test_a_pair_in_one_component_is_not_searched():
    thetas = [np.array([float(x), 0.0]) for x in (0.0, 0.1, 0.2, 0.3)]
    flat = nc.FunctionLandscape(lambda x: 1.0 + 0 * x[0], lambda x: 0 * x)
    found = nc.connectivity(flat, thetas, L0=(2.0,))
    assert found.searches == 3  # of six pairs
    assert found.components(2.0) == 1
    with pytest.raises(NconvexError, match="thetas must be two models at least"):
        nc.connectivity(flat, thetas[:1], L0=(2.0,))


def test_single_linkage_against_a_plain_implementation():
    rng = np.random.default_rng(0)
    heights = rng.random((9, 9))
    heights = np.maximum(heights, heights.T)
    np.fill_diagonal(heights, 0.0)
    connectivity = Connectivity(np.zeros(9), heights, 0)
    for level in rng.random(20):
        reach = np.linalg.matrix_power((heights <= level).astype(int), 9) > 0
        assert connectivity.components(level) == len(np.unique(reach, axis=0))
