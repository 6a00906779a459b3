"""Assignments are the best there are, and alignment changes the order of units only."""

import itertools

import numpy as np
import pytest

import nconvex as nc
from nconvex.baselines.assignment import aligned, assignment, permuted
from nconvex.definitions import NconvexError

rng = np.random.default_rng(0)


@pytest.mark.parametrize("n", range(1, 7))
def test_no_permutation_is_better(n):
    for k in range(20):
        gains = rng.normal(size=(n, n)) if k % 2 else rng.integers(0, 3, (n, n)).astype(float)
        order = assignment(gains)
        assert sorted(order) == list(range(n))
        best = max(
            gains[np.arange(n), list(other)].sum() for other in itertools.permutations(range(n))
        )
        assert gains[np.arange(n), order].sum() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    "model", [nc.MLP((3, 6, 5, 2)), nc.MLP((1, 4, 4, 1), "tanh"), nc.MLP.of_the_authors()]
)
def test_a_permuted_copy_is_put_back_in_order(model):
    theta = model.initial(rng)
    copy = permuted(model, theta, [rng.permutation(units) for units in model.sizes[1:-1]])
    X = rng.normal(size=(20, model.sizes[0]))
    assert not np.array_equal(copy, theta)
    np.testing.assert_allclose(model.predict(copy, X), model.predict(theta, X), atol=1e-12)
    np.testing.assert_array_equal(aligned(model, theta, copy), theta)


def test_alignment_brings_networks_closer_and_changes_no_output():
    model = nc.MLP((2, 20, 20, 1))
    theta1, theta2 = model.initial(rng), model.initial(rng)
    theta3 = aligned(model, theta1, theta2)
    X = rng.normal(size=(20, 2))
    np.testing.assert_allclose(model.predict(theta3, X), model.predict(theta2, X), atol=1e-12)
    assert np.linalg.norm(theta3 - theta1) < np.linalg.norm(theta2 - theta1)


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        (np.ones((2, 3)), r"square matrix, not of shape \(2, 3\)"),
        (np.full((2, 2), np.nan), r"gains\[0, 0\] is nan"),
        (3.0, r"square matrix, not of shape \(\)"),
        ("best", "array of numbers, not str"),
    ],
)
def test_what_is_no_assignment_is_refused(gains, message):
    with pytest.raises(NconvexError, match=message):
        assignment(gains)
