"""The data of the experiments: polynomials to regress."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nconvex.definitions import Seed, generator, require_choice, require_integer

#: Points of one set at most: with all that is made of them they take a few GB.
MOST_SAMPLES = 10**7


def quadratic(x: np.ndarray) -> np.ndarray:
    """0.5 x² + 0.25 x + 0.1, from 0.1 at x = 0 to 0.85 at x = 1, as in the authors' code."""
    return 0.5 * x**2 + 0.25 * x + 0.1


def cubic(x: np.ndarray) -> np.ndarray:
    """(8 x³ - 10 x² + 3 x + 0.08) / 1.08: up, down and up again, from 0.07 to 1.

    Departs from the authors' code: its 8 x³ - 10 x² + 3 x falls to -0.08 near x = 0.63, outside
    the draft's own condition f(x) ∈ [0, 1], so it is lifted and scaled into it.
    """
    return (8.0 * x**3 - 10.0 * x**2 + 3.0 * x + 0.08) / 1.08


def authors_cubic(x: np.ndarray) -> np.ndarray:
    """8 x³ - 10 x² + 3 x, the cubic of the authors' published code, from -0.08 to 1."""
    return 8.0 * x**3 - 10.0 * x**2 + 3.0 * x


POLYNOMIALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "quadratic": quadratic,
    "cubic": cubic,
    "authors-cubic": authors_cubic,
}


def polynomial(
    task: str, samples: int, seed: Seed
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw training and test points apart, x uniform on [0, 1].

    Args:
        task: "quadratic", "cubic" or "authors-cubic".
        samples: N, points in each of the two sets.
        seed: Names the random stream.

    Returns:
        X, y, X_test, y_test, each (N, 1).
    """
    require_choice("task", task, POLYNOMIALS)
    require_integer("samples", samples, 1, MOST_SAMPLES)
    rng = generator(seed)
    X, X_test = rng.random((samples, 1)), rng.random((samples, 1))
    return X, POLYNOMIALS[task](X), X_test, POLYNOMIALS[task](X_test)
