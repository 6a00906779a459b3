"""The file of a string: its arrays, and the conditions that they must meet.

The file is data only. Whatever it says is checked for contradictions, and is believed to be no more
than a claim; see `load_string`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nconvex.definitions import (
    ConnectionStatus,
    DescentStatus,
    Insertion,
    Move,
    NconvexError,
    Peak,
    child,
    require_alpha,
    require_integer,
    require_positive,
)

#: Of `String.save`'s files; raised when their meaning changes.
FORMAT = 3

#: The arrays of such a file: kind of their elements and number of dimensions.
FIELDS = {
    "format": "i0", "beads": "f2", "losses": "f1", "segment_lower": "f1", "segment_upper": "f1",
    "segment_t_star": "f1", "segment_status": "U1", "L0": "f0", "alpha": "f0", "depth": "i0",
    "seed": "i1", "certified": "b0", "sampler": "U0", "trace_place": "U1", "trace_t_star": "f1",
    "trace_gamma_before": "f1", "trace_loss_after": "f1", "trace_steps": "i1",
    "trace_status": "U1", "trace_move": "U1", "trace_attempt": "i1",
}  # fmt: skip

#: Those that hold an attribute of a string, and what `trace_...` holds of each insertion.
STORED = tuple(name for name in FIELDS if name[:6] not in ("format", "trace_"))
TRACED = tuple(name.removeprefix("trace_") for name in FIELDS if name.startswith("trace_"))

#: What rounding may have done to losses that two ways of summing gave, relative.
ROUNDING = 1e-6


def arrays_of(
    string: Any, descriptions: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return a `String` as arrays, with what is to be saved beside it.

    Raises:
        NconvexError: A name in a description is taken.
    """
    arrays = {"format": np.array(FORMAT)}
    for name in STORED:
        arrays[name] = np.asarray(getattr(string, name))
    arrays["segment_status"] = _text([status.name for status in string.segment_status])
    for name in TRACED:
        values = [getattr(insertion, name) for insertion in string.trace]
        if FIELDS[f"trace_{name}"] == "U1":
            arrays[f"trace_{name}"] = _text([getattr(value, "name", value) for value in values])
        else:
            kind = np.int64 if FIELDS[f"trace_{name}"] == "i1" else np.float64
            arrays[f"trace_{name}"] = np.array(values, dtype=kind)
    for description in descriptions:
        if taken := sorted(arrays.keys() & description.keys()):
            raise NconvexError(f"a description must not use the string's {', '.join(taken)}")
        arrays.update(description)
    return arrays


def values_of(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a `String` from a file's arrays.

    Raises:
        NconvexError: The arrays are those of another format, or contradict each other.
    """
    version = arrays.get("format", np.array("none"))
    if version.shape != () or version != FORMAT:
        raise NconvexError(
            f"{path} is not a string of format {FORMAT}; save it again with this version of nconvex"
        )
    try:
        _check_kinds(arrays)
        values = _values(arrays)
        _check(arrays, values)
    except (KeyError, ValueError, NconvexError) as error:
        raise NconvexError(f"{path} is damaged: {error}") from None
    return values


def _check_kinds(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise KeyError or ValueError unless arrays are of the kinds of `FIELDS` and of one length."""
    for name, kind in FIELDS.items():
        array = arrays[name]
        if f"{array.dtype.kind}{array.ndim}" != kind or (
            array.dtype.kind in "if" and array.itemsize != 8
        ):
            raise ValueError(f"{name} holds {array.dtype} of shape {array.shape}")
    beads = arrays["beads"]
    n = len(beads)
    if n < 2 or not np.isfinite(beads).all():
        raise ValueError(f"beads are not finite, or their number {n} is below 2")
    for name, length in (
        ("losses", n),
        *((f"segment_{part}", n - 1) for part in ("lower", "upper", "t_star", "status")),
    ):
        if len(arrays[name]) != length:
            raise ValueError(f"{name} has {len(arrays[name])} elements, but there are {n} beads")


def _values(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    values: dict[str, Any] = {name: arrays[name] for name in ("beads", "losses")}
    for name in ("L0", "alpha", "depth", "sampler"):
        values[name] = arrays[name].item()
    bounds = (arrays[f"segment_{part}"].tolist() for part in ("t_star", "lower", "upper"))
    values["peaks"] = tuple(Peak(t, low, high, False) for t, low, high in zip(*bounds, strict=True))
    values["segment_status"] = tuple(ConnectionStatus[name] for name in arrays["segment_status"])
    values["seed"] = tuple(arrays["seed"].tolist())
    trace = zip(*(arrays[f"trace_{name}"].tolist() for name in TRACED), strict=True)
    values["trace"] = tuple(_insertion(dict(zip(TRACED, row, strict=True))) for row in trace)
    values["description"] = {name: array for name, array in arrays.items() if name not in FIELDS}
    return values


def _check(arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Raise ValueError or NconvexError where a file contradicts itself."""
    require_positive("L0", values["L0"])
    require_alpha(values["alpha"])
    require_integer("depth", values["depth"], 0)
    child(values["seed"])
    lower, upper, t_star = (arrays[f"segment_{part}"] for part in ("lower", "upper", "t_star"))
    losses, trace = arrays["losses"], values["trace"]
    below = [status is ConnectionStatus.CONNECTED for status in values["segment_status"]]
    for what, right in (
        ("losses that are no numbers", ~np.isnan(losses)),
        ("an upper bound below the lower one", lower <= upper),
        ("a loss above its segment's bound", losses[:-1] <= upper * (1.0 + ROUNDING)),
        ("a loss above its segment's bound", losses[1:] <= upper * (1.0 + ROUNDING)),
        ("t* outside of [0, 1]", (t_star >= 0) & (t_star <= 1)),
        ("a status that contradicts its bound", np.array(below) == (upper <= values["L0"])),
        ("a number of steps below 0", np.array([step.steps for step in trace]) >= 0),
        ("places other than L and R", [set(step.place) <= {"L", "R"} for step in trace]),
    ):
        if not np.all(right):
            raise ValueError(f"it has {what}")


def _insertion(values: dict[str, Any]) -> Insertion:
    """One recursion of a trace, from its numbers and names."""
    status, move = DescentStatus[values.pop("status")], Move[values.pop("move")]
    return Insertion(depth=len(values["place"]), status=status, move=move, **values)


def _text(words: list[str]) -> np.ndarray:
    return np.array(words, dtype=f"U{max([1, *map(len, words)])}")
