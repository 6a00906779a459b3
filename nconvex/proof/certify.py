"""A proven maximum of γ: what `connect`'s verdict rests on (step 2, made a theorem).

`curve.maximum` looks at points, and between two of them γ may do anything. Here every interval of
t has an upper bound that no point of it exceeds. Intervals with too high a bound are halved, which
makes their bounds tighter, until no bound is left that is higher than the highest value of γ seen
by more than a stated gap. `centred` derives the bounds, `rounding` what floating-point arithmetic
can have added to them.

What is proven then, in exact arithmetic on the weights and the test set as they are stored:

    lower ≤ max over t in [0, 1] of γ(t) ≤ upper,   lower ≤ γ(t*).

So a string that is `connected` and `certified` is a path on which no weights have a loss above L₀.
What is not proven: anything about data outside of the test set, which is a finite sample; and
that there is no path where none was found.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from nconvex.definitions import NconvexError, Peak, is_number, require_number, shown
from nconvex.kernels.parts import ERROR, TILE
from nconvex.kernels.vectors import aligned
from nconvex.proof import centred, rounding

#: Relative distance of upper and lower bound at which a bracket is closed.
GAP = 1e-3

#: The same where L₀ is exceeded, and only t* is wanted.
GAP_ABOVE = 1e-2

#: Intervals that are halved before the search gives up with the bracket that it has.
MOST_SPLITS = 5_000

#: Multiply-adds between two moments at which Ctrl-C is heard.
WORK_BETWEEN_SIGNALS = 2e9

#: Intervals are not halved below these: their ends stay exact, and nothing is gained any more.
SHORTEST, SHORTEST_OF_ERRORS = 2.0**-40, 2.0**-24


@dataclass(frozen=True, eq=False)
class ProofData:
    """A network's shape and its test set, laid out for `centred.search`, in T tiles.

    Attributes:
        layers: (k, 5) int64, as for the kernels.
        loss: The loss's code.
        counts: (T,) samples of a tile that are no copies.
        largest_input: (d_in,) max |x| over the samples.
        inputs: (T, d_in TILE), or None if a segment is given both ends' first layers.
        targets: (T, d_out TILE) for residuals.
        labels: (T,) one label a tile, for classifiers.
        largest_target: (d_out,) max |y| over the samples.
    """

    layers: np.ndarray
    loss: int
    counts: np.ndarray
    largest_input: np.ndarray
    inputs: np.ndarray | None = None
    targets: np.ndarray | None = None
    labels: np.ndarray | None = None
    largest_target: np.ndarray | None = None

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return int(self.counts.sum())


class Segment:
    """The bracket of max γ(θ₁, θ₂) on a test set, as it closes.

    Args:
        data: The network and its test set.
        theta1: (P,) float64 where t = 0, finite.
        theta2: (P,) float64 where t = 1, finite.
        first: Both ends' first layers before activation, (T, h TILE) each, where the test set
            has no inputs.
        known: A bracket of this very segment from which to go on.

    Attributes:
        sigma: What floating-point arithmetic can have added to a bound of γ; see `rounding`.
        margin: What it can have added to a difference of two logits.
        network: The arguments of `centred.enclose` from θ₁ to `counts`.
    """

    def __init__(
        self,
        data: ProofData,
        theta1: np.ndarray,
        theta2: np.ndarray,
        first: tuple[np.ndarray, np.ndarray] | None = None,
        known: Peak | None = None,
    ):
        layers, samples = data.layers, data.samples
        widest = int(layers[:, :2].max())
        nothing = np.empty(0)
        sigma, margin = rounding.bound(
            layers,
            theta1,
            theta2,
            data.loss,
            samples,
            data.largest_input,
            nothing if data.largest_target is None else data.largest_target,
            np.empty((2, 3, widest)),
        )
        counts_errors = data.loss == ERROR
        self.margin = float(margin)
        self._overflows = not sigma < np.inf
        # A share of errors is exact, but for the margin.
        self.sigma = 0.0 if counts_errors and not self._overflows else float(sigma)
        self._resolution = 2.0 / samples if counts_errors else centred.RESOLUTION * self.sigma
        self._shortest = SHORTEST_OF_ERRORS if counts_errors else SHORTEST
        self.network = (
            *(theta1, theta2, layers, data.loss, data.inputs),
            *((None, None) if first is None else first),
            *(data.targets, data.labels, data.counts),
        )
        self._samples = samples
        self._state = np.array([0.0, 0.0, -np.inf, 0.0])
        self._nodes = np.empty((MOST_SPLITS + 2, 3))
        if known is not None and isinstance(known.search, tuple):
            self._state[:], nodes = known.search
            self._nodes[: len(nodes)] = nodes
        work = 2.0 * samples * 5.0 * float((layers[:, 0] * layers[:, 1]).sum())
        self.splits_between_signals = int(min(100.0, max(1.0, WORK_BETWEEN_SIGNALS / work)))

    def tighten(self, L0: float, gap: float, splits: int) -> bool:
        """Halve at most `splits` intervals; tell whether all that was asked for is decided."""
        if self._overflows:
            return True
        return bool(
            centred.search(
                *self.network,
                self._samples,
                L0,
                gap,
                self.sigma,
                self.margin,
                self._resolution,
                self._shortest,
                splits,
                self._state,
                self._nodes,
                *self.workspaces(),
            )
        )

    @property
    def peak(self) -> Peak:
        """The bracket as it is."""
        count, t_star, height, _ = self._state.tolist()
        if count == 0:  # nothing can be said, or nothing was asked yet
            return Peak(t_star, -np.inf, np.inf, certified=True)
        nodes = self._nodes[: int(count)].copy()
        upper = max(height, float(nodes[:, 0].max())) + self.sigma
        return Peak(t_star, height - self.sigma, upper, True, (self._state.copy(), nodes))

    def workspaces(self) -> tuple[np.ndarray, ...]:
        """Return this thread's workspaces for `centred`."""
        layers, labels = self.network[2], self.network[8]
        return _workspaces.of(layers, labels is not None)


def maximum(segment: Segment, L0: float = -math.inf, gap: float | None = None) -> Peak:
    """Bracket the global maximum of γ.

    Until upper ≤ L₀, so that nothing on the segment lies above it; or else until lower > L₀, so
    that t* is a witness that something does, and upper ≤ lower + gap |lower|. With L₀ = -∞ that is
    a bracket, whatever its height. By default gap is 1e-3 there, and else 1e-2.

    Where that takes more than 5,000 halvings, the bracket found so far is returned; it holds all
    the same.

    Args:
        segment: Not yet begun, or to be taken further.
        L0: The threshold.
        gap: Relative.

    Raises:
        NconvexError: gap is not a positive number.
    """
    require_number("L0", L0)
    if gap is None:
        gap = GAP if -math.inf == L0 else GAP_ABOVE
    if not is_number(gap) or not gap > 0.0 or gap == -L0 == math.inf:
        raise NconvexError(
            f"gap must be positive, and finite where no L0 is given, not {shown(gap)}; e.g. 1e-3"
        )
    step = segment.splits_between_signals
    for _ in range(0, MOST_SPLITS, step):
        if segment.tighten(float(L0), float(gap), step):
            break
    return segment.peak


def in_tiles(rows: np.ndarray) -> np.ndarray:
    """Lay out samples (N, d) as (T, d TILE), units-major; the last tile is filled with copies."""
    samples, d = rows.shape
    tiles = -(-samples // TILE)
    filled = np.pad(rows, ((0, tiles * TILE - samples), (0, 0)), "edge")
    out = aligned(tiles, d * TILE)
    out[:] = filled.reshape(tiles, TILE, d).swapaxes(1, 2).reshape(tiles, -1)
    return out


def counts_of(samples: int) -> np.ndarray:
    """How many samples of each tile are no copies, (T,)."""
    starts = np.arange(0, samples, TILE)
    return np.minimum(samples - starts, TILE)


class _Workspaces(threading.local):
    """Each thread's workspaces, by the shape of the network."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[bytes, bool], tuple[np.ndarray, ...]] = {}

    def of(self, layers: np.ndarray, labelled: bool) -> tuple[np.ndarray, ...]:
        shape = (layers.tobytes(), labelled)
        if shape not in self._by_shape:
            widest = int(layers[:, :2].max())
            outputs = int(layers[-1, 1])
            room = ((layers[:, 0] + 2) * layers[:, 1]).astype(int)
            if labelled:
                room[-1] *= outputs
            self._by_shape[shape] = (
                aligned(4, int(room.sum())),
                aligned(2, (widest + 1) * centred.BLOCK),
                np.empty((2, widest + 4), dtype=np.int64),
                aligned(outputs * TILE),
                aligned(3, TILE),
                np.empty(5),
            )
        return self._by_shape[shape]


_workspaces = _Workspaces()
