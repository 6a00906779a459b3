"""The reviving sampler: it draws redundant units of stuck models anew, and descends again.

Where the draft's algorithm fails on small ReLU networks, there mostly is a path. But a bead or an
end has redundant units, which do nothing (`redundancy`). It is on the plateau of a smaller network,
where no number of steps gets it to α L₀: it is *stuck*. So two things are added:

1. Step 3 once more: a bead that stays above α L₀ is revived where it stopped, if it has redundant
   units, and descends again. Descents are short, since a revival helps more than further steps. A
   bead without redundant units is not stuck, and descends for longer.
2. If the path still is not found, the ends are revived. The copy of an end is joined to it by
   segments of constant loss and descends below L₀/2, so that it is as good an end, with more
   freedom. Ends and copies are the nodes of a graph. The closest two that are not yet known to be
   connected, one of them on an end's side, are tried; when all have been tried, each end is
   revived once more, and descents are gentler and may be twice as long from then on. It is over
   when the ends are joined: the string is then the shortest route.

Every segment of the string is certified like the draft's. Every gradient evaluation counts, those
of failed attempts and of revived ends included.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nconvex.definitions import (
    ConnectionStatus,
    Descent,
    DescentStatus,
    Insertion,
    Interrupted,
    Move,
    Peak,
    RMSProp,
    child,
    generator,
    require_integer,
    require_kind,
)
from nconvex.dss import Plain, Search
from nconvex.landscape import Landscape, Reviving
from nconvex.reductions import norm
from nconvex.string import String, bracketed, joined

#: Descents of beads and copies at first. On 1-4-4-1 ReLU networks 500 to 2,000 steps are about
#: equally good; with 10,000 the search costs five times as much and connects no more.
SHORT = RMSProp(learning_rate=5e-3, final_learning_rate=2e-5, budget=850)

#: How many times longer descents become, by doubling in each round: networks at low L₀ that are not
#: stuck have far to go. Longer descents begin with smaller steps, since large ones have been tried.
LONGEST = 8

#: How many times longer a bead without redundant units may go on.
FURTHER = 6

#: A revived model is the same function as before if its loss differs by less than this part.
SAME = 1e-6

#: A revived end descends to this part of L₀, so that it is surely off its plateau.
REVIVED = 0.5

#: How often both ends are revived before the search gives up.
ROUNDS = 20


def _longer(settings: RMSProp, times: int) -> RMSProp:
    """Descents with `times` the budget, and a first rate that is smaller by 2 `times`."""
    rate = max(settings.learning_rate / (2 * times), settings.final_learning_rate)
    return replace(settings, learning_rate=rate, budget=settings.budget * times)


@dataclass
class _Attempt(Search):
    """The draft's search with revived beads, given up at its first failure."""

    #: The landscape with longer descents, for beads that are not stuck.
    further: Landscape | None = None

    def run(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Search between two models, and between revived copies of them."""
        settings, landscape = self.sampler, self.landscape
        assert isinstance(settings, Revive)
        graph = _Graph(self, theta1, theta2)
        try:
            if isinstance(landscape, Reviving):
                graph.begin_round(landscape, settings.rmsprop)
            graph.try_pairs()
            for round_ in range(1, settings.rounds + 1):
                if graph.connected or not isinstance(landscape, Reviving):
                    break
                graph.begin_round(landscape, _longer(settings.rmsprop, min(2**round_, LONGEST)))
                graph.revive_ends(landscape, round_)
                graph.try_pairs()
            return bracketed(landscape, graph.string())
        except KeyboardInterrupt:
            raise Interrupted(graph.string(interrupted=True)) from None

    def try_again(
        self, descent: Descent, place: str, peak: Peak, rng: np.random.Generator
    ) -> Descent:
        """Step 3 once more from the bead, revived if it has redundant units."""
        if descent.status is DescentStatus.BUDGET_SPENT and isinstance(self.landscape, Reviving):
            _, revived = self.landscape.revive(descent.theta, rng)
            before = descent.loss
            if abs(self.landscape.loss(revived) - before) <= SAME * before:
                descent = self.landscape.descend(revived, self.target, rng)
                self.record(place, peak.t_star, before, descent, Move.REVIVE)
            else:
                descent = (self.further or self.landscape).descend(descent.theta, self.target, rng)
                self.record(place, peak.t_star, before, descent)
        return descent

    def halves(self, left: np.ndarray, bead: np.ndarray, right: np.ndarray, place: str) -> bool:
        """Step 5, but for the second half where the first has failed."""
        return self.explore(left, bead, place + "L") and self.explore(bead, right, place + "R")


class _Graph:
    """Nodes are models below L₀, edges are strings between them; 0 and 1 are the ends."""

    def __init__(self, attempt: _Attempt, theta1: np.ndarray, theta2: np.ndarray):
        self._like = attempt  # what attempts are made like
        self._nodes = [theta1, theta2]
        self._component = [0, 1]
        self._edges: dict[tuple[int, int], String] = {}
        self._tried: set[tuple[int, int]] = set()
        self._attempts = 0
        self._trace: list[Insertion] = []
        self._direct: String | None = None

    @property
    def connected(self) -> bool:
        """Whether the ends are connected."""
        return self._component[0] == self._component[1]

    def begin_round(self, landscape: Reviving, rmsprop: RMSProp) -> None:
        """Go on with other descents; the ends themselves may then be tried again."""
        further = replace(rmsprop, budget=FURTHER * rmsprop.budget)
        self._like = replace(
            self._like,
            landscape=landscape.with_descents(rmsprop),
            further=landscape.with_descents(further),
        )
        self._tried.discard((0, 1))

    def try_pairs(self) -> None:
        """Try pairs, closest first, until the ends are joined or none is left."""
        while not self.connected and (pair := self._closest_untried()) is not None:
            self._tried.add(pair)
            string = self._attempt(*(self._nodes[node] for node in pair))
            if string.connected:
                self._join(pair, string)

    def revive_ends(self, landscape: Reviving, round_: int) -> None:
        """Add a revived copy of each end, joined to it where both segments and the descent are."""
        surface, L0 = self._like.landscape, self._like.L0
        for end in (0, 1):
            rng = generator(child(self._like.seed, 1, round_, end))
            folded, revived = landscape.revive(self._nodes[end], rng)
            before = surface.loss(revived)
            descent = surface.descend(revived, REVIVED * L0, rng)
            self._record(Insertion.of(descent, before, Move.REVIVE, t_star=1.0))
            if not descent.loss <= L0:
                continue
            self._nodes.append(descent.theta)
            copy = len(self._nodes) - 1
            self._component.append(copy)
            if not surface.loss(folded) <= L0:  # a unit was folded that is needed
                continue
            stations = [self._nodes[end], folded, revived, descent.theta]
            legs = []
            for left, right in itertools.pairwise(stations):
                legs.append(self._attempt(left, right))
                if not legs[-1].connected:
                    break
            else:
                self._join((end, copy), joined(legs))

    def string(self, interrupted: bool = False) -> String:
        """Return the shortest route between the ends, or else the direct attempt."""
        string = self._direct
        if self.connected:
            string = joined(self._route())
        if string is None:  # interrupted before the first attempt
            string = self._like.string(*self._nodes[:2])
        statuses = tuple(
            ConnectionStatus.INTERRUPTED
            if interrupted and status is not ConnectionStatus.CONNECTED
            else status
            for status in string.segment_status
        )
        return replace(
            string,
            segment_status=statuses,
            trace=tuple(self._trace),
            seed=self._like.seed,
        )

    def _attempt(self, left: np.ndarray, right: np.ndarray) -> String:
        seed = child(self._like.seed, 0, self._attempts)
        search = replace(self._like, seed=seed, progress=self._record)
        try:
            search.explore(left, right, "")
        finally:
            string = search.string(left, right)
            if self._direct is None:
                self._direct = string
            self._attempts += 1
        return string

    def _record(self, insertion: Insertion) -> None:
        insertion = replace(insertion, attempt=self._attempts)
        self._trace.append(insertion)
        if self._like.progress is not None:
            self._like.progress(insertion)

    def _closest_untried(self) -> tuple[int, int] | None:
        sides = {self._component[0], self._component[1]}
        pairs = [
            (float(norm(self._nodes[i] - self._nodes[j])), i, j)
            for i, j in itertools.combinations(range(len(self._nodes)), 2)
            if self._component[i] != self._component[j]
            and {self._component[i], self._component[j]} & sides
            and (i, j) not in self._tried
        ]
        return min(pairs)[1:] if pairs else None

    def _join(self, pair: tuple[int, int], string: String) -> None:
        self._edges[pair] = string
        kept, merged = sorted(self._component[node] for node in pair)
        self._component = [kept if each == merged else each for each in self._component]

    def _route(self) -> list[String]:
        """Dijkstra's shortest path from node 0 to node 1, by the strings' lengths."""
        lengths = {edge: string.path_length for edge, string in self._edges.items()}
        reached: set[int] = set()
        heap: list[tuple[float, tuple[int, ...]]] = [(0.0, (0,))]
        while True:  # the ends are joined, so node 1 is reached
            length, route = heapq.heappop(heap)
            here = route[-1]
            if here == 1:
                break
            if here in reached:
                continue
            reached.add(here)
            for (i, j), more in lengths.items():
                if here in (i, j):
                    heapq.heappush(heap, (length + more, (*route, i + j - here)))
        return [
            self._edges[i, j] if i < j else self._edges[j, i].reversed()
            for i, j in itertools.pairwise(route)
        ]


@dataclass(frozen=True)
class Revive(Plain):
    """The draft's algorithm, which also draws redundant units of stuck models anew.

    A model is stuck if it has hidden units that its outputs do not need. On a landscape without a
    method `revive` this is the draft's algorithm, stopped at the first failure. If no path is
    found, the string is that of the first attempt, from θ₁ to θ₂. The trace lists every descent of
    every attempt.

    Attributes:
        alpha: As for `Plain`.
        depth: As for `Plain`.
        insert: As for `Plain`.
        rmsprop: Settings of the descents; they replace the landscape's.
        rounds: How often both ends are revived before the search gives up.

    Example:
        >>> Revive(rounds=5).alpha
        0.9
    """

    alpha: float = 0.9
    depth: int = 14
    rmsprop: RMSProp = SHORT
    rounds: int = ROUNDS

    name: ClassVar[str] = "revive"
    search: ClassVar[type[Search]] = _Attempt

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("rounds", self.rounds, 0)
        require_kind("rmsprop", self.rmsprop, RMSProp, "RMSProp(budget=1000)")
