"""Dynamic String Sampling: the recursive search for a path below L₀.

The draft's section II.B, with its steps where they happen:

1. Train two models to L₀ (`train`).
2. Find the global maximum t* of γ between them.
3. Descend from Θ(t*) until the loss is at most α L₀: the new bead.
4. Where the maximum of γ is at most L₀, this branch is done.
5. Start again, from step 2, on each half whose maximum exceeds L₀; stop at depth d.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nconvex.curve import interpolate
from nconvex.definitions import (
    ConnectionStatus,
    Descent,
    DescentStatus,
    EndpointAboveL0,
    Insertion,
    Interrupted,
    Move,
    Peak,
    Seed,
    child,
    generator,
    require_alpha,
    require_choice,
    require_ends,
    require_integer,
    told_apart,
)
from nconvex.landscape import Landscape, quantity, require_landscape, require_threshold
from nconvex.string import String, bracketed, judgements, peak_between

#: Where step 3 may start from on a segment.
INSERTIONS = ("peak", "midpoint")

#: Deepest recursion accepted: a segment is then 2⁻⁶⁴ of the whole, at the resolution of float64.
MAX_DEPTH = 64


def connect(
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
    """Search for a path from θ₁ to θ₂ on which the loss never exceeds L₀ (steps 2 to 5).

    Every branch is searched to its end, also when another has already failed, so that Γ̃ is
    equation (4)'s. A bead that stays above α L₀ is not inserted: its segment remains, above L₀,
    and is listed in `failures`.

    Args:
        landscape: The loss surface.
        theta1: (P,) one end, with loss ≤ L₀.
        theta2: (P,) the other.
        L0: The threshold, in the loss's units.
        alpha: Beads are trained to alpha L0. At 1 they just pass and the recursion may crawl; far
            below 1 descents are longer, more beads prove untrainable, and a bead may slide off a
            narrow pass into a valley, so that the path over the pass is never found.
        depth: Recursions allowed: up to 2^depth segments.
        seed: Names the random streams; a bead's derives from its place in the recursion, not
            from the order of work.
        progress: Called after each recursion with its trace.
        insert: Where step 3 starts from: "peak", at t*, or "midpoint", at t = 1/2. The latter
            departs from step 2, as the authors' published code does; what is reported is the
            peak's either way.

    Returns:
        The string; `status` tells whether it is connected.

    Raises:
        NconvexError: An argument is out of its range or an end has the wrong shape.
        EndpointAboveL0: An end's loss exceeds L₀; nothing was computed.
        Interrupted: Ctrl-C; the exception's `string` holds what was found.
    """
    theta1, theta2, seed = accepted(landscape, theta1, theta2, L0, alpha, depth, insert, seed)
    search = Search(landscape, float(L0), float(alpha), int(depth), seed, progress, insert)
    return search.run(theta1, theta2)


def accepted(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    alpha: float,
    depth: int,
    insert: str,
    seed: Seed,
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Check what every sampler is given; return both ends as vectors, and the seed as a tuple.

    Raises:
        NconvexError: An argument is out of its range or an end has the wrong shape.
        EndpointAboveL0: An end's loss exceeds L₀.
    """
    require_landscape(landscape)
    require_threshold(landscape, L0)
    require_alpha(alpha)
    require_integer("depth", depth, 0, MAX_DEPTH)
    require_choice("insert", insert, INSERTIONS)
    theta1, theta2 = (theta.copy() for theta in require_ends(theta1, theta2))
    seed = child(seed)
    for name, theta in (("theta1", theta1), ("theta2", theta2)):
        if not (loss := landscape.loss(theta)) <= L0:
            height, level = told_apart(loss, L0)
            raise EndpointAboveL0(
                f"{name} has {quantity(landscape)} {height}, above L0 = {level}; train it further "
                "or raise L0"
            )
    return theta1, theta2, seed


@dataclass
class Search:
    """One search: its settings, and what it has found, filed by place in the recursion tree.

    Since everything is filed by place, the string can be read off at any moment, and does not
    depend on the order in which places were visited. Other samplers change `descend`, `try_again`
    and `halves`. Arguments are those of `connect`, checked.
    """

    landscape: Landscape
    L0: float
    alpha: float
    depth: int
    seed: tuple[int, ...]
    progress: Callable[[Insertion], None] | None
    insert: str
    peaks: dict[str, Peak] = field(default_factory=dict, init=False)
    given_up: dict[str, ConnectionStatus] = field(default_factory=dict, init=False)
    trace: list[Insertion] = field(default_factory=list, init=False)
    beads: dict[str, np.ndarray] = field(default_factory=dict, init=False)

    #: Of segments above L₀ that were not reached, which happens to the draft's only by Ctrl-C.
    untried: ClassVar = ConnectionStatus.INTERRUPTED

    #: Its name in `SAMPLERS`.
    sampler: ClassVar = "plain"

    def run(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Search between two models; Ctrl-C raises `Interrupted` with what was found."""
        try:
            self.explore(theta1, theta2, "")
            return bracketed(self.landscape, self.string(theta1, theta2))
        except KeyboardInterrupt:
            raise Interrupted(self.string(theta1, theta2)) from None

    def explore(self, left: np.ndarray, right: np.ndarray, place: str) -> bool:
        """Steps 2 to 5 on one segment; tells whether it is connected."""
        peak = peak_between(self.landscape, left, right, self.L0)  # step 2
        self.peaks[place] = peak
        if peak.upper <= self.L0:  # step 4: this branch is done
            return True
        if peak.lower <= self.L0 and not self.provable(left, right):
            self.given_up[place] = ConnectionStatus.WITHIN_ROUNDING
            return False
        if (
            not place and peak.certified and peak.lower > self.L0
        ):  # how high the straight line rises is reported
            peak = self.peaks[place] = peak_between(self.landscape, left, right, -np.inf)
        if len(place) == self.depth:
            return False
        bead = self.train_bead(left, right, place, peak)  # step 3
        if bead is None:
            return False
        self.beads[place] = bead
        return self.halves(left, bead, right, place)  # step 5

    def provable(self, *ends: np.ndarray) -> bool:
        """Whether each end by itself is proven to be at most L₀, as all its segments have to be."""
        return all(peak_between(self.landscape, end, end, self.L0).upper <= self.L0 for end in ends)

    def train_bead(
        self, left: np.ndarray, right: np.ndarray, place: str, peak: Peak
    ) -> np.ndarray | None:
        """Step 3: descend from Θ(t*) to α L₀; None if the bead stays above."""
        rng = generator(child(self.seed, *("LR".index(half) for half in place)))
        # Departs from step 2 where a midpoint is asked for.
        start = interpolate(left, right, peak.t_star if self.insert == "peak" else 0.5)
        descent = self.descend(start, left, right, rng)
        self.record(place, peak.t_star, peak.lower, descent)
        descent = self.try_again(descent, place, peak, rng)
        return descent.theta if descent.status is DescentStatus.REACHED else None

    def descend(
        self, start: np.ndarray, left: np.ndarray, right: np.ndarray, rng: np.random.Generator
    ) -> Descent:
        """Descend from a bead's start between two models."""
        return self.landscape.descend(start, self.alpha * self.L0, rng)

    def try_again(
        self, descent: Descent, place: str, peak: Peak, rng: np.random.Generator
    ) -> Descent:
        """Do more for a bead; the draft does not."""
        return descent

    def halves(self, left: np.ndarray, bead: np.ndarray, right: np.ndarray, place: str) -> bool:
        """Step 5: both halves, also when the first has failed, so that Γ̃ is equation (4)'s."""
        connected = self.explore(left, bead, place + "L")
        return self.explore(bead, right, place + "R") and connected

    def record(
        self,
        place: str,
        t_star: float,
        gamma_before: float,
        descent: Descent,
        move: Move = Move.INSERT,
    ) -> None:
        """Put one descent on record."""
        diverged = descent.status is DescentStatus.DIVERGED
        self.given_up[place] = (
            ConnectionStatus.BEAD_DIVERGED if diverged else ConnectionStatus.BEAD_UNTRAINABLE
        )
        self.trace.append(Insertion.of(descent, gamma_before, move, place, t_star))
        if self.progress is not None:
            self.progress(self.trace[-1])

    def string(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Read the string off what was found so far."""
        segments = list(self._segments(theta1, theta2, ""))
        peaks = [
            self.peaks.get(place) or peak_between(self.landscape, left, right, self.L0)
            for left, right, place in segments
        ]
        beads = np.array([theta1] + [right for _, right, _ in segments])
        return String(
            **judgements(self.landscape, beads, peaks),
            segment_status=tuple(
                self._status(place, peak)
                for (_, _, place), peak in zip(segments, peaks, strict=True)
            ),
            trace=tuple(self.trace),
            L0=self.L0,
            alpha=self.alpha,
            depth=self.depth,
            seed=self.seed,
            sampler=self.sampler,
        )

    def _segments(
        self, left: np.ndarray, right: np.ndarray, place: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        """The leaves of the recursion tree, in the order of the path."""
        if place in self.beads:
            yield from self._segments(left, self.beads[place], place + "L")
            yield from self._segments(self.beads[place], right, place + "R")
        else:
            yield left, right, place

    def _status(self, place: str, peak: Peak) -> ConnectionStatus:
        if peak.upper <= self.L0:
            return ConnectionStatus.CONNECTED
        if place in self.given_up:
            return self.given_up[place]
        if len(place) == self.depth:
            return ConnectionStatus.DEPTH_EXHAUSTED
        return self.untried
