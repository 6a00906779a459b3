"""The string S(θ₁, θ₂, α, d): the models on a path, what is known of it, and its file."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from nconvex import saved
from nconvex.curve import certifies, interpolate, peak_between, why_sampled
from nconvex.definitions import (
    ConnectionStatus,
    Insertion,
    Move,
    NconvexError,
    Peak,
    Result,
    Seed,
    beside,
    child,
    html_table,
    is_number,
    require_integer,
    require_models,
    require_positive,
    shown,
)
from nconvex.files import read_arrays, write_arrays
from nconvex.landscape import Landscape, require_landscape
from nconvex.reductions import norm, product
from nconvex.stages import Stage, stages_of

#: Models whose distance is less than this part of their own size are one: 32 units of rounding.
COINCIDE = 2.0**-48

#: What a verdict rests on, in words.
EVIDENCE = {
    "proven": "all along the path",
    "sampled": "at every point of the path that was sampled",
    "claimed": "all along the path, a file claims",
}

#: Descents whose target is α L₀ or above.
DOWN = (Move.INSERT, Move.REPEAT)

#: How far above the lowest bead another may end: `String.advice` leaves this room.
NOISE = 1.03


class Described(Protocol):
    """What can be saved beside a string: a network with its test set, a lower bound."""

    def describe(self) -> dict[str, np.ndarray]:
        """Everything that is needed to check it without this package, as arrays."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class String(Result):
    """The string S(θ₁, θ₂, α, d): the models on the path, and what is known of it.

    Segment k runs from beads[k] to beads[k+1].

    Attributes:
        beads: (n, P) float64, the path's models in order, θ₁ first and θ₂ last.
        losses: (n,) their losses.
        peaks: n-1 brackets of the maximum of γ, one for each segment.
        segment_status: n-1 statuses: connected, or why the search stopped there.
        trace: Every recursion in the order of work, successful or not.
        L0: The threshold.
        alpha: Beads were trained to alpha L0.
        depth: Recursions that were allowed.
        seed: The search's seed, as a tuple; see `child`.
        sampler: What made it: a name in `SAMPLERS`, or "given".
        claimed: Whether all of this is only what a file says; see `load_string`.
        description: What was saved beside the string, e.g. `problem.describe()`.
        reason: Why its landscape proves nothing, if that is known.

    Example: see `connect`.
    """

    beads: np.ndarray
    losses: np.ndarray
    peaks: tuple[Peak, ...]
    segment_status: tuple[ConnectionStatus, ...]
    trace: tuple[Insertion, ...]
    L0: float
    alpha: float
    depth: int
    seed: tuple[int, ...]
    sampler: str
    claimed: bool = False
    description: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    reason: str = field(default="", repr=False, compare=False)

    def __repr__(self) -> str:
        sign = "<=" if self.connected else ">"
        return (
            f"String({self.status.name}: {self.n_beads} beads, max error "
            f"{beside(self.max_error, self.L0)} {sign} L0 = {self.L0:g} ({self.evidence}), "
            f"normalized length {self.normalized_length:.4g}, {self.sampler})"
        )

    def summary(self) -> dict[str, str]:
        """Return what is known of the path in words, by name."""
        low, high = (f"{bound:.7g}" for bound in self.max_error_bounds)
        return {
            "verdict": self.status.value,
            "L0": repr(self.L0),
            "highest loss": f"{self.evidence}: between {low} and {high}",
            "straight line": f"highest loss {beside(self.line_max_error, self.L0)}",
            "beads": str(self.n_beads),
            "normalized length": f"{self.normalized_length:.4g}",
            "sampler": f"{self.sampler}, alpha {self.alpha:g}, depth {self.depth}",
            "gradient evaluations": str(self.gradient_evaluations),
        }

    def _repr_html_(self) -> str:
        return html_table(self.summary(), f"String of {self.beads.shape[1]} parameters")

    @cached_property
    def segment_lower(self) -> np.ndarray:
        """(n-1,) the highest loss seen on each segment, a lower bound of max γ."""
        return np.array([peak.lower for peak in self.peaks])

    @cached_property
    def segment_upper(self) -> np.ndarray:
        """(n-1,) an upper bound of max γ, proven if `certified`; else the same."""
        return np.array([peak.upper for peak in self.peaks])

    @cached_property
    def segment_t_star(self) -> np.ndarray:
        """(n-1,) where the highest loss was seen, in [0, 1]."""
        return np.array([peak.t_star for peak in self.peaks])

    @property
    def certified(self) -> bool:
        """Whether the bounds are theorems about the weights and the test set."""
        return all(peak.certified for peak in self.peaks)

    @property
    def evidence(self) -> str:
        """What the bounds rest on: "proven", "sampled" at points, or "claimed" by a file."""
        return "proven" if self.certified else "claimed" if self.claimed else "sampled"

    @property
    def max_error_bounds(self) -> tuple[float, float]:
        """(lower, upper): what equation (4)'s maximum lies between."""
        return float(np.max(self.segment_lower)), float(np.max(self.segment_upper))

    @property
    def max_error(self) -> float:
        """Equation (4): Γ̃ by its upper bound, hence an upper bound of Γ."""
        return self.max_error_bounds[1]

    @property
    def connected(self) -> bool:
        """Whether Γ̃ ≤ L₀, strictly."""
        return self.max_error <= self.L0

    @property
    def status(self) -> ConnectionStatus:
        """The verdict: interrupted, or that of the worst segment on which the search gave up."""
        if ConnectionStatus.INTERRUPTED in self.segment_status:
            return ConnectionStatus.INTERRUPTED
        untried = [status is ConnectionStatus.NOT_TRIED for status in self.segment_status]
        return self.segment_status[int(np.argmax(np.where(untried, -np.inf, self.segment_upper)))]

    @property
    def verdict(self) -> str:
        """The verdict in words: the status, what it rests on, and what may help."""
        words = [f"{self.status.value} {EVIDENCE[self.evidence]}" if self.connected else ""]
        if not self.connected:
            words = [self.status.value, self.advice]
        if self.evidence == "sampled" and self.reason:
            words.append(f"sampled, not proven: {self.reason}")
        return "; ".join(filter(None, words))

    @property
    def advice(self) -> str:
        """What to change if beads were trained, and none of them got down to α L₀; else nothing."""
        target = self.alpha * self.L0
        ends = [step.loss_after for step in self.trace if step.move in DOWN]
        if not ends or not (lowest := min(ends, key=lambda loss: (np.isnan(loss), loss))) > target:
            return ""
        got = beside(lowest, target)
        found = f"alpha L0 = {target:.6g} seems out of reach: the best bead got to {got}"
        alpha = math.ceil(100.0 * NOISE * lowest / self.L0) / 100.0
        if self.alpha < alpha < 1.0:
            return f"{found}; try alpha = {alpha:g}"
        higher = NOISE * lowest / self.alpha
        if alpha >= 1.0 and higher < self.line_max_error:  # which connects by itself
            return f"{found}; try L0 = {higher:.3g}"
        return found

    @property
    def beads_above_target(self) -> int:
        """Beads whose loss lies between α L₀, to which they were to be trained, and L₀."""
        return int(np.sum(self.losses[1:-1] > self.alpha * self.L0))

    @property
    def failures(self) -> tuple[int, ...]:
        """The segments on which γ exceeds L₀."""
        return tuple(np.flatnonzero(self.segment_upper > self.L0).tolist())

    @property
    def n_beads(self) -> int:
        """Models that were inserted; the two ends are not counted."""
        return len(self.beads) - 2

    @property
    def line_max_error(self) -> float:
        """The maximum of γ on the straight line between the ends, before any bead."""
        return self.trace[0].gamma_before if self.trace else float(self.segment_lower[0])

    @property
    def gradient_evaluations(self) -> int:
        """Steps of descent that the search took, failed beads included; training not counted."""
        return sum(insertion.steps for insertion in self.trace)

    @property
    def segment_lengths(self) -> np.ndarray:
        """(n-1,) Euclidean lengths of the segments, over weights and biases."""
        return norm(np.diff(self.beads, axis=0))

    @property
    def path_length(self) -> float:
        """Σ ‖θₖ₊₁ - θₖ‖₂."""
        return float(np.sum(self.segment_lengths))

    @property
    def normalized_length(self) -> float:
        """Path length over the distance of the ends; 1 for a point, infinite for a closed loop.

        What is no longer than `COINCIDE` times the beads' own distances from the origin, added up,
        is taken for a point: the rounding of curves through identical ends makes such lengths.
        """
        length, distance = self.path_length, float(norm(self.beads[-1] - self.beads[0]))
        nothing = COINCIDE * float(np.sum(norm(self.beads)))
        if length <= nothing:
            return 1.0
        return max(1.0, length / distance) if distance > nothing else np.inf

    def stages(self) -> tuple[Stage, ...]:
        """How the string grew, recursion by recursion: panels b to g of Fig. 1.

        Raises:
            NconvexError: The string was pieced together from several attempts, or not searched.

        Example:
            >>> import nconvex as nc
            >>> string = nc.run_pair(nc.quad.problem(samples=100), L0=1e-2, seed=1).string
            >>> [(stage.insertion.place, len(stage.beads)) for stage in string.stages()]
            [('', 3), ('R', 4)]
        """
        return tuple(stages_of(self.beads, self.losses, self.trace, self.L0, self.alpha, self.seed))

    @property
    def positions(self) -> np.ndarray:
        """(n,) each bead's fraction of the path's length."""
        ends = np.concatenate(([0.0], np.cumsum(self.segment_lengths)))
        return ends / max(ends[-1], np.finfo(float).tiny)

    def reversed(self) -> String:
        """Return the same path from θ₂ to θ₁; the trace stays as it is."""
        peaks = [
            Peak(1.0 - peak.t_star, peak.lower, peak.upper, peak.certified)
            for peak in reversed(self.peaks)
        ]
        return replace(
            self,
            beads=self.beads[::-1].copy(),
            losses=self.losses[::-1].copy(),
            peaks=tuple(peaks),
            segment_status=self.segment_status[::-1],
        )

    def at(self, s: float) -> np.ndarray:
        """Return θ (P,) at the fraction s of the path's length: at(0) = θ₁, at(1) = θ₂."""
        if not is_number(s) or not 0.0 <= s <= 1.0:
            raise NconvexError(f"s must lie in [0, 1], not {shown(s)}: a fraction of the path")
        if s == 1.0:
            return self.beads[-1].copy()
        lengths = self.segment_lengths
        ends = np.cumsum(lengths)
        segment = int(np.searchsorted(ends, s * ends[-1], side="right"))
        if segment >= lengths.size:  # all the path is one point
            return self.beads[-1].copy()
        t = (s * ends[-1] - (ends[segment] - lengths[segment])) / lengths[segment]
        return interpolate(self.beads[segment], self.beads[segment + 1], min(max(t, 0.0), 1.0))

    def principal_coordinates(self, n: int = 3) -> np.ndarray:
        """Return the beads' coordinates (beads, n) along their first n principal components.

        From the Gram matrix of the centred beads, which is as small as they are few, whatever the
        number of parameters. Components of no spread are zero, so that there are always n.
        """
        require_integer("n", n, 1, 1_000)
        centred = self.beads - self.beads.mean(axis=0)
        # LAPACK splits only large matrices among threads; this one is drawn, not reported.
        spread, vectors = np.linalg.eigh(product(centred, centred.T))
        result = np.zeros((len(self.beads), n))
        kept = min(n, len(spread))
        largest = np.maximum(spread[::-1][:kept], 0.0)
        largest[largest <= 1e-14 * max(float(spread[-1]), 1e-300)] = 0.0  # rounding, not spread
        result[:, :kept] = vectors[:, ::-1][:, :kept] * np.sqrt(largest)
        return result

    def save(self, path: str | os.PathLike[str], *described: Described) -> None:
        """Write the string to an npz file, without pickle, whole or not at all.

        With its problem beside it, `python -m nconvex.verify` proves it from the file alone.

        Args:
            path: The file, e.g. "string.npz"; an older one is replaced.
            described: The problem, and what else is to be put beside the string, e.g. a lower
                bound; what was read with the string, if left out.

        Raises:
            NconvexError: The file cannot be written, or a name in a description is taken.
        """
        beside = [thing.describe() for thing in described] or [dict(self.description)]
        write_arrays(path, saved.arrays_of(self, beside))


def load_string(path: str | os.PathLike[str], problem: Landscape | None = None) -> String:
    """Read a string that `String.save` wrote, with what was saved beside it.

    A file can say anything, so the string is `claimed`, not `certified`, until its losses and
    bounds were computed again: here on a given problem, or by `python -m nconvex.verify`.

    Args:
        path: The file.
        problem: The surface on which to certify the path anew.

    Raises:
        NconvexError: The file is unreadable, truncated, of another format, or contradicts itself,
            or its models do not fit the problem.

    Example: README, "From Python".
    """
    string = String(**saved.values_of(path, read_arrays(path)), claimed=True)
    if problem is None:
        return string
    again = string_through(problem, string.beads, string.L0)
    return replace(
        string,
        losses=again.losses,
        peaks=again.peaks,
        segment_status=tuple(
            now if ConnectionStatus.CONNECTED in (now, before) else before
            for before, now in zip(string.segment_status, again.segment_status, strict=True)
        ),
        claimed=False,
    )


def string_through(
    landscape: Landscape,
    beads: Sequence[ArrayLike] | np.ndarray,
    L0: float,
    trace: tuple[Insertion, ...] = (),
    sampler: str = "given",
    seed: Seed = 0,
) -> String:
    """Make a string of given models, and bracket γ on each segment as the samplers do.

    The models may come from any method, e.g. from training a curve, or from a formula. Brackets are
    proven where the landscape has a proof.

    Args:
        landscape: The loss surface.
        beads: (n, P) models in order, n ≥ 2.
        L0: The threshold.
        trace: What is to be recorded of how they were found.
        sampler: What found them.
        seed: The seed it used.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> nc.string_through(bowl, [[1.0, 0.0], [0.0, 0.5], [0.0, 1.0]], L0=2.5).n_beads
        1
    """
    require_positive("L0", L0)
    require_landscape(landscape)
    beads = np.array(require_models("beads", beads))
    peaks = [peak_between(landscape, left, right, L0) for left, right in itertools.pairwise(beads)]
    statuses = [
        ConnectionStatus.CONNECTED if peak.upper <= L0 else ConnectionStatus.PATH_ABOVE_L0
        for peak in peaks
    ]
    string = String(
        beads,
        losses_of(landscape, beads),
        tuple(peaks),
        tuple(statuses),
        trace,
        L0=float(L0),
        alpha=1.0,
        depth=0,
        seed=child(seed),
        sampler=sampler,
        reason=why_sampled(landscape),
    )
    return bracketed(landscape, string)


def losses_of(landscape: Landscape, beads: np.ndarray) -> np.ndarray:
    """Each bead's loss, (n,)."""
    return np.array([landscape.loss(theta) for theta in beads])


def bracketed(landscape: Landscape, string: String) -> String:
    """Bring the two bounds of equation (4)'s maximum together.

    That a segment stays below L₀, or does not, is often proven by bounds far from its maximum. The
    segment with the highest bound is bracketed further, until it is one that was, or one of which
    nothing is decided. No verdict changes.
    """
    found = list(string.peaks)
    done: set[int] = set()
    while string.certified and certifies(landscape):
        k = int(np.argmax([peak.upper for peak in found]))
        known = found[k]
        if k in done or known.lower <= string.L0 < known.upper:
            break
        done.add(k)
        peak = landscape.max_gamma(string.beads[k], string.beads[k + 1], -np.inf, known)
        lower = peak if peak.lower > known.lower else known
        found[k] = Peak(lower.t_star, lower.lower, min(known.upper, peak.upper), certified=True)
    return replace(string, peaks=tuple(replace(peak, search=None) for peak in found))


def joined(strings: Sequence[String]) -> String:
    """Put strings end to end, each beginning where the one before ends; the rest is the first's."""
    return replace(
        strings[0],
        beads=np.concatenate([strings[0].beads[:1], *(string.beads[1:] for string in strings)]),
        losses=np.concatenate([strings[0].losses[:1], *(string.losses[1:] for string in strings)]),
        peaks=tuple(peak for string in strings for peak in string.peaks),
        segment_status=tuple(status for string in strings for status in string.segment_status),
    )
