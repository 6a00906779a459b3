"""A proven maximum of γ: what `connect`'s verdict rests on (step 2, made a theorem).

`curve.maximum` looks at points, and between two of them γ may do anything. Here every interval of
t has an upper bound that no point of it exceeds. Intervals with too high a bound are halved, which
makes their bounds tighter, until no bound is left that is higher than the highest value of γ seen
by more than a stated gap. `enclosure` and `cells` derive the bounds, `rounding` what floating-point
arithmetic can have added to them.

What is proven then, in exact arithmetic on the weights and the test set as they are stored:

    lower ≤ max over t in [0, 1] of γ(t) ≤ upper,   lower ≤ γ(t*).

So a string that is `connected` and `certified` is a path on which no weights have a loss above L₀.
What is not proven: anything about data outside of the test set, which is a finite sample; and
that there is no path where none was found.
"""

from __future__ import annotations

import heapq
import math
from itertools import pairwise
from typing import Protocol

import numpy as np

from nconvex.definitions import NconvexError, Peak, is_number, require_number, shown

#: Relative distance of upper and lower bound at which a bracket is closed.
GAP = 1e-3

#: Intervals that are halved before the search gives up with the bracket that it has.
MOST_SPLITS = 5_000

#: Intervals that are halved between two moments at which Ctrl-C is heard.
SPLITS = 20


class Search(Protocol):
    """A bracket of max γ on one segment, which can be tightened."""

    @property
    def peak(self) -> Peak:
        """The bracket as it is."""
        ...

    def tighten(self, L0: float, gap: float, splits: int) -> bool:
        """Halve at most `splits` intervals; tell whether all that was asked for is settled."""
        ...


def maximum(search: Search, L0: float | None = None, gap: float = GAP) -> Peak:
    """Bracket the global maximum of γ.

    *Bracket mode*, without L₀: until upper ≤ lower + gap |lower|. *Threshold mode*, gap = inf:
    until upper ≤ L₀ (nothing on the segment lies above L₀) or lower > L₀ (t* is a witness that
    something does). With both, until both are settled.

    Where that takes more than 5,000 halvings, the bracket found so far is returned; it holds all
    the same.

    Args:
        search: Not yet begun, or to be taken further.
        L0: The threshold.
        gap: Relative.

    Raises:
        NconvexError: Neither a threshold nor a finite gap is given, or gap is not positive.
    """
    if not is_number(gap) or not gap > 0.0 or (L0 is None and gap == np.inf):
        raise NconvexError(
            f"gap must be positive, and finite where no L0 is given, not {shown(gap)}; e.g. 1e-3"
        )
    level = np.inf if L0 is None else L0
    require_number("L0", level)
    for _ in range(0, MOST_SPLITS, SPLITS):
        if search.tighten(float(level), float(gap), SPLITS):
            break
    return search.peak


# -- Branch and bound, best first -----------------------------------------------------------------

#: Equal intervals that the search begins with: bounds over much longer ones say little.
PIECES = 4

#: Pieces that a bounding polynomial is cut into.
CUTS = 8


class Enclosure(Protocol):
    """Values and bounds of γ on one segment, rounding included."""

    #: Differences of γ below this are not worth the search; intervals are not halved below that.
    resolution: float
    shortest: float

    def value(self, t: float) -> float:
        """A lower bound of γ(t), as close as rounding allows."""
        ...

    def bound(self, left: float, right: float) -> tuple[float, float]:
        """An upper bound of γ on [left, right], and a dyadic t where γ may be highest."""
        ...


class BestFirst:
    """A `Search` that halves the interval with the highest bound first.

    `enclosure.bracket` is the same for small networks, compiled, and leaves settled samples out;
    here each bound costs much more than Python does.
    """

    def __init__(self, enclosure: Enclosure):
        self._enclosure = enclosure
        self._t_star, self._height = 0.0, -math.inf
        self._open: list[tuple[float, float, float, float]] = []  # -bound, ends, place to look

    @property
    def peak(self) -> Peak:
        """The bracket as it is."""
        upper = max(self._height, -self._open[0][0]) if self._open else math.inf
        return Peak(self._t_star, self._height, upper, certified=True)

    def tighten(self, L0: float, gap: float, splits: int) -> bool:
        """Halve at most `splits` intervals; tell whether all that was asked for is settled."""
        if not self._open:
            for t in (0.0, 1.0):
                self._look(t)
            for piece in range(PIECES):
                self._push(piece / PIECES, (piece + 1) / PIECES)
        for _ in range(splits):
            while True:
                bound, left, right, place = self._open[0]
                lower = self._height
                allowed = math.inf
                if gap < math.inf:
                    allowed = lower + max(gap * abs(lower), self._enclosure.resolution)
                if lower <= L0 < allowed:
                    allowed = L0
                short = right - left < self._enclosure.shortest
                if -bound <= allowed or short or not math.isfinite(lower):
                    return True
                if math.isnan(place):
                    break
                heapq.heapreplace(self._open, (bound, left, right, math.nan))
                self._look(place)
            heapq.heappop(self._open)
            middle = 0.5 * (left + right)
            self._push(left, middle)
            self._push(middle, right)
        return False

    def _look(self, t: float) -> None:
        height = self._enclosure.value(t)
        if not height <= self._height:  # what is not a number is above every L₀
            self._t_star, self._height = t, height if height == height else math.inf

    def _push(self, left: float, right: float) -> None:
        bound, place = self._enclosure.bound(left, right)
        heapq.heappush(
            self._open, (-bound if bound == bound else -math.inf, left, right, float(place))
        )


def bound_polynomial(coefficients: list[float]) -> tuple[float, float]:
    """Bound Σ c_k B_k(s) on [0, 1] by its coefficients on eight pieces.

    Returns the bound, and the end or the middle of the piece that it comes from.
    """
    pieces = [coefficients]
    while len(pieces) < CUTS:
        pieces = [half for piece in pieces for half in _halve(piece)]
    highest, place = -math.inf, 0.0
    for piece, c in enumerate(pieces):
        for k, height in enumerate(c):
            if not height <= highest:
                highest = height
                place = piece + (0.0 if k == 0 else (1.0 if k == len(c) - 1 else 0.5))
    return highest, place / CUTS


def _halve(c: list[float]) -> tuple[list[float], list[float]]:
    left, right, row = [c[0]], [c[-1]], c
    while len(row) > 1:
        row = [0.5 * (a + b) for a, b in pairwise(row)]
        left.append(row[0])
        right.append(row[-1])
    return left, right[::-1]
