import numpy as np
import pytest

from nconvex import NconvexError
from nconvex.data.polynomials import POLYNOMIALS, authors_cubic, cubic, polynomial, quadratic


@pytest.mark.parametrize("task", sorted(POLYNOMIALS.keys() - {"authors-cubic"}))
def test_polynomials_map_the_unit_interval_into_itself(task):
    values = POLYNOMIALS[task](np.linspace(0, 1, 10_001))
    assert values.min() >= 0
    assert values.max() <= 1


def test_coefficients():
    x = np.array([0.0, 0.3, 1.0])
    np.testing.assert_allclose(quadratic(x), 0.5 * x**2 + 0.25 * x + 0.1)
    np.testing.assert_allclose(1.08 * cubic(x) - 0.08, 8 * x**3 - 10 * x**2 + 3 * x, atol=1e-15)
    np.testing.assert_allclose(authors_cubic(x), 1.08 * cubic(x) - 0.08, atol=1e-15)


def test_training_and_test_points_are_drawn_apart_and_reproducibly():
    X, y, X_test, y_test = polynomial("quadratic", 500, (3, 0))
    assert X.shape == y.shape == X_test.shape == y_test.shape == (500, 1)
    assert not np.intersect1d(X, X_test).size
    assert 0 <= X.min() < 0.05 < 0.95 < X.max() < 1
    np.testing.assert_array_equal(y_test, quadratic(X_test))
    np.testing.assert_array_equal(polynomial("quadratic", 500, (3, 0))[0], X)
    assert polynomial("quadratic", 500, (3, 1))[0][0] != X[0]


def test_bad_values_are_named():
    with pytest.raises(NconvexError, match="'cosine' is unknown; choose from quadratic, cubic"):
        polynomial("cosine", 10, 0)
    with pytest.raises(NconvexError, match="samples"):
        polynomial("cubic", 0, 0)
