"""Branch and bound over t for any enclosure of γ: `proof.certify`'s rules, in plain Python."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf, isfinite, sqrt

from nconvex.definitions import Peak
from nconvex.proof.centred import RESOLUTION
from nconvex.proof.certify import MOST_SPLITS, require_gap

#: Maps a centre and a radius to γ(c), an upper bound of γ on [c - r, c + r], and what
#: floating-point arithmetic can have added to either.
Enclose = Callable[[float, float], tuple[float, float, float]]


def maximum(
    enclose: Enclose, L0: float, gap: float | None, resolution: float, shortest: float
) -> Peak:
    """Bracket max γ until it is decided; see `certify.maximum`.

    Bounds close with the square of the interval, so that one whose bound is far too high is cut
    into as many parts at once as it will need.

    Args:
        enclose: The bounds.
        L0: The threshold, or -inf if only a bracket is wanted.
        gap: As for `certify.maximum`.
        resolution: A bracket of this length is closed, too.
        shortest: Intervals of a smaller radius are not cut.

    Raises:
        NconvexError: gap is not a positive number.
    """
    gap = require_gap(L0, gap)
    t_star, lower = 0.0, -inf
    nodes: list[tuple[float, float, float, float, float]] = []  # -upper, c, r, γ(c), σ
    fresh = [(0.25, 0.25), (0.75, 0.25)]
    if -inf == L0:
        fresh = [(0.0, 0.0), (1.0, 0.0), *fresh]
    for split in range(MOST_SPLITS + 1):
        for c, r in fresh:
            value, bound, sigma = enclose(c, r)
            if not (isfinite(value) and isfinite(sigma)):
                return Peak(c, -inf, inf, certified=True)  # nothing can be said
            if value - sigma > lower:
                t_star, lower = c, value - sigma
            if r > 0.0:
                upper = bound + sigma if bound == bound else inf
                heapq.heappush(nodes, (-upper, c, r, value, sigma))
        upper, c, r, value, sigma = nodes[0]
        allowed = max(L0, lower + RESOLUTION * sigma)
        if lower > L0:
            allowed = max(lower + max(gap * abs(lower), resolution), allowed)
        if -upper <= allowed or r < shortest or split == MOST_SPLITS:
            break
        heapq.heappop(nodes)
        parts = _parts(-upper - value, allowed - value)
        fresh = [(c + r * ((2 * k + 1) / parts - 1.0), r / parts) for k in range(parts)]
    return Peak(t_star, lower, max(lower, -nodes[0][0]), certified=True)


def _parts(excess: float, wanted: float) -> int:
    """Into how many parts to cut an interval whose bound exceeds γ(c) by so much."""
    if not wanted > 0.0:
        return 2
    ratio = sqrt(excess / wanted)
    return 2 if ratio < 3.0 else 4 if ratio < 8.0 else 8
