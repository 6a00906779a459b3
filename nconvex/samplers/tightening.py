"""Shorten a string below L₀: a better upper bound of the shortest path's length.

The sampler puts a bead wherever γ is too high at that time; later, many are not needed. A descent
also moves each bead aside, wherever the gradient points. Both are undone, as long as the path stays
below L₀, with proof where the landscape has one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nconvex.curve import interpolate, peak_between
from nconvex.definitions import NconvexError, Result, require_integer, require_kind
from nconvex.landscape import Landscape, require_landscape
from nconvex.reductions import dot, norm
from nconvex.string import String, string_through

#: Parts of the way to the chord that a bead is tried at, the farthest first.
PULLS = (1.0, 0.5, 0.25, 0.125)

#: Sweeps end when one shortens the path by less than this part.
WORTHWHILE = 1e-3


@dataclass(frozen=True, repr=False)
class Tightening(Result):
    """A string before and after.

    Attributes:
        before: The given string.
        after: Between the same ends, below the same L₀, with no more beads and no greater length.

    Example: see `tighten`.
    """

    before: String
    after: String

    @property
    def beads(self) -> tuple[int, int]:
        """Beads before and after."""
        return self.before.n_beads, self.after.n_beads

    @property
    def normalized_lengths(self) -> tuple[float, float]:
        """Normalized length before and after."""
        return self.before.normalized_length, self.after.normalized_length


def tighten(landscape: Landscape, string: String, sweeps: int = 20) -> Tightening:
    """Drop beads that are not needed and pull the others towards their neighbours' chord.

    A bead is dropped if the straight line between its neighbours stays at most L₀. One that is
    needed is moved to Θ(bead, foot, s), with its foot on the chord and the largest s of `PULLS` at
    which both of its segments stay at most L₀. By the triangle inequality either makes the path
    shorter. No gradient is evaluated.

    Args:
        landscape: The loss surface on which the string was found.
        string: A connected string.
        sweeps: Most passes over all beads.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> loose = nc.string_through(bowl, [[1.0, 0.0], [0.0, 0.5], [0.0, 1.0]], L0=2.5)
        >>> nc.tighten(bowl, loose).beads
        (1, 0)
    """
    require_landscape(landscape)
    require_kind("string", string, String, "what connect returns")
    require_integer("sweeps", sweeps, 1)
    if not string.connected:
        raise NconvexError(
            f"only a connected string can be tightened, this one is not: {string.status.value}"
        )
    beads = list(string.beads)

    def low(left: np.ndarray, right: np.ndarray) -> bool:
        return peak_between(landscape, left, right, string.L0).upper <= string.L0

    def visit() -> None:
        position = 1
        while position < len(beads) - 1:
            left, bead, right = beads[position - 1 : position + 2]
            if low(left, right):
                del beads[position]
                position = max(1, position - 1)  # the one before may not be needed either now
                continue
            foot = _foot(left, bead, right)
            for pull in PULLS:
                nearer = interpolate(bead, foot, pull)
                if low(left, nearer) and low(nearer, right):
                    beads[position] = nearer
                    break
            position += 1

    length = string.path_length
    for _ in range(sweeps):
        visit()
        before, length = length, float(np.sum(norm(np.diff(beads, axis=0))))
        if length > (1.0 - WORTHWHILE) * before:
            break
    tight = string_through(landscape, beads, string.L0, string.trace, string.sampler, string.seed)
    return Tightening(string, replace(tight, alpha=string.alpha, depth=string.depth))


def _foot(left: np.ndarray, bead: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The point of the segment from left to right that is closest to the bead."""
    chord = right - left
    s = dot(bead - left, chord) / max(dot(chord, chord), 1e-300)
    return interpolate(left, right, min(max(s, 0.0), 1.0))
