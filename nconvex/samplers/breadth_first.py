"""The later paper's breadth-first sampler: the whole string is lowered together, level by level.

In the appendix of Freeman & Bruna, ICLR 2017, the string is not finished branch by branch. All its
beads are kept at the current loss, which falls from the straight line's maximum to L₀; beads are
inserted wherever γ rises above it. So the string always is a path at its level, and where it fails
it says how low it got. Beads move little from one level to the next, and the path stays with the
valley that it has once entered; but every bead pays for every level.

One level is: train each bead down to α times the level; then run the draft's search, steps 2 to 5,
on each segment with the level for its L₀.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nconvex.definitions import (
    ConnectionStatus,
    DescentStatus,
    Insertion,
    Interrupted,
    Move,
    Seed,
    child,
    generator,
)
from nconvex.dss import Search, accepted
from nconvex.landscape import Landscape
from nconvex.string import String, bracketed, joined, peak_between, string_through

#: Each level is this part of the one above it; with 0.25 or 0.8 about as many pairs connect.
LOWERING = 0.5


def connect_breadth_first(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    alpha: float = 0.8,
    depth: int = 10,
    seed: Seed = 0,
    progress: Callable[[Insertion], None] | None = None,
    insert: str = "peak",
) -> String:
    """Search for a path below L₀ by lowering a whole string, level by level.

    Arguments and errors are those of `connect`, but for these:

    Args:
        alpha: At each level beads are trained to alpha times the level.
        depth: Recursions allowed on a segment at one level.

    Returns:
        The string; if it is not connected, that of the level at which it failed. In its trace,
        `attempt` is the level's number.
    """
    theta1, theta2, seed = accepted(landscape, theta1, theta2, L0, alpha, depth, insert, seed)
    L0 = float(L0)  # an integer may differ from the float that levels end at
    beads = [theta1, theta2]
    trace: list[Insertion] = []
    level_number = 0

    def record(insertion: Insertion) -> None:
        trace.append(replace(insertion, attempt=level_number))
        if progress is not None:
            progress(trace[-1])

    def finished(string: String) -> String:
        """What a level left, judged by L₀ and with everything on record."""
        statuses = tuple(
            ConnectionStatus.NOT_TRIED
            if status is ConnectionStatus.CONNECTED and upper > L0
            else status
            for status, upper in zip(string.segment_status, string.segment_upper, strict=True)
        )
        return replace(
            string,
            L0=float(L0),
            depth=int(depth),
            seed=seed,
            segment_status=statuses,
            trace=tuple(trace),
            sampler="breadth-first",
        )

    level = max(float(L0), peak_between(landscape, theta1, theta2, L0).upper)
    try:
        while True:
            level = max(float(L0), LOWERING * level) if np.isfinite(level) else float(L0)
            place = child(seed, level_number)
            stuck = _lower(landscape, beads, alpha * level, place, record)
            if stuck is not None:
                string = string_through(landscape, beads, L0)
                above = set(string.failures)
                stopped = {stuck - 1, stuck} & above or above
                judged = tuple(
                    ConnectionStatus.BEAD_UNTRAINABLE
                    if segment in stopped
                    else ConnectionStatus.NOT_TRIED
                    if segment in above
                    else ConnectionStatus.CONNECTED
                    for segment in range(len(string.segment_status))
                )
                return finished(replace(string, alpha=alpha, segment_status=judged))
            strings = []
            for segment, (left, right) in enumerate(itertools.pairwise(beads)):
                search = Search(
                    landscape, level, alpha, depth, child(place, 1, segment), record, insert
                )
                search.explore(left, right, "")
                strings.append(search.string(left, right))
            string = joined(strings)
            beads = list(string.beads)
            if level == L0 or not string.connected:
                return bracketed(landscape, finished(replace(string, L0=level)))
            level_number += 1
    except KeyboardInterrupt:
        string = string_through(landscape, beads, L0)
        statuses = [
            status if status is ConnectionStatus.CONNECTED else ConnectionStatus.INTERRUPTED
            for status in string.segment_status
        ]
        raise Interrupted(
            finished(replace(string, alpha=alpha, segment_status=tuple(statuses)))
        ) from None


def _lower(
    landscape: Landscape,
    beads: list[np.ndarray],
    target: float,
    seed: tuple[int, ...],
    record: Callable[[Insertion], None],
) -> int | None:
    """Train the inserted beads down to a level's target; return the first that stays above."""
    for number in range(1, len(beads) - 1):
        before = landscape.loss(beads[number])
        if before <= target:
            continue
        descent = landscape.descend(beads[number], target, generator(child(seed, 0, number)))
        record(Insertion.of(descent, before, Move.LOWER))
        if descent.status is not DescentStatus.REACHED:
            return number
        beads[number] = descent.theta
    return None
