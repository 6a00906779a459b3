"""Data and losses as users of other libraries give them, checked once."""

from __future__ import annotations

from typing import Any

import numpy as np

from nconvex.definitions import NconvexError, numbers, require_finite, shown

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


def require_pair(name: str, pair: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets (N, …) as new arrays, N ≥ 1, finite; integer targets as such."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise NconvexError(f"{name} must be a pair (X, y), not {shown(pair)}")
    X, y = (numbers(f"{name}[{k}]", _plain(part)) for k, part in enumerate(pair))
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y) or len(X) == 0:
        raise NconvexError(
            f"{name} has inputs of shape {X.shape} and targets of shape {y.shape}; both must "
            "begin with N ≥ 1 samples"
        )
    for k, part in enumerate((X, y)):
        require_finite(f"{name}[{k}]", part)
    whole = np.asarray(_plain(pair[1])).dtype.kind in "iu"
    return X, y.astype(np.int64) if whole else y


def _plain(part: Any) -> Any:
    """A tensor that asks for gradients, or stands on another device, as NumPy can read it."""
    return part.detach().cpu() if hasattr(part, "detach") else part


def require_targets(name: str, loss: Any, y: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
    """Return labels as integers (N,), or targets in the shape of the outputs.

    Args:
        name: What to call y in a message.
        loss: A name or a function; a function takes y as it is.
        y: (N, …) numbers.
        outputs: The shape of the outputs, without N.
    """
    if callable(loss):
        return y
    if not labelled(loss):
        if y[0].size != np.prod(outputs, dtype=int):
            raise NconvexError(f"{name} has shape {y.shape}; the outputs need {(len(y), *outputs)}")
        return y.reshape(len(y), *outputs).astype(np.float64)
    if len(outputs) != 1 or outputs[0] < 2:
        raise NconvexError(
            f"{loss} needs outputs of shape (N, classes), not {('N', *outputs)}".replace("'", "")
        )
    classes = outputs[0]
    if y.ndim != 1 or (y != np.rint(y)).any() or y.min() < 0 or y.max() >= classes:
        raise NconvexError(
            f"{name} must be N labels from 0 to {classes - 1}, not numbers of shape {y.shape} "
            f"from {y.min():g} to {y.max():g}"
        )
    return y.astype(np.int64)
