"""Fig. 1 of the draft: how the string grew, recursion by recursion.

A string's trace and its beads tell everything but the iterates of the descents. These are computed
again when they are asked for, since a descent depends on its start, its target and its seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nconvex.definitions import (
    Descent,
    DescentStatus,
    Insertion,
    Move,
    NconvexError,
    Result,
    child,
    generator,
    require_integer,
)

#: Where a bead may start from: t*, or as the trace does not say, a midpoint.
MIDPOINT = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Stage(Result):
    """One recursion and the string that it leaves: panels b to d of Fig. 1.

    Attributes:
        insertion: The recursion: its place, t*, γ(t*), the loss reached.
        left: (P,) the model where t = 0.
        right: (P,) the model where t = 1.
        bead: (P,) the new model; None if it stayed above L₀ and was not inserted.
        beads: (n, P) the string after it.
        places: n - 2 places of the beads in the tree of halvings, in the order of the path.
        target: What the descent was to reach: α L₀, or L₀ where it was repeated.
        seed: The descent's.

    Example: see `String.stages`.
    """

    insertion: Insertion
    left: np.ndarray
    right: np.ndarray
    bead: np.ndarray | None
    beads: np.ndarray
    places: tuple[str, ...]
    target: float
    seed: tuple[int, ...]

    @property
    def start(self) -> np.ndarray:
        """Θ(t*), (P,), from which step 3 descends."""
        return self._at(self.insertion.t_star)

    def descent(self, landscape: Any, iterates: int = 12) -> np.ndarray:
        """Descend again; return the start, a few iterates and the end, (m, P) with m ≤ `iterates`.

        Iterates are where the loss first falls below levels between γ(t*) and the target, which
        are equally far apart on a logarithmic scale.

        Raises:
            NconvexError: The descent ends elsewhere than the search's did.
        """
        require_integer("iterates", iterates, 2)
        for start in (self.start, self._at(MIDPOINT)):
            found = self._descend(landscape, start, iterates)
            if found is not None:
                return found
        raise NconvexError(
            "the descent ends elsewhere than the search's; give the landscape of the search, and "
            "a string of the sampler plain"
        )

    def _at(self, t: float) -> np.ndarray:
        """Equation (1) on the segment, as `curve.interpolate` computes it."""
        return np.asarray(self.left * (1.0 - t) + self.right * t)

    def _descend(self, landscape: Any, start: np.ndarray, iterates: int) -> np.ndarray | None:
        """The iterates from a start; None if the end is not the one that was recorded."""
        found, end = iterates_of(
            lambda level: landscape.descend(start, level, generator(self.seed)),
            start, self.insertion.gamma_before, self.target, iterates,
        )  # fmt: skip
        ended = np.array([end.loss, end.steps])
        known = np.array([self.insertion.loss_after, self.insertion.steps])
        return found if np.array_equal(ended, known, equal_nan=True) else None


def iterates_of(
    descend: Callable[[float], Descent], start: np.ndarray, before: float, target: float, most: int
) -> tuple[np.ndarray, Descent]:
    """Repeat a descent to falling targets: at most `most` models (m, P), and how the last ended.

    The targets lie between the loss `before` it and its own target, equally far apart on a
    logarithmic scale. A descent that is repeated to a higher target is the beginning of the same.
    """
    highest = min(max(before, target), np.finfo(float).max)
    levels = np.geomspace(highest, target, most)[1:]
    levels[-1] = target
    found = [start]
    for level in levels.tolist():
        end = descend(level)
        if not np.array_equal(end.theta, found[-1]):
            found.append(end.theta)
        if end.status is not DescentStatus.REACHED:
            break
    return np.array(found), end


def stages_of(
    beads: np.ndarray, losses: np.ndarray, trace: tuple[Insertion, ...], L0: float, alpha: float,
    seed: tuple[int, ...],
) -> Iterator[Stage]:  # fmt: skip
    """Yield a string's stages from its models and its trace; see `String.stages`.

    That the losses agree shows that the beads are those of the trace, in its order.
    """
    inserted = {step.place: step.loss_after for step in trace if step.loss_after <= L0}
    # In the order of the path, the bead of a place stands between those of its halves, L and R.
    order = sorted(inserted, key=lambda place: place + "M")
    moves = [(step.place, step.move) for step in trace]
    if (
        len(order) != len(beads) - 2
        or not np.allclose([inserted[place] for place in order], losses[1:-1], 1e-6, 0.0)
        or any(place[:k] not in inserted for place, _ in moves for k in range(len(place)))
        or len(set(moves)) < len(moves)
        or any(move not in (Move.INSERT, Move.REPEAT) for _, move in moves)
        or any(step.attempt for step in trace)
    ):
        raise NconvexError(
            "the string does not come from one recursion of the draft's kind, so that it has no "
            'stages; connect its ends with sampler="plain"'
        )
    models = dict(zip(order, beads[1:-1], strict=True))
    known: set[str] = set()
    for step in trace:
        left, right = beads[0], beads[-1]
        for depth, half in enumerate(step.place):
            above = models[step.place[:depth]]
            left, right = (left, above) if half == "L" else (above, right)
        bead = models[step.place] if step.loss_after <= L0 else None
        if bead is not None:
            known.add(step.place)
        places = tuple(place for place in order if place in known)
        yield Stage(
            step,
            left,
            right,
            bead,
            np.array([beads[0], *(models[place] for place in places), beads[-1]]),
            places,
            L0 if step.move is Move.REPEAT else alpha * L0,
            child(seed, *("LR".index(half) for half in step.place)),
        )
