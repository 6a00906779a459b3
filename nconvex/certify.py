"""A proven maximum of γ: what `connect`'s verdict rests on (step 2, made a theorem).

`curve.maximum` looks at points, and between two of them γ may do anything. Here every interval of
t has an upper bound that no point of it exceeds. Intervals with too high a bound are halved, which
makes their bounds tighter, until no bound is left that is higher than the highest value of γ seen
by more than a stated gap. `enclosure` derives the bounds, `rounding` what floating-point arithmetic
can have added to them.

What is proven then, in exact arithmetic on the weights and the test set as they are stored:

    lower ≤ max over t in [0, 1] of γ(t) ≤ upper,   lower ≤ γ(t*).

So a string that is `connected` and `certified` is a path on which no weights have a loss above L₀.
What is not proven: anything about data outside of the test set, which is a finite sample; and
that there is no path where none was found.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from nconvex.definitions import NconvexError, Peak

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
    if not gap > 0.0 or (L0 is None and gap == np.inf):
        raise NconvexError(
            f"gap must be positive, and finite where no L0 is given, not {gap!r}; e.g. gap=1e-3"
        )
    level = np.inf if L0 is None else float(L0)
    for _ in range(0, MOST_SPLITS, SPLITS):
        if search.tighten(level, gap, SPLITS):
            break
    return search.peak
