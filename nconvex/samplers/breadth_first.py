"""The breadth-first sampler: all beads of the string are lowered together, level by level.

It is from the appendix of Freeman & Bruna, ICLR 2017 ("the later paper"). The draft's algorithm
finishes one branch after the other. This one lowers a level from the straight line's maximum to L₀,
and keeps the whole string below it: beads are inserted wherever γ rises above the level. So the
string is a path at every level, and one that fails shows the lowest level it reached. Beads move
little from one level to the next, so the path stays in the valley that it entered first. The price
is that every bead is trained at every level.

One level is: train each bead down to α times the level; then run the draft's search, steps 2 to 5,
on each segment with the level for its L₀.
"""

from __future__ import annotations

import itertools
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from nconvex.curve import peak_between
from nconvex.definitions import (
    ConnectionStatus,
    DescentStatus,
    Insertion,
    Interrupted,
    Move,
    child,
    generator,
)
from nconvex.dss import Plain, Search
from nconvex.string import String, bracketed, joined, string_through

#: Each level is this part of the one above it; with 0.25 or 0.8 about as many pairs connect.
LOWERING = 0.5


@dataclass
class _Levels(Search):
    """The string's models at the current level, and the level's number."""

    models: list[np.ndarray] = field(default_factory=list, init=False)
    number: int = field(default=0, init=False)

    def run(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Lower the string from the straight line's maximum, until it lies below L₀ or fails."""
        self.models = [theta1, theta2]
        try:
            return self.lowered(theta1, theta2)
        except KeyboardInterrupt:
            raise Interrupted(self.unfinished(ConnectionStatus.INTERRUPTED)) from None

    def lowered(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Lower the string level by level."""
        level = max(self.L0, peak_between(self.landscape, theta1, theta2, self.L0).upper)
        while True:
            level = max(self.L0, LOWERING * level) if np.isfinite(level) else self.L0
            stuck = self.lower(self.sampler.alpha * level)
            if stuck is not None:
                return self.unfinished(ConnectionStatus.BEAD_UNTRAINABLE, {stuck - 1, stuck})
            string = self.connect(level)
            self.models = list(string.beads)
            if level == self.L0 or not string.connected:
                return bracketed(self.landscape, self.finished(string))
            self.number += 1

    def lower(self, target: float) -> int | None:
        """Train the inserted beads down to a level's target; return the first that stays above."""
        for number in range(1, len(self.models) - 1):
            before = self.landscape.loss(self.models[number])
            if before <= target:
                continue
            rng = generator(child(self.seed, self.number, 0, number))
            descent = self.landscape.descend(self.models[number], target, rng)
            self.note(Insertion.of(descent, before, Move.LOWER))
            if descent.status is not DescentStatus.REACHED:
                return number
            self.models[number] = descent.theta
        return None

    def connect(self, level: float) -> String:
        """Steps 2 to 5 on each segment, with the level for L₀."""
        strings = []
        for segment, (left, right) in enumerate(itertools.pairwise(self.models)):
            seed = child(self.seed, self.number, 1, segment)
            search = Search(self.landscape, level, self.sampler, seed, self.note)
            search.explore(left, right, "")
            strings.append(search.string(left, right))
        return joined(strings)

    def note(self, insertion: Insertion) -> None:
        """Put one descent on record."""
        self.trace.append(replace(insertion, attempt=self.number))
        if self.progress is not None:
            self.progress(self.trace[-1])

    def finished(self, string: String) -> String:
        """Return a level's string with statuses for L₀, and with the whole trace."""
        statuses = tuple(
            ConnectionStatus.NOT_TRIED
            if status is ConnectionStatus.CONNECTED and upper > self.L0
            else status
            for status, upper in zip(string.segment_status, string.segment_upper, strict=True)
        )
        return replace(
            string,
            L0=self.L0,
            alpha=self.sampler.alpha,
            depth=self.sampler.depth,
            seed=self.seed,
            segment_status=statuses,
            trace=tuple(self.trace),
            sampler=self.sampler.name,
        )

    def unfinished(self, reason: ConnectionStatus, where: Container[int] | None = None) -> String:
        """The string as it is; `where` names the segments that failed."""
        string = string_through(self.landscape, self.models, self.L0)
        above = string.failures
        failed = above if where is None else [segment for segment in above if segment in where]
        statuses = tuple(
            ConnectionStatus.CONNECTED
            if segment not in above
            else reason
            if segment in (failed or above)
            else ConnectionStatus.NOT_TRIED
            for segment in range(len(string.peaks))
        )
        return self.finished(replace(string, segment_status=statuses))


@dataclass(frozen=True)
class BreadthFirst(Plain):
    """The later paper's sampler: all beads of the string are lowered together, level by level.

    A string that is not connected is that of the level at which the search failed. In its trace,
    `attempt` is the level's number.

    Attributes:
        alpha: At each level beads are trained to alpha times the level.
        depth: Recursions allowed on a segment at one level.
        insert: As for `Plain`.

    Example:
        >>> BreadthFirst(depth=8).alpha
        0.8
    """

    name: ClassVar[str] = "breadth-first"
    search: ClassVar[type[Search]] = _Levels
