"""Training and test data: checked once, and split in two."""

from __future__ import annotations

from typing import Any

import numpy as np

from nconvex.definitions import (
    NconvexError,
    Seed,
    generator,
    is_number,
    numbers,
    require_finite,
    shown,
)


def checked_matrix(name: str, given: Any, columns: int, dtype: type = np.float64) -> np.ndarray:
    """Return a copy of finite numbers (N, columns), N ≥ 1; one column may be given as (N,)."""
    array = numbers(name, given, dtype)
    if array.ndim == columns == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != columns or len(array) == 0:
        raise NconvexError(f"{name} has shape {array.shape}; the model needs (N, {columns}), N ≥ 1")
    require_finite(name, array)
    return array


def split(
    X: Any, y: Any, test: float = 0.2, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split samples at random into a training set and a test set.

    Args:
        X: (N, …) inputs, N ≥ 2.
        y: (N, …) targets or labels.
        test: The test set's share of the samples, rounded, but one sample at least in either set.
        seed: Names the random order.

    Returns:
        X, y, X_test, y_test, in the order of the arguments of `Problem` and `Classification`.

    Example:
        >>> X, y, X_test, y_test = split(np.arange(10.0), np.arange(10), test=0.3, seed=1)
        >>> len(X), y_test.tolist() == X_test.tolist()
        (7, True)
    """
    try:
        X, y = np.asarray(X), np.asarray(y)
    except Exception:  # ragged lists, or other packages' arrays
        raise NconvexError("X and y must be arrays of N samples each") from None
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y) or len(X) < 2:
        raise NconvexError(f"X and y must be N ≥ 2 samples each, not of {X.shape} and {y.shape}")
    if not is_number(test) or not 0.0 < test < 1.0:
        raise NconvexError(f"test must lie between 0 and 1, not {shown(test)}; e.g. 0.2")
    count = min(max(round(test * len(X)), 1), len(X) - 1)
    order = generator(seed).permutation(len(X))
    train, tests = order[count:], order[:count]
    return X[train], y[train], X[tests], y[tests]
