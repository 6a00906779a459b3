"""Errors, and checks of input: each input is checked once, where it enters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike


class NconvexError(ValueError):
    """Bad input; the message names the value and says what to do.

    Every function raises it where an argument is of the wrong type or shape, not finite, unknown
    or out of its range, or a file cannot be used. Docstrings list only what goes beyond that.
    """


class EndpointAboveL0(NconvexError):
    """An end of the path has a loss above L₀, so no path from it can stay below."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a search; `string` is what was found until then, complete and savable."""

    def __init__(self, string: Any):
        super().__init__("interrupted; the string so far is in .string")
        self.string = string


def require_number(name: str, value: float) -> None:
    """Raise NconvexError unless value is a number; infinite ones will do."""
    if not is_number(value) or value != value:
        raise NconvexError(f"{name} must be a number, not {shown(value)}")


def require_positive(name: str, value: float) -> None:
    """Raise NconvexError unless value is a positive finite number."""
    if not is_number(value) or not 0 < value < np.inf:
        raise NconvexError(f"{name} must be a positive finite number, not {shown(value)}")


def require_not_negative(name: str, value: float) -> None:
    """Raise NconvexError unless value is a finite number of at least 0."""
    if not is_number(value) or not 0 <= value < np.inf:
        raise NconvexError(f"{name} must be at least 0 and finite, not {shown(value)}")


def require_integer(
    name: str, value: int | np.integer[Any], lowest: int, highest: int = 2**53
) -> None:
    """Raise NconvexError unless value is an integer from `lowest` to `highest`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < lowest:
        raise NconvexError(f"{name} must be an integer of at least {lowest}, not {shown(value)}")
    if value > highest:
        raise NconvexError(f"{name} must be at most {highest}, not {shown(value)}")


def require_alpha(alpha: float) -> None:
    """Raise NconvexError unless alpha lies in (0, 1]."""
    if not is_number(alpha) or not 0 < alpha <= 1:
        raise NconvexError(f"alpha must lie in (0, 1], not {shown(alpha)}; e.g. 0.9")


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise NconvexError unless value is one of the names."""
    if not isinstance(value, str) or value not in choices:
        raise NconvexError(f"{name} {shown(value)} is unknown; choose from {', '.join(choices)}")


def require_kind(name: str, value: object, kind: type, example: str) -> None:
    """Raise NconvexError unless value is an instance of a class."""
    if not isinstance(value, kind):
        raise NconvexError(
            f"{name} must be of the class {kind.__name__}, e.g. {example}, not {shown(value)}"
        )


def require_theta(name: str, theta: ArrayLike, size: int | None = None) -> np.ndarray:
    """Return theta as a vector that kernels take; raise NconvexError if it is none, or not finite.

    Args:
        name: What to call it in a message.
        theta: (P,) numbers: an array of any kind, also a read-only one, or a sequence.
        size: P, if it is known.

    Returns:
        (P,) float64, contiguous and writable: theta itself if it is that already, else a copy.
    """
    if (
        type(theta) is np.ndarray
        and theta.dtype == np.float64
        and theta.ndim == 1
        and theta.flags.carray
        and theta.size == (size or theta.size) > 0
        and np.isfinite(theta).all()
    ):
        return theta  # the usual case, at a third of the cost
    if hasattr(theta, "theta"):  # a Training or a Descent
        raise NconvexError(f"{name} is a {type(theta).__name__}; pass its parameters, .theta")
    vector = numbers(name, theta)
    if vector.ndim != 1 or vector.size == 0:
        raise NconvexError(f"{name} must be a flat vector, not of shape {vector.shape}")
    if size is not None and vector.size != size:
        raise NconvexError(f"{name} has {vector.size} parameters; this landscape has {size}")
    require_finite(name, vector)
    return vector


def require_ends(
    theta1: ArrayLike, theta2: ArrayLike, size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of a path, of one size, as `require_theta` does each."""
    theta1 = require_theta("theta1", theta1, size)
    return theta1, require_theta("theta2", theta2, theta1.size)


def require_models(name: str, thetas: Sequence[ArrayLike] | np.ndarray) -> list[np.ndarray]:
    """Return two models at least, of one size, as `require_theta` does each."""
    several = isinstance(thetas, list | tuple) or (isinstance(thetas, np.ndarray) and thetas.ndim)
    if not several or len(thetas) < 2:
        raise NconvexError(f"{name} must be two models at least, not {shown(thetas)}")
    first = require_theta(f"{name}[0]", thetas[0])
    return [require_theta(f"{name}[{k}]", theta, first.size) for k, theta in enumerate(thetas)]


def require_t(t: np.ndarray) -> np.ndarray:
    """Return t as a vector (T,), T ≥ 1; raise NconvexError unless it is one, within [0, 1]."""
    vector = numbers("t", t)
    if vector.ndim != 1 or vector.size == 0:
        raise NconvexError(
            f"t must be a vector of one number at least, not of shape {vector.shape}; e.g. [0.5]"
        )
    if not ((vector >= 0.0) & (vector <= 1.0)).all():
        raise NconvexError(f"t must lie in [0, 1], not {shown(t)}")
    return vector


def numbers(name: str, given: object, dtype: type = np.float64) -> np.ndarray:
    """Copy an array, or what NumPy makes one of, into a new contiguous one of floats.

    Raises:
        NconvexError: It does not hold real numbers, or is too large for the memory.
    """
    try:
        array = np.asarray(given)
        if is_masked(given):
            reason = "; some of its numbers are masked: missing values must be filled or left out"
        elif array.dtype.kind in "iufO":  # no text, truth values, dates or complex numbers
            with np.errstate(over="ignore"):
                return np.array(array, dtype=dtype, order="C")
        else:
            reason = ""
    except MemoryError:
        raise NconvexError(f"{name} does not fit into the memory; give fewer numbers") from None
    except Exception as error:  # other packages' arrays raise what they like, and say why
        reason = ": " + " ".join(str(error).split())
    kind = type(given).__name__
    if isinstance(given, np.ndarray):
        kind += f" of {given.dtype}"
    raise NconvexError(f"{name} must be an array of numbers, not {kind}{reason}")


def is_masked(given: object) -> bool:
    """Whether a value is a masked array that hides some of its entries."""
    return hasattr(given, "filled") and np.ma.is_masked(given)


def require_finite(name: str, array: np.ndarray) -> None:
    """Raise NconvexError, and say where, unless all of an array is finite."""
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise NconvexError(
            f"{name}{place} is {array[tuple(place)]}; every number there must be finite"
        )


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number that float64 can hold, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return not isinstance(value, int) or abs(value) < 2**1023


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with six digits each, or with all of them where six do not tell them apart."""
    short = f"{a:.6g}", f"{b:.6g}"
    return short if short[0] != short[1] else (repr(float(a)), repr(float(b)))


def beside(value: float, L0: float) -> str:
    """Return a value in four digits, or as many as show on which side of L₀ it lies."""
    return next(
        text
        for digits in range(4, 18)
        if (float(text := f"{value:.{digits}g}") <= L0) == (value <= L0)
    )


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and not too long; of an array, its shape."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no integers of more than 4,300 digits
        text = "an integer of too many digits"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
