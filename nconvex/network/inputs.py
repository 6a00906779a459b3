"""Checks of training and test data, made once: inputs, targets and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nconvex.definitions import NconvexError, numbers, require_finite, shown


def checked_matrix(name: str, given: Any, columns: int, dtype: type = np.float64) -> np.ndarray:
    """Return a copy of finite numbers (N, columns), N ≥ 1."""
    array = numbers(name, given, dtype)
    if array.ndim != 2 or array.shape[1] != columns or len(array) == 0:
        hint = f"; use {name}[:, None]" if array.ndim == 1 and columns == 1 else ""
        raise NconvexError(
            f"{name} has shape {array.shape}; the model needs (N, {columns}), N ≥ 1{hint}"
        )
    require_finite(name, array)
    return array


def checked_labels(name: str, given: Any, samples: int, classes: int) -> np.ndarray:
    """Return labels as integers (samples,); an error tells how to turn others into such."""
    try:
        labels = np.asarray(given)
    except Exception:  # ragged lists, or other packages' arrays
        raise NconvexError(f"{name} must be an array, not {shown(given)}") from None
    kind = labels.dtype.kind
    if labels.shape == (samples, classes) and classes > 1:
        advice = f"one-hot rows become classes by {name}.argmax(axis=1)"
    elif labels.shape == (samples, 1):
        advice = f"a column becomes a vector by {name}.ravel()"
    elif labels.shape != (samples,):
        advice = f"give one for each of the {samples} samples"
    elif kind in "US" or (kind == "O" and all(isinstance(label, str) for label in labels)):
        advice = f"names become numbers by np.unique({name}, return_inverse=True)[1]"
    elif kind == "b" or (kind == "f" and (labels == np.rint(labels)).all()):
        advice = f"{name}.astype(int) makes them integers"
    elif kind not in "iu":
        advice = "give the numbers of the classes"
    elif labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        advice = f"{name}[{wrong}] is {labels[wrong]}"
        if labels.min() == 1 and labels.max() == classes:
            advice += f"; if they count from 1, give {name} - 1"
    else:
        return labels.astype(np.int64)
    raise NconvexError(
        f"{name} must be {samples} integers from 0 to {classes - 1}, not {labels.dtype} of shape "
        f"{labels.shape}: {advice}"
    )
