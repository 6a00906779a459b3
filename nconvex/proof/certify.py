"""A proven maximum of γ, on which `connect`'s verdict rests: step 2 as a theorem.

`curve.maximum` evaluates γ at points, and says nothing about γ between them. Here every interval of
t has an upper bound of γ. The intervals with the highest bounds are halved, which tightens their
bounds, until no bound exceeds the highest value of γ seen by more than a stated gap. `centred`
derives the bounds, and `rounding` bounds the error of floating-point arithmetic in them.

Proven is, in exact arithmetic on the stored weights and the stored test set:

    lower ≤ max over t in [0, 1] of γ(t) ≤ upper,   lower ≤ γ(t*).

So a string that is `connected` and `certified` is a path on which no weights have a loss above L₀.
Nothing is proven about data outside the test set, which is a finite sample. Nor is it proven that
there is no path where none was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nconvex.definitions import NconvexError, Peak, is_number, require_number, shown
from nconvex.kernels.parts import ERROR, TILE
from nconvex.kernels.vectors import aligned, once_a_thread
from nconvex.proof import centred, rounding
from nconvex.proof.blocks import BLOCK

#: Relative distance of upper and lower bound at which a bracket is closed.
GAP = 1e-3

#: The same where L₀ is exceeded and only t* is needed.
GAP_ABOVE = 1e-2

#: After so many halvings the search returns the bracket that it has.
MOST_SPLITS = 5_000

#: Multiply-adds after which a kernel returns to Python, which can then hear Ctrl-C.
WORK_BETWEEN_SIGNALS = 2e9

#: Shorter intervals are not halved: nothing is gained, and so their ends stay exact.
SHORTEST, SHORTEST_OF_ERRORS = 2.0**-40, 2.0**-24


@dataclass(frozen=True, eq=False)
class ProofData:
    """A network's shape and its test set, laid out for `centred.search`, in T tiles.

    Attributes:
        layers: (k, 5) int64, as for the kernels.
        loss: The loss's code.
        counts: (T,) how many of a tile's samples are no copies.
        largest_input: (d_in,) max |x| over the samples.
        inputs: (T, d_in TILE), or None if segments get both ends' first layers.
        targets: (T, d_out TILE) for residuals.
        labels: (T,) each tile's label, for classifiers.
        largest_target: (d_out,) max |y| over the samples.
        weight_decay: (P,) κ ≥ 0 of a penalty ½ Σ κ θ², or empty; a share of errors has none.
    """

    layers: np.ndarray
    loss: int
    counts: np.ndarray
    largest_input: np.ndarray
    inputs: np.ndarray | None = None
    targets: np.ndarray | None = None
    labels: np.ndarray | None = None
    largest_target: np.ndarray | None = None
    weight_decay: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return int(self.counts.sum())


class Segment:
    """A bracket of max γ(θ₁, θ₂) on a test set, which can be tightened.

    Args:
        data: The network and its test set.
        theta1: (P,) float64 where t = 0, finite.
        theta2: (P,) float64 where t = 1, finite.
        first: Both ends' first layers before activation, (T, h TILE) each, if the test set has
            no inputs.
        known: A bracket of this very segment from which to go on.

    Attributes:
        sigma: A bound of the rounding error of γ; see `rounding`.
        margin: A bound of the rounding error of a difference of two logits.
        network: The arguments of `centred.enclose` from θ₁ to `penalty`.
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
        self._sizes = (int(layers[0, 0]), *layers[:, 1].tolist())
        largest_target = np.empty(0) if data.largest_target is None else data.largest_target
        sigma, margin = rounding.bound(
            layers, theta1, theta2, data.loss, samples, data.largest_input, largest_target,
            np.empty((2, 3, max(self._sizes))),
        )  # fmt: skip
        counts_errors = data.loss == ERROR
        penalty = np.zeros(3)
        if data.weight_decay.size > 0 and not counts_errors:
            penalty, rounded = rounding.parabola(data.weight_decay, theta1, theta2, samples)
            sigma += rounded
        self.margin = float(margin)
        self._overflows = not sigma < np.inf
        # A share of errors is exact, apart from the margin.
        self.sigma = 0.0 if counts_errors and not self._overflows else float(sigma)
        self._resolution = 2.0 / samples if counts_errors else centred.RESOLUTION * self.sigma
        self._shortest = SHORTEST_OF_ERRORS if counts_errors else SHORTEST
        self.network = (
            *(theta1, theta2, layers, data.loss, data.inputs),
            *((None, None) if first is None else first),
            *(data.targets, data.labels, data.counts, penalty),
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
        """Halve at most `splits` intervals; tell whether the question is decided."""
        if self._overflows:
            return True
        decided = centred.search(
            *self.network, self._samples, L0, gap, self.sigma, self.margin, self._resolution,
            self._shortest, splits, self._state, self._nodes, *self.workspaces(),
        )  # fmt: skip
        return bool(decided)

    @property
    def peak(self) -> Peak:
        """The bracket as it is."""
        count, t_star, height, _ = self._state.tolist()
        if count == 0:  # an overflow is possible, or the search has not started
            return Peak(t_star, -np.inf, np.inf, certified=True)
        nodes = self._nodes[: int(count)].copy()
        upper = max(height, float(nodes[:, 0].max())) + self.sigma
        return Peak(t_star, height - self.sigma, upper, True, (self._state.copy(), nodes))

    def workspaces(self) -> tuple[np.ndarray, ...]:
        """Return this thread's workspaces for `centred`."""
        labels = self.network[8]
        return _workspaces(self._sizes, labels is not None)


def maximum(segment: Segment, L0: float = -math.inf, gap: float | None = None) -> Peak:
    """Bracket the global maximum of γ.

    The search ends when upper ≤ L₀: nothing on the segment lies above. Or it ends when lower > L₀,
    so that γ(t*) lies above, and upper ≤ lower + gap |lower|. With L₀ = -∞ only the gap counts. By
    default the gap is then 1e-3, and otherwise 1e-2.

    After 5,000 halvings the bracket found so far is returned. It holds, too.

    Args:
        segment: A new one, or one to be tightened further.
        L0: The threshold.
        gap: Relative.

    Raises:
        NconvexError: gap is not a positive number.
    """
    gap = require_gap(L0, gap)
    step = segment.splits_between_signals
    for _ in range(0, MOST_SPLITS, step):
        if segment.tighten(float(L0), gap, step):
            break
    return segment.peak


def require_gap(L0: float, gap: float | None) -> float:
    """Return the gap at which a bracket is closed, by default that of `maximum`.

    Raises:
        NconvexError: L0 is not a number, or gap is not a positive number.
    """
    require_number("L0", L0)
    if gap is None:
        gap = GAP if -math.inf == L0 else GAP_ABOVE
    if not is_number(gap) or not gap > 0.0 or gap == -L0 == math.inf:
        raise NconvexError(
            f"gap must be positive, and finite where no L0 is given, not {shown(gap)}; e.g. 1e-3"
        )
    return float(gap)


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


@once_a_thread
def _workspaces(sizes: tuple[int, ...], labelled: bool) -> tuple[np.ndarray, ...]:
    widest, outputs = max(sizes), sizes[-1]
    room = [(n_in + 2) * n_out for n_in, n_out in pairwise(sizes)]
    room[-1] *= outputs if labelled else 1
    return (
        aligned(4, sum(room)),
        aligned(2, widest * BLOCK),
        aligned(4 * BLOCK),
        np.empty(4, dtype=np.int64),
        aligned(outputs * TILE),
        aligned(3, TILE),
        np.empty(5),
    )
