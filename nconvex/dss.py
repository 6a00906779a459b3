"""Dynamic String Sampling: the recursive search for a path below L₀, and the string it returns.

The draft's section II.B, with its steps where they happen:

1. Train two models to L₀ (`train`).
2. Find the global maximum t* of γ between them.
3. Descend from Θ(t*) until the loss is at most α L₀: the new bead.
4. Where the maximum of γ is at most L₀, this branch is done.
5. Start again, from step 2, on each half whose maximum exceeds L₀; stop at depth d.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nconvex.curve import interpolate, maximum
from nconvex.definitions import (
    ConnectionStatus,
    DescentStatus,
    EndpointAboveL0,
    Insertion,
    Interrupted,
    NconvexError,
    Peak,
    Seed,
    child,
    generator,
    require_alpha,
    require_integer,
    require_positive,
    require_theta,
)
from nconvex.files import read_arrays, write_arrays
from nconvex.landscape import Certifying, Landscape

#: Of `String.save`'s files; raised when their meaning changes.
FORMAT = 2

#: Where step 3 may start from on a segment.
INSERTIONS = ("peak", "midpoint")

#: Deepest recursion accepted: a segment is then 2⁻⁶⁴ of the whole, at the resolution of float64.
MAX_DEPTH = 64


@dataclass(frozen=True)
class String:
    """The string S(θ₁, θ₂, α, d): the models on the path, and what is known of it.

    Segment k runs from beads[k] to beads[k+1].

    Attributes:
        beads: (n, P) float64, the path's models in order, θ₁ first and θ₂ last.
        losses: (n,) their losses.
        segment_lower: (n-1,) the highest loss seen on each segment, a lower bound of max γ.
        segment_upper: (n-1,) an upper bound of max γ, proven if `certified`; else the same.
        segment_t_star: (n-1,) where the highest loss was seen, in [0, 1].
        segment_status: n-1 statuses: connected, or why the search stopped there.
        trace: Every recursion in the order of work, successful or not.
        L0: The threshold.
        alpha: Beads were trained to alpha L0.
        depth: Recursions that were allowed.
        seed: The search's seed, as a tuple; see `child`.
        certified: Whether the bounds are theorems about the stored weights and test set.
    """

    beads: np.ndarray
    losses: np.ndarray
    segment_lower: np.ndarray
    segment_upper: np.ndarray
    segment_t_star: np.ndarray
    segment_status: tuple[ConnectionStatus, ...]
    trace: tuple[Insertion, ...]
    L0: float
    alpha: float
    depth: int
    seed: tuple[int, ...]
    certified: bool

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
        """The verdict: interrupted if anything was left untried, else that of the worst segment."""
        if ConnectionStatus.INTERRUPTED in self.segment_status:
            return ConnectionStatus.INTERRUPTED
        return self.segment_status[int(np.argmax(self.segment_upper))]

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
        return np.asarray(np.linalg.norm(np.diff(self.beads, axis=0), axis=1))

    @property
    def path_length(self) -> float:
        """Σ ‖θₖ₊₁ - θₖ‖₂."""
        return float(np.sum(self.segment_lengths))

    @property
    def normalized_length(self) -> float:
        """Path length over the distance of the ends; 1 for a point, infinite for a closed loop."""
        distance = float(np.linalg.norm(self.beads[-1] - self.beads[0]))
        if distance == 0.0:
            return np.inf if self.path_length > 0.0 else 1.0
        return max(1.0, self.path_length / distance)  # rounding alone can bring it below 1

    def at(self, s: float) -> np.ndarray:
        """Return θ (P,) at the fraction s of the path's length: at(0) = θ₁, at(1) = θ₂.

        Raises:
            NconvexError: s lies outside [0, 1].
        """
        if not 0.0 <= s <= 1.0:
            raise NconvexError(f"s must lie in [0, 1], not {s!r}: it is a fraction of the path")
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
        centred = self.beads - self.beads.mean(axis=0)
        spread, vectors = np.linalg.eigh(centred @ centred.T)
        result = np.zeros((len(self.beads), n))
        kept = min(n, len(spread))
        largest = np.maximum(spread[::-1][:kept], 0.0)
        largest[largest <= 1e-14 * max(float(spread[-1]), 1e-300)] = 0.0  # rounding, not spread
        result[:, :kept] = vectors[:, ::-1][:, :kept] * np.sqrt(largest)
        return result

    def save(
        self, path: str | os.PathLike[str], extra: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Write the string to an npz file, without pickle, whole or not at all.

        Args:
            path: The file, e.g. "string.npz"; an older one is replaced.
            extra: More arrays to put beside it, e.g. `problem.describe()`.

        Raises:
            NconvexError: The file cannot be written, or a name in `extra` is taken.
        """
        arrays = {
            "format": np.array(FORMAT),
            "beads": self.beads,
            "losses": self.losses,
            "segment_lower": self.segment_lower,
            "segment_upper": self.segment_upper,
            "certified": np.array(self.certified),
            "segment_t_star": self.segment_t_star,
            "segment_status": _text([status.name for status in self.segment_status]),
            "L0": np.array(self.L0),
            "alpha": np.array(self.alpha),
            "depth": np.array(self.depth),
            "seed": np.array(self.seed, dtype=np.int64),
            "trace_place": _text([insertion.place for insertion in self.trace]),
            "trace_t_star": np.array([insertion.t_star for insertion in self.trace]),
            "trace_gamma_before": np.array([insertion.gamma_before for insertion in self.trace]),
            "trace_loss_after": np.array([insertion.loss_after for insertion in self.trace]),
            "trace_steps": np.array([insertion.steps for insertion in self.trace], dtype=np.int64),
            "trace_status": _text([insertion.status.name for insertion in self.trace]),
        }
        extra = {} if extra is None else extra
        if taken := sorted(arrays.keys() & extra.keys()):
            raise NconvexError(f"extra must not use the string's own names {', '.join(taken)}")
        write_arrays(path, {**arrays, **extra})


def load_string(path: str | os.PathLike[str]) -> String:
    """Read a string that `String.save` wrote; arrays put beside it are left alone.

    Raises:
        NconvexError: The file is unreadable, truncated, of another format, or contradicts itself.
    """
    arrays = read_arrays(path)
    version = arrays.get("format", np.array("none"))
    if version.shape != () or version != FORMAT:
        raise NconvexError(
            f"{path} is not a string of format {FORMAT} (found {version}); save it again with "
            "this version of nconvex"
        )
    try:
        string = String(
            beads=arrays["beads"],
            losses=arrays["losses"],
            segment_lower=arrays["segment_lower"],
            segment_upper=arrays["segment_upper"],
            segment_t_star=arrays["segment_t_star"],
            segment_status=tuple(
                ConnectionStatus[name] for name in arrays["segment_status"].tolist()
            ),
            trace=tuple(
                Insertion(place, len(place), t_star, before, after, steps, DescentStatus[status])
                for place, t_star, before, after, steps, status in zip(
                    arrays["trace_place"].tolist(),
                    arrays["trace_t_star"].tolist(),
                    arrays["trace_gamma_before"].tolist(),
                    arrays["trace_loss_after"].tolist(),
                    arrays["trace_steps"].tolist(),
                    arrays["trace_status"].tolist(),
                    strict=True,
                )
            ),
            L0=arrays["L0"].item(),
            alpha=arrays["alpha"].item(),
            depth=arrays["depth"].item(),
            seed=tuple(arrays["seed"].tolist()),
            certified=arrays["certified"].item(),
        )
        n, _ = string.beads.shape
        lengths = {
            "losses": (string.losses.shape, (n,)),
            "segment_lower": (string.segment_lower.shape, (n - 1,)),
            "segment_upper": (string.segment_upper.shape, (n - 1,)),
            "segment_t_star": (string.segment_t_star.shape, (n - 1,)),
            "segment_status": (arrays["segment_status"].shape, (n - 1,)),
        }
        wrong = [name for name, (found, expected) in lengths.items() if found != expected]
        if n < 2 or wrong:
            raise ValueError(f"{n} beads do not fit {', '.join(wrong) or 'a path'}")
        for name in ("beads", "losses", "segment_lower", "segment_upper", "segment_t_star"):
            if arrays[name].dtype != np.float64:
                raise ValueError(f"{name} holds {arrays[name].dtype}, not float64")
        if not np.isfinite(string.beads).all():
            raise ValueError("beads are not finite")
    except (KeyError, TypeError, ValueError) as error:
        raise NconvexError(f"{path} is damaged: {error}") from None
    return string


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
    require_positive("L0", L0)
    require_alpha(alpha)
    require_integer("depth", depth, 0)
    if depth > MAX_DEPTH:
        raise NconvexError(f"depth must be at most {MAX_DEPTH}, not {depth}")
    if insert not in INSERTIONS:
        raise NconvexError(f"insert {insert!r} is unknown; choose from {', '.join(INSERTIONS)}")
    theta1 = require_theta("theta1", theta1).copy()
    theta2 = require_theta("theta2", theta2, theta1.size).copy()
    seed = child(seed)
    for name, theta in (("theta1", theta1), ("theta2", theta2)):
        if not (loss := landscape.loss(theta)) <= L0:
            raise EndpointAboveL0(
                f"{name} has loss {loss:.6g}, above L0 = {L0:.6g}; train it further or raise L0"
            )
    search = _Search(landscape, float(L0), float(alpha), int(depth), seed, progress, insert)
    try:
        search.explore(theta1, theta2, "")
        return search.string(theta1, theta2)
    except KeyboardInterrupt:
        raise Interrupted(search.string(theta1, theta2)) from None


class _Search:
    """One search: its settings, and what it has found, filed by place in the recursion tree.

    Since everything is filed by place, the string can be read off at any moment, and does not
    depend on the order in which places were visited.
    """

    def __init__(
        self,
        landscape: Landscape,
        L0: float,
        alpha: float,
        depth: int,
        seed: tuple[int, ...],
        progress: Callable[[Insertion], None] | None,
        insert: str,
    ):
        self.landscape = landscape
        self.L0 = L0
        self.alpha = alpha
        self.depth = depth
        self.seed = seed
        self.progress = progress
        self.insert = insert
        self.peaks: dict[str, Peak] = {}
        self.trace: dict[str, Insertion] = {}
        self.beads: dict[str, np.ndarray] = {}

    def explore(self, left: np.ndarray, right: np.ndarray, place: str) -> None:
        """Steps 2 to 5 on one segment."""
        peak = self._peak(left, right)  # step 2
        self.peaks[place] = peak
        if peak.upper <= self.L0:  # step 4: this branch is done
            return
        if len(place) == self.depth:
            return
        rng = generator(child(self.seed, *("LR".index(half) for half in place)))
        # Departs from step 2 where a midpoint is asked for.
        start = interpolate(left, right, peak.t_star if self.insert == "peak" else 0.5)
        descent = self.landscape.descend(start, self.alpha * self.L0, rng)  # step 3
        self.trace[place] = Insertion(
            place,
            len(place),
            peak.t_star,
            peak.lower,
            descent.loss,
            descent.steps,
            descent.status,
        )
        if descent.status is DescentStatus.REACHED:
            self.beads[place] = descent.theta
        if self.progress is not None:
            self.progress(self.trace[place])
        if place in self.beads:  # step 5
            self.explore(left, self.beads[place], place + "L")
            self.explore(self.beads[place], right, place + "R")

    def string(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Read the string off what was found so far."""
        segments = list(self._segments(theta1, theta2, ""))
        peaks = [
            self.peaks.get(place) or self._peak(left, right) for left, right, place in segments
        ]
        beads = np.array([theta1] + [right for _, right, _ in segments])
        return String(
            beads=beads,
            losses=np.array([self.landscape.loss(theta) for theta in beads]),
            segment_lower=np.array([peak.lower for peak in peaks]),
            segment_upper=np.array([peak.upper for peak in peaks]),
            segment_t_star=np.array([peak.t_star for peak in peaks]),
            segment_status=tuple(
                self._status(place, peak)
                for (_, _, place), peak in zip(segments, peaks, strict=True)
            ),
            trace=tuple(self.trace.values()),
            L0=self.L0,
            alpha=self.alpha,
            depth=self.depth,
            seed=self.seed,
            certified=all(peak.certified for peak in peaks),
        )

    def _peak(self, left: np.ndarray, right: np.ndarray) -> Peak:
        if isinstance(self.landscape, Certifying):
            return self.landscape.max_gamma(left, right, self.L0)
        return maximum(self.landscape, left, right)

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
        if place in self.trace:
            return ConnectionStatus.BEAD_UNTRAINABLE
        if len(place) == self.depth:
            return ConnectionStatus.DEPTH_EXHAUSTED
        return ConnectionStatus.INTERRUPTED


def _text(words: list[str]) -> np.ndarray:
    return np.array(words, dtype=f"U{max([1, *map(len, words)])}")
