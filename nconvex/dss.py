"""Dynamic String Sampling: the recursive search for a path below L₀.

This is section II.B of the draft (Freeman & Bruna 2016; see `definitions.terms`):

1. Train two models to L₀ (`training`).
2. Find the global maximum t* of γ between them (`curve`).
3. Descend from Θ(t*) until the loss is at most α L₀: the new bead. Departs from the draft: where
   α L₀ is out of reach, a bead below L₀ will do.
4. Where the maximum of γ is at most L₀, this branch is done.
5. Start again, from step 2, on each half whose maximum exceeds L₀; stop at depth d.

Comments in the code mark the steps. `nconvex.connect` runs this sampler, or one that inherits it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from nconvex.curve import interpolate, peak_between, why_sampled
from nconvex.definitions import (
    ConnectionStatus,
    Descent,
    DescentStatus,
    Insertion,
    Interrupted,
    Move,
    Peak,
    child,
    generator,
    require_alpha,
    require_choice,
    require_integer,
)
from nconvex.landscape import Landscape
from nconvex.string import String, bracketed, losses_of

#: Where step 3 may start from on a segment.
INSERTIONS = ("peak", "midpoint")

#: Deepest recursion accepted: a segment is then 2⁻⁶⁴ of the whole, at the resolution of float64.
MAX_DEPTH = 64

#: What is told of each recursion.
Progress = Callable[[Insertion], None]


@dataclass
class Search:
    """One search: its settings, and what it has found, filed by place in the recursion tree.

    Since everything is filed by place, the string can be read off at any moment, and does not
    depend on the order in which places were visited. Other samplers override `descend`,
    `try_again`, `halves` or all of `run`. Arguments are those of `connect`, which has checked them.
    """

    landscape: Landscape
    L0: float
    sampler: Plain
    seed: tuple[int, ...]
    progress: Progress | None
    peaks: dict[str, Peak] = field(default_factory=dict, init=False)
    given_up: dict[str, ConnectionStatus] = field(default_factory=dict, init=False)
    trace: list[Insertion] = field(default_factory=list, init=False)
    beads: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    #: Where α L₀ was out of reach, of the bead there and of all before it on the way down.
    out_of_reach: set[str] = field(default_factory=set, init=False)
    #: The status of segments above L₀ that were not reached.
    untried: ConnectionStatus = field(default=ConnectionStatus.NOT_TRIED, init=False)

    @property
    def target(self) -> float:
        """α L₀, to which beads are trained."""
        return self.sampler.alpha * self.L0

    def run(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Search between two models; Ctrl-C raises `Interrupted` with what was found."""
        try:
            self.explore(theta1, theta2, "")
            return bracketed(self.landscape, self.string(theta1, theta2))
        except KeyboardInterrupt:
            self.untried = ConnectionStatus.INTERRUPTED
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
        if not place and peak.certified and peak.lower > self.L0:  # the straight line is reported
            peak = peak_between(self.landscape, left, right, -np.inf, peak)
            self.peaks[place] = peak
        if len(place) == self.sampler.depth:  # step 5: stop at depth d
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
        """Step 3: descend from Θ(t*) to α L₀, or else below L₀; None if the bead stays above."""
        seed = child(self.seed, *("LR".index(half) for half in place))
        rng = generator(seed)
        # Departs from step 2 where a midpoint is asked for.
        start = interpolate(left, right, peak.t_star if self.sampler.insert == "peak" else 0.5)
        descent = self.descend(start, left, right, self.target, rng)
        self.record(place, peak.t_star, peak.lower, descent)
        again = self.try_again(descent, place, peak, rng)
        if again.loss <= self.L0 or not descent.loss <= self.L0:
            descent = again
        if descent.status is DescentStatus.BUDGET_SPENT and (
            not place or place[:-1] in self.out_of_reach
        ):
            self.out_of_reach.add(place)
            # A test loss rises again where a network overfits: the way down may have passed L₀.
            if self.target < self.L0 < descent.loss:
                descent = self.descend(start, left, right, self.L0, generator(seed))
                self.record(place, peak.t_star, peak.lower, descent, Move.REPEAT)
        return descent.theta if descent.loss <= self.L0 else None

    def descend(
        self,
        start: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        target: float,
        rng: np.random.Generator,
    ) -> Descent:
        """Descend from a bead's start between two models to a target."""
        return self.landscape.descend(start, target, rng)

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
            beads,
            losses_of(self.landscape, beads),
            tuple(peaks),
            tuple(
                self._status(place, peak)
                for (_, _, place), peak in zip(segments, peaks, strict=True)
            ),
            tuple(self.trace),
            L0=self.L0,
            alpha=self.sampler.alpha,
            depth=self.sampler.depth,
            seed=self.seed,
            sampler=self.sampler.name,
            reason=why_sampled(self.landscape),
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
        if len(place) == self.sampler.depth:
            return ConnectionStatus.DEPTH_EXHAUSTED
        return self.untried


@dataclass(frozen=True)
class Plain:
    """The draft's algorithm, with its settings.

    Every branch is searched to its end, also when another has already failed, so that Γ̃ is
    equation (4)'s. A bead is a model that step 3 trains. One that stays above L₀ is not inserted:
    its segment remains above L₀, and is listed in the string's `failures`. One that ends between
    α L₀ and L₀ is inserted, for it is a model below L₀; `String.beads_above_target` counts them. As
    long as no descent reaches α L₀, each that ends above L₀ is repeated, only down to L₀.

    Attributes:
        alpha: Beads are trained to alpha L0. At 1 they just pass, and the recursion may need many.
            Far below 1 descents are longer and fewer beads can be trained. A bead may also leave a
            narrow pass for a valley; then the path over the pass is never found.
        depth: Recursions allowed: up to 2^depth segments.
        insert: Where step 3 starts from: "peak", at t*, or "midpoint", at t = 1/2. The latter
            departs from step 2, as the authors' published code does. Either way the maximum at t*
            is what is reported.

    Example:
        >>> Plain(alpha=0.95)
        Plain(alpha=0.95, depth=10, insert='peak')
    """

    alpha: float = 0.8
    depth: int = 10
    insert: Literal["peak", "midpoint"] = "peak"

    #: How commands and results call it.
    name: ClassVar[str] = "plain"

    #: What `connect` runs with these settings.
    search: ClassVar[type[Search]] = Search

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_integer("depth", self.depth, 0, MAX_DEPTH)
        require_choice("insert", self.insert, INSERTIONS)
        object.__setattr__(self, "alpha", float(self.alpha))
        object.__setattr__(self, "depth", int(self.depth))
