"""Data and losses as users of other libraries give them, checked once."""

from __future__ import annotations

from typing import Any

import numpy as np

from nconvex.definitions import NconvexError, encoded_labels, numbers, require_finite, shown

LOSSES = ("cross-entropy", "error", "mse", "mae")


def require_loss(loss: Any) -> None:
    """Raise NconvexError unless a loss has a name or is a function."""
    if not callable(loss) and (not isinstance(loss, str) or loss not in LOSSES):
        raise NconvexError(
            f"loss {shown(loss)} is unknown; choose from {', '.join(LOSSES)}, or give a function "
            "of (outputs, targets)"
        )


def labelled(loss: Any) -> bool:
    """Whether targets are labels of classes."""
    return isinstance(loss, str) and loss in ("cross-entropy", "error")


def require_pair(name: str, pair: Any) -> tuple[np.ndarray, Any]:
    """Return inputs (N, …) as a new array, N ≥ 1, finite, and the targets as they are."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise NconvexError(f"{name} must be a pair (X, y), not {shown(pair)}")
    X, y = numbers(f"{name}[0]", _plain(pair[0])), _plain(pair[1])
    if X.ndim == 0 or len(X) == 0 or np.shape(y)[:1] != X.shape[:1]:
        raise NconvexError(
            f"{name} has inputs of shape {X.shape} and targets of shape {np.shape(y)}; both must "
            "begin with N ≥ 1 samples"
        )
    require_finite(f"{name}[0]", X)
    return X, y


def _plain(part: Any) -> Any:
    """A tensor that asks for gradients, or stands on another device, as NumPy can read it."""
    return part.detach().cpu() if hasattr(part, "detach") else part


def require_targets(
    loss: Any, y: Any, y_test: Any, outputs: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return both sets' labels as integers (N,), or targets in the shape of the outputs.

    Args:
        loss: A name or a function; a function takes numbers of any shape.
        y: (N, …) targets, or labels in any form that `encoded_labels` knows.
        y_test: (M, …), likewise.
        outputs: The shape of the outputs, without N.

    Returns:
        y, y_test: See above.
        classes: The label that each output stands for, or None.
    """
    if not labelled(loss):
        train = _targets("train[1]", loss, y, outputs)
        return train, _targets("test[1]", loss, y_test, outputs), None
    if len(outputs) != 1 or outputs[0] < 2:
        raise NconvexError(
            f"{loss} needs outputs of shape (N, classes), not {('N', *outputs)}".replace("'", "")
        )
    return encoded_labels(outputs[0], y, len(y), y_test, len(y_test))


def _targets(name: str, loss: Any, given: Any, outputs: tuple[int, ...]) -> np.ndarray:
    """Finite numbers; for a function, integers stay integers."""
    y = numbers(name, given)
    require_finite(name, y)
    if callable(loss):
        return y.astype(np.int64) if np.asarray(given).dtype.kind in "iu" else y
    if y[0].size != np.prod(outputs, dtype=int):
        raise NconvexError(f"{name} has shape {y.shape}; the outputs need {(len(y), *outputs)}")
    return y.reshape(len(y), *outputs)
