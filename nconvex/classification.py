"""A landscape from a classifier and labelled data: MNIST's, the draft's section III.B.

Same surface for the sampler as `problem`, other means: minibatch descent in float32 on sparse
inputs, γ from remembered first layers. See `wide` for both.

Memory: a model's first layer takes 8 M h bytes for M test samples and h units (20 MB for 10,000
and 256), and at most `REMEMBERED` of them are kept, the latest used. With a string of 50 beads of
784-256-256-10 on all of MNIST, its figure and its file, a process takes 1.3 GB.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from nconvex import certify, rounding, wide
from nconvex.definitions import (
    Descent,
    DescentStatus,
    NconvexError,
    Peak,
    RMSProp,
    require_integer,
    require_theta,
)
from nconvex.landscape import descent_status
from nconvex.model import MLP
from nconvex.problem import Problem
from nconvex.vectors import aligned

METRICS = ("loss", "error")

#: First layers kept: two ends and the beads of a few levels of recursion between them.
REMEMBERED = 12

#: Multiply-adds after which a kernel returns to Python, so that Ctrl-C is heard within a second.
WORK_BETWEEN_SIGNALS = 5e9

#: Share of inputs that are not zero from which on descents multiply whole inputs: a batch takes the
#: same time either way there, see `benchmarks/dense.py`.
DENSE = 0.35

#: Relative difference of the float32 metric that stops a descent and the float64 one that decides.
FLOAT32_ROUNDING = 1e-6


class Classification(Problem):
    """Model + softmax cross-entropy + labelled data, as a landscape for `train` and `connect`.

    L(X, θ) = 1/N Σₙ -log softmax(f(xₙ; θ))[labelₙ] on the test set, or with metric="error" the
    share of test samples whose label does not have the highest logit, a tie being an error.
    Descents follow the gradient of the training set's cross-entropy in either case, on minibatches
    drawn without replacement, in float32; every value that is reported or compared with L₀ is
    computed in float64.

    Args:
        model: ReLU with biases, any hidden layers, one output a class.
        X: (N, d_in) training inputs; rounded to float32.
        labels: (N,) integers from 0 to classes - 1.
        X_test: (M, d_in) test inputs; rounded to float32.
        labels_test: (M,) integers.
        rmsprop: Settings of the descents.
        batch: Samples a step.
        metric: "loss" for cross-entropy, "error" for the share of wrong labels.

    Raises:
        NconvexError: Data have other shapes, are not finite, or a label is no class.
    """

    def __init__(
        self,
        model: MLP,
        X: np.ndarray,
        labels: np.ndarray,
        X_test: np.ndarray,
        labels_test: np.ndarray,
        rmsprop: RMSProp | None = None,
        batch: int = 100,
        metric: str = "loss",
    ):
        if model.activation != "relu" or model.output_activation != "identity" or not model.biases:
            raise NconvexError("classification needs a ReLU network with biases, e.g. MLP(sizes)")
        if len(model.sizes) < 3:
            raise NconvexError(f"sizes {model.sizes} have no hidden layer; e.g. (784, 256, 10)")
        if metric not in METRICS:
            raise NconvexError(f"metric {metric!r} is unknown; choose from {', '.join(METRICS)}")
        require_integer("batch", batch, 1)
        self.model = model
        self.loss_name = "cross-entropy" if metric == "loss" else "error"
        self.rmsprop = RMSProp() if rmsprop is None else rmsprop
        self.metric = metric
        self.X, self.labels = _checked("", model, X, labels)
        self.X_test, self.labels_test = _checked("_test", model, X_test, labels_test)
        self.y_test = self.labels_test  # under the name that every problem's targets have
        self.batch = min(batch, len(self.X))
        self._layers = model.layers
        self._n_parameters = model.n_parameters
        self._questions = _sparse(self.X_test)
        self._dense = np.count_nonzero(self.X) > DENSE * self.X.size
        self._examples = ((self.X,) if self._dense else _sparse(self.X)) + (self.labels,)
        looks = (self.X_test,) if self._dense else self._questions
        self._looks = (*looks, self.labels_test)
        self._descending = _blocked(model)
        self._largest = np.abs(self.X_test).max(axis=0).astype(np.float64)
        self._tile_labels, self._members, self._counts = _tiles(self.labels_test)
        self._memory: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def loss(self, theta: np.ndarray) -> float:
        """The metric on the test set, for θ (P,)."""
        return float(self.gamma(theta, theta, np.zeros(1))[0])

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean cross-entropy on the **training** set and its gradient, (P,), in float32."""
        return self._gradient_of(theta, np.arange(len(self.X)))

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the cross-entropy's gradient on one minibatch, (P,), drawn with replacement."""
        return self._gradient_of(theta, rng.integers(len(self.X), size=self.batch))[1]

    def _gradient_of(self, theta: np.ndarray, samples: np.ndarray) -> tuple[float, np.ndarray]:
        theta = require_theta("theta", theta, self._n_parameters)
        w = self._blocks(theta)
        gradient = aligned(w.size, dtype=np.float32)
        kernel = wide.dense_gradient if self._dense else wide.sparse_gradient
        loss = kernel(
            w,
            self._first(w),
            self._descending,
            *self._examples,
            samples,
            *self._descent_work(gradient, len(samples)),
            self._first(gradient),
        )
        return float(loss), self._restored(gradient)

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run minibatch RMSProp until the test metric is at most `target`; see `RMSProp`.

        Raises:
            NconvexError: theta is of another size or not finite.
        """
        settings = self.rmsprop
        theta = require_theta("theta", theta, self._n_parameters)
        w = self._blocks(theta)
        mean_square, gradient = (aligned(w.size, dtype=np.float32) for _ in range(2))
        work = self._descent_work(gradient, self.batch)
        state: tuple[np.ndarray, ...] = (w, self._first(w), mean_square)
        if self._dense:
            work += (self._first(gradient),)
        else:
            state += (self._first(mean_square),)
            work += (aligned(wide.PANEL, dtype=np.float32),)
        descend = wide.dense_descend if self._dense else wide.sparse_descend
        tests = np.arange(len(self.X_test))
        look = float(len(self.X_test)) * self._n_parameters
        chunk = max(1, int(WORK_BETWEEN_SIGNALS / (3.0 * self.batch * self._n_parameters + look)))
        wanted = target * (1.0 - FLOAT32_ROUNDING)
        step, order, taken = 0, np.empty((0, self.batch), dtype=np.int64), 0
        while True:
            if taken == len(order):
                order, taken = self._batches(rng), 0
            before = step
            step, reached = descend(
                *state,
                self._descending,
                self.metric == "error",
                wanted,
                *self._examples,
                *self._looks,
                order[taken : taken + chunk],
                tests,
                settings.learning_rate,
                settings.shrink,
                settings.decay,
                settings.epsilon,
                settings.check_every,
                step,
                settings.budget,
                *work,
            )
            taken += step - before
            if reached > wanted and step < settings.budget:
                continue  # the batches ran out, or it is only time to hear Ctrl-C
            found = self._restored(w)
            if not np.isfinite(found).all():
                return Descent(theta.copy(), np.inf, int(step), DescentStatus.DIVERGED)
            loss = self.loss(found)
            if loss <= target or step == settings.budget or not np.isfinite(loss):
                return Descent(found, loss, int(step), descent_status(loss, target))
            wanted -= 2.0 * (loss - target)  # float32 saw it lower than it is

    def _batches(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an epoch's batches, (batches, batch); what does not fill one is left out."""
        batches = len(self.X) // self.batch
        order = rng.permutation(len(self.X))[: batches * self.batch]
        return order.reshape(batches, self.batch)

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set, the metric at each t (T,)."""
        losses, wrong = self._gammas(theta1, theta2, np.asarray(t, dtype=np.float64), 0.0)
        return losses if self.metric == "loss" else wrong

    def max_gamma(self, theta1: np.ndarray, theta2: np.ndarray, L0: float) -> Peak:
        """Bracket the metric's maximum on the segment, with proof, and settle whether it is ≤ L₀.

        Raises:
            NconvexError: An end is of another size or not finite.
        """
        return certify.maximum(certify.BestFirst(ClassifierEnclosure(self, theta1, theta2)), L0)

    def bracket(self, theta1: np.ndarray, theta2: np.ndarray, gap: float = certify.GAP) -> Peak:
        """Bracket the metric's maximum on the segment, with proof, to a relative gap."""
        return certify.maximum(
            certify.BestFirst(ClassifierEnclosure(self, theta1, theta2)), gap=gap
        )

    def first_layer(self, theta: np.ndarray) -> np.ndarray:
        """The first layer's pre-activations on the test set, in tiles; remembered."""
        key = theta.tobytes()
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        (W, b), *_ = self.model.unpack(theta)
        assert b is not None
        # What a descent found is float32, and takes half the time to read.
        exact = (W.astype(np.float32) == W).all()
        weights = aligned(*W.shape, dtype=np.float32 if exact else np.float64)
        weights[:] = W
        tiles = aligned(len(self._members), W.shape[1] * wide.TILE)
        wide.first_layer(weights, b, *self._questions, self._members, aligned(16, b.size), tiles)
        with self._lock:
            self._memory[key] = tiles
            while len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
        return tiles

    def _gammas(
        self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray, margin: float
    ) -> tuple[np.ndarray, np.ndarray]:
        theta1 = require_theta("theta1", theta1, self._n_parameters)
        theta2 = require_theta("theta2", theta2, self._n_parameters)
        losses, wrong = np.empty(t.size), np.empty(t.size)
        tiles1, tiles2 = self.first_layer(theta1), self.first_layer(theta2)
        later = self._n_parameters - self.model.sizes[0] * self.model.sizes[1]
        chunk = max(1, int(WORK_BETWEEN_SIGNALS / (float(len(self.X_test)) * later)))
        for start in range(0, t.size, chunk):
            part = slice(start, start + chunk)
            wide.gammas(
                t[part],
                theta1,
                theta2,
                tiles1,
                tiles2,
                self._layers,
                self._tile_labels,
                self._counts,
                margin,
                len(self.X_test),
                aligned(self._n_parameters),
                aligned(2, max(self.model.sizes[1:]) * wide.TILE),
                aligned(3, wide.TILE),
                losses[part],
                wrong[part],
            )
        return losses, wrong

    def _first(self, w: np.ndarray) -> np.ndarray:
        """The first layer's weights, (blocks, n_in, TILE), as a view of a descent's vector."""
        n_in = self.model.sizes[0]
        return w[: self._descending[0, 3]].reshape(-1, n_in, wide.TILE)

    def _descent_work(self, gradient: np.ndarray, batch: int) -> tuple[np.ndarray, ...]:
        """Make the workspaces of `wide`'s descents and gradients, around a gradient."""
        n_in, h = self.model.sizes[:2]
        tiles = [_whole_tiles(units) for units in self.model.sizes[1:]]
        common = (
            aligned(tiles[0] * wide.TILE, dtype=np.float32),
            aligned(sum(tiles) * wide.TILE, dtype=np.float32),
            aligned(3, max(tiles) * wide.TILE, dtype=np.float32),
            aligned(max(tiles) * wide.TILE, dtype=np.float32),
            aligned(3, wide.TILE),
            gradient,
        )
        if self._dense:
            inputs = aligned(wide.TILE * n_in, dtype=np.float32)
            slopes = aligned(tiles[0] // wide.TILE, wide.TILE, wide.TILE, dtype=np.float32)
            return (inputs, *common, slopes)
        starts = self._examples[0]
        pixels = min(batch * int(np.diff(starts).max()), int(starts[-1]))
        return (
            *common,
            aligned(-(-h // wide.PANEL), batch, wide.PANEL, dtype=np.float32),
            np.empty(n_in, dtype=np.int64),
            np.empty(pixels, dtype=np.min_scalar_type(batch - 1)),
            np.empty(pixels, dtype=np.float32),
        )

    def _blocks(self, theta: np.ndarray) -> np.ndarray:
        """θ as a descent's vector, in float32; see `wide`."""
        end = self._descending[-1, 3] + self._descending[-1, 1]
        w = aligned(end, dtype=np.float32)
        for (W, b), (source, offset) in self._pieces(theta, w):
            W[:], b[:] = source, offset
        return w

    def _restored(self, w: np.ndarray) -> np.ndarray:
        """Θ of a descent's vector, in float64."""
        theta = np.empty(self._n_parameters)
        for (W, b), (target, offset) in self._pieces(theta, w):
            target[:], offset[:] = W, b
        return theta

    def _pieces(self, theta: np.ndarray, w: np.ndarray) -> Any:
        """Weights and biases, layer by layer, as views of a descent's vector and of θ."""
        for layer, (W, b) in enumerate(self.model.unpack(theta)):
            assert b is not None
            n_in, n_out, weights, biases = self._descending[layer, :4]
            if layer == 0:
                blocks = self._first(w)
                for block in range(len(blocks)):
                    columns = slice(block * wide.TILE, (block + 1) * wide.TILE)
                    units = len(b[columns])
                    offset = w[biases + block * wide.TILE :][:units]
                    yield (blocks[block, :, :units], offset), (W[:, columns], b[columns])
            else:
                transposed = w[weights : weights + n_in * n_out].reshape(n_out, n_in)
                yield (transposed.T, w[biases : biases + n_out]), (W, b)


class ClassifierEnclosure:
    """Values and bounds of γ(θ₁, θ₂) for `certify.BestFirst`, rounding included.

    Cross-entropy is convex in the logits, whose differences lie between polynomials in t, so that
    the mean of the cross-entropies of their Bernstein coefficients bounds γ (Jensen). An error can
    only happen where some class's difference to the label may reach zero: counting the samples for
    which it may bounds the share of errors.
    """

    def __init__(self, problem: Classification, theta1: np.ndarray, theta2: np.ndarray):
        model = problem.model
        depth = len(model.sizes) - 1
        self._problem = problem
        self._ends = (
            require_theta("theta1", theta1, model.n_parameters),
            require_theta("theta2", theta2, model.n_parameters),
        )
        self._tiles = problem.first_layer(self._ends[0]), problem.first_layer(self._ends[1])
        widest = max(model.sizes)
        self._sigma, self._margin = rounding.bound_classifier(
            problem._layers,
            *self._ends,
            len(problem.X_test),
            problem._largest,
            np.empty((2, widest)),
            np.empty((2, widest)),
        )
        error = problem.metric == "error"
        self.resolution = 2.0 / len(problem.X_test) if error else 4.0 * self._sigma
        self.shortest = 2.0**-24 if error else 2.0**-40
        self._work = (
            np.empty((depth + 1, model.n_parameters)),
            np.empty((depth + 1, model.n_parameters)),
            np.empty(model.n_parameters),
            np.empty((model.sizes[-1], model.sizes[-1] * model.sizes[-2])),
            aligned(2, depth + 2, max(model.sizes[1:]) * wide.TILE),
            aligned(3, wide.TILE),
        )
        self._coefficients = np.empty(depth + 1)

    def value(self, t: float) -> float:
        """A lower bound of γ(t)."""
        losses, wrong = self._problem._gammas(*self._ends, np.array([t]), -self._margin)
        if self._problem.metric == "error":
            return float(wrong[0])
        return float(losses[0] - self._sigma)

    def bound(self, left: float, right: float) -> tuple[float, float]:
        """An upper bound of γ on [left, right], and where γ may be highest."""
        problem = self._problem
        unsure = wide.enclose(
            float(left),
            float(right),
            *self._ends,
            *self._tiles,
            problem._layers,
            problem._tile_labels,
            problem._counts,
            self._margin,
            len(problem.X_test),
            *self._work,
            self._coefficients,
        )
        if problem.metric == "error":
            return float(unsure), 0.5 * (left + right)
        bound, s = certify.bound_polynomial(self._coefficients.tolist())
        return bound + self._sigma, left + (right - left) * s


def _checked(
    suffix: str, model: MLP, X: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    try:
        X = np.ascontiguousarray(X, dtype=np.float32)
    except (TypeError, ValueError):
        raise NconvexError(f"X{suffix} must be an array of numbers") from None
    if X.ndim != 2 or X.shape[1] != model.sizes[0] or len(X) == 0:
        raise NconvexError(
            f"X{suffix} has shape {X.shape}; the model needs (N, {model.sizes[0]}), N ≥ 1"
        )
    if not np.isfinite(X).all():
        row = int(np.flatnonzero(~np.isfinite(X).all(axis=1))[0])
        raise NconvexError(f"X{suffix}[{row}] is not finite; remove such samples")
    labels = np.asarray(labels)
    if labels.shape != (len(X),) or not np.issubdtype(labels.dtype, np.integer):
        raise NconvexError(
            f"labels{suffix} must be {len(X)} integers, not {labels.dtype} of shape {labels.shape}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= model.sizes[-1]))
    if wrong.size:
        raise NconvexError(
            f"labels{suffix}[{wrong[0]}] is {labels[wrong[0]]}; the model has classes 0 to "
            f"{model.sizes[-1] - 1}"
        )
    return X, labels.astype(np.int64)


def _whole_tiles(units: int) -> int:
    return -(-units // wide.TILE) * wide.TILE


def _blocked(model: MLP) -> np.ndarray:
    """The table of layers of a descent's vector, whose first layer stands in whole tiles."""
    layers = model.layers.copy()
    grown = (_whole_tiles(model.sizes[1]) - model.sizes[1]) * model.sizes[0]
    layers[0, 3] += grown
    layers[1:, 2:4] += grown
    return layers


def _sparse(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of X as starts, indices, values; see `wide`."""
    inked = X != 0.0
    starts = np.concatenate(([0], np.cumsum(inked.sum(axis=1))))
    # Unsigned, so that kernels need not look for negative ones; short, to be read quickly.
    short = np.min_scalar_type(X.shape[1] - 1)
    columns = np.broadcast_to(np.arange(X.shape[1], dtype=short), X.shape)
    return starts.astype(np.int64), columns[inked], X[inked]


def _tiles(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each tile's label, its samples (T, TILE), and how many of them are no copies."""
    tiles: list[np.ndarray] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        tiles += [members[start : start + wide.TILE] for start in range(0, len(members), wide.TILE)]
    filled = np.array([np.pad(tile, (0, wide.TILE - len(tile)), "edge") for tile in tiles])
    return labels[[tile[0] for tile in tiles]], filled, np.array([len(tile) for tile in tiles])
