"""Data of one's own, split with a seed."""

import numpy as np
import pytest

import nconvex as nc
from nconvex import split


@pytest.mark.parametrize(("test", "count"), [(0.2, 20), (0.001, 1), (0.999, 98), (0.5, 50)])
def test_every_sample_is_in_one_set_beside_its_target(test, count):
    rows, labels = np.arange(99.0)[:, None] * [1, -1], np.arange(99).astype(str)
    X, y, X_test, y_test = split(rows, labels, test=test, seed=3)
    assert len(X_test) == count
    assert sorted([*X[:, 0], *X_test[:, 0]]) == list(range(99))
    for points, names in ((X, y), (X_test, y_test)):
        assert points[:, 0].astype(int).astype(str).tolist() == names.tolist()
    again = split(rows.tolist(), labels.tolist(), test=test, seed=3)
    assert again[0].tolist() == X.tolist()
    other = split(rows, labels, test=test, seed=4)
    assert other[1].tolist() != y.tolist()


def test_two_samples_are_one_of_each():
    assert [len(part) for part in split([1, 2], [3, 4], test=0.001)] == [1, 1, 1, 1]


def test_the_parts_are_in_the_order_of_a_problems_arguments():
    X = np.linspace(0, 1, 30)[:, None]
    problem = nc.Problem(nc.MLP((1, 2, 1)), "mse", *split(X, X[:, 0] ** 2, test=0.3))
    assert (len(problem.X), len(problem.X_test)) == (21, 9)
    np.testing.assert_array_equal(problem.y_test, problem.X_test**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2, 3], [1, 2]), r"not of \(3,\) and \(2,\)"),
        (([1], [1]), "N ≥ 2 samples"),
        (([1, 2], [1, 2], 1), "test must lie between 0 and 1, not 1"),
        (([1, 2], [1, 2], 0.0), "between 0 and 1"),
    ],
)
def test_what_cannot_be_split_is_refused(arguments, message):
    with pytest.raises(nc.NconvexError, match=message):
        split(*arguments)
