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
from functools import cached_property
from typing import Any

import numpy as np

from nconvex.definitions import (
    Descent,
    DescentStatus,
    NconvexError,
    RMSProp,
    numbers,
    require_choice,
    require_ends,
    require_finite,
    require_integer,
    require_kind,
    require_number,
    require_t,
    require_theta,
    shown,
)
from nconvex.kernels import classifier, classifier_gamma, parts
from nconvex.kernels.parts import TILE
from nconvex.kernels.vectors import aligned
from nconvex.landscape import descent_status, settings
from nconvex.network.base import NetworkLandscape
from nconvex.network.mlp import MLP
from nconvex.proof import certify

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


class Classification(NetworkLandscape):
    """Model + softmax cross-entropy + labelled data, as a landscape for `train` and `connect`.

    L(X, θ) = 1/N Σₙ -log softmax(f(xₙ; θ))[labelₙ] on the test set, or with metric="error" the
    share of test samples whose label does not have the highest logit, a tie being an error.
    Descents follow the gradient of the training set's cross-entropy in either case, on minibatches
    drawn without replacement, in float32; every value that is reported or compared with L₀ is
    computed in float64.

    Args:
        model: With biases, any hidden layers and activation, one output a class: its logit.
        X: (N, d_in) training inputs; rounded to float32.
        labels: (N,) integers from 0 to classes - 1.
        X_test: (M, d_in) test inputs; rounded to float32.
        labels_test: (M,) integers.
        rmsprop: Settings of the descents.
        batch: Samples a step.
        metric: "loss" for cross-entropy, "error" for the share of wrong labels.

    Attributes:
        quantity: What the metric is called in a message.
        highest: What it never exceeds.
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
        require_kind("model", model, MLP, "MLP((784, 256, 10))")
        if model.output_activation != "identity" or not model.biases:
            raise NconvexError(
                "classification needs biases and logits, not activations, as outputs; "
                'e.g. MLP((784, 256, 10), "tanh")'
            )
        if len(model.sizes) < 3:
            raise NconvexError(f"sizes {model.sizes} have no hidden layer; e.g. (784, 256, 10)")
        require_choice("metric", metric, METRICS)
        require_integer("batch", batch, 1)
        self.model = model
        self.loss_name = "cross-entropy" if metric == "loss" else "error"
        self.rmsprop = settings(rmsprop)
        self.metric = metric
        self.quantity = "loss" if metric == "loss" else "the share of errors"
        self.highest = np.inf if metric == "loss" else 1.0
        self.X, self.labels = _checked("", model, X, labels)
        self.X_test, self.labels_test = _checked("_test", model, X_test, labels_test)
        self.y_test = self.labels_test  # under the name that every problem's targets have
        self.batch = min(batch, len(self.X))
        self._layers = model.layers
        self._n_parameters = model.n_parameters
        self._sparse_test = _sparse(self.X_test)
        dense = np.count_nonzero(self.X) > DENSE * self.X.size
        self._train = (*((None, None, self.X) if dense else _sparse(self.X)), self.labels)
        test_inputs = (None, None, self.X_test) if dense else self._sparse_test
        self._test = (*test_inputs, self.labels_test)
        self._blocked = _blocked(model)
        self._tile_labels, self._members, self._counts = _tiles(self.labels_test)
        self._memory = _Memory()

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
        workspace, pixels, slopes = self._workspace(len(samples))
        loss = classifier.loss_and_gradient(
            w, self._blocked, self._train, samples, workspace, pixels, gradient, slopes
        )
        return float(loss), self._restored(gradient)

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run minibatch RMSProp until the test metric is at most `target`; see `RMSProp`."""
        settings = self.rmsprop
        require_number("target", target)
        theta = require_theta("theta", theta, self._n_parameters)
        w = self._blocks(theta)
        mean_square, gradient = (aligned(w.size, dtype=np.float32) for _ in range(2))
        workspace, pixels, slopes = self._workspace(self.batch)
        row = aligned(classifier.PANEL, dtype=np.float32)
        tests = np.arange(len(self.X_test))
        look = float(len(self.X_test)) * self._n_parameters
        chunk = max(1, int(WORK_BETWEEN_SIGNALS / (3.0 * self.batch * self._n_parameters + look)))
        wanted = target * (1.0 - FLOAT32_ROUNDING)
        step, order, taken = 0, np.empty((0, self.batch), dtype=np.int64), 0
        while True:
            if taken == len(order):
                order, taken = self._batches(rng), 0
            before = step
            step, reached = classifier.descend(
                w,
                mean_square,
                self._blocked,
                self.metric == "error",
                wanted,
                self._train,
                self._test,
                order[taken : taken + chunk],
                tests,
                *settings.numbers,
                step,
                settings.budget,
                workspace,
                pixels,
                gradient,
                slopes,
                row,
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
        require_kind("rng", rng, np.random.Generator, "np.random.default_rng(0)")
        order = rng.permutation(len(self.X))[: batches * self.batch]
        return order.reshape(batches, self.batch)

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set, the metric at each t (T,)."""
        losses, wrong = self._gammas(theta1, theta2, require_t(t))
        return losses if self.metric == "loss" else wrong

    @cached_property
    def proof_data(self) -> certify.ProofData:
        """The network and its test set, as `certify` needs them."""
        return certify.ProofData(
            self._layers,
            parts.ERROR if self.metric == "error" else parts.CROSS_ENTROPY,
            self._counts,
            np.abs(self.X_test).max(axis=0).astype(np.float64),
            labels=self._tile_labels,
        )

    def _first_layers(
        self, theta1: np.ndarray, theta2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.first_layer(theta1), self.first_layer(theta2)

    def first_layer(self, theta: np.ndarray) -> np.ndarray:
        """The first layer's pre-activations on the test set, in tiles; remembered."""
        key = theta.tobytes()
        known = self._memory.get(key)
        if known is not None:
            return known
        (W, b), *_ = self.model.unpack(theta)
        assert b is not None
        # What a descent found is float32, and takes half the time to read.
        with np.errstate(over="ignore"):  # a weight beyond float32 is not exact there
            exact = (W.astype(np.float32) == W).all()
        weights = aligned(*W.shape, dtype=np.float32 if exact else np.float64)
        weights[:] = W
        tiles = aligned(len(self._members), W.shape[1] * TILE)
        classifier_gamma.first_layer(weights, b, *self._sparse_test, self._members, aligned(16, b.size), tiles)
        self._memory.keep(key, tiles)
        return tiles

    def _gammas(
        self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        theta1, theta2 = require_ends(theta1, theta2, self._n_parameters)
        losses, wrong = np.empty(t.size), np.empty(t.size)
        tiles1, tiles2 = self.first_layer(theta1), self.first_layer(theta2)
        later = self._n_parameters - self.model.sizes[0] * self.model.sizes[1]
        chunk = max(1, int(WORK_BETWEEN_SIGNALS / (float(len(self.X_test)) * later)))
        for start in range(0, t.size, chunk):
            part = slice(start, start + chunk)
            classifier_gamma.gammas(
                t[part],
                theta1,
                theta2,
                tiles1,
                tiles2,
                self._layers,
                self._tile_labels,
                self._counts,
                len(self.X_test),
                aligned(self._n_parameters),
                aligned(2, max(self.model.sizes[1:]) * TILE),
                aligned(3, TILE),
                losses[part],
                wrong[part],
            )
        return losses, wrong

    def _first(self, w: np.ndarray) -> np.ndarray:
        """The first layer's weights, (blocks, n_in, TILE), as a view of a descent's vector."""
        n_in = self.model.sizes[0]
        return w[: self._blocked[0, 3]].reshape(-1, n_in, TILE)

    def _workspace(self, batch: int) -> tuple[Any, Any, np.ndarray]:
        """Make the workspaces of `wide`'s descents and gradients, around a gradient."""
        n_in, h = self.model.sizes[:2]
        tiles = [_whole_tiles(units) for units in self.model.sizes[1:]]
        dense = self._train[0] is None
        workspace = (
            aligned(TILE * n_in, dtype=np.float32) if dense else None,
            aligned(tiles[0] * TILE, dtype=np.float32),
            aligned(sum(tiles) * TILE, dtype=np.float32),
            aligned(3, max(tiles) * TILE, dtype=np.float32),
            aligned(max(tiles) * TILE, dtype=np.float32),
            aligned(3, TILE),
        )
        if dense:
            return workspace, None, aligned(tiles[0] // TILE, TILE, TILE, dtype=np.float32)
        starts = self._train[0]
        most = min(batch * int(np.diff(starts).max()), int(starts[-1]))
        pixels = (
            np.empty(n_in, dtype=np.int64),
            np.empty(most, dtype=np.min_scalar_type(batch - 1)),
            np.empty(most, dtype=np.float32),
        )
        return workspace, pixels, aligned(-(-h // classifier.PANEL), batch, classifier.PANEL, dtype=np.float32)

    def _blocks(self, theta: np.ndarray) -> np.ndarray:
        """θ as a descent's vector, in float32; see `wide`."""
        end = self._blocked[-1, 3] + self._blocked[-1, 1]
        w = aligned(end, dtype=np.float32)
        with np.errstate(over="ignore"):  # a weight beyond float32 makes the descent diverge
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
            n_in, n_out, weights, biases = self._blocked[layer, :4]
            if layer == 0:
                blocks = self._first(w)
                for block in range(len(blocks)):
                    columns = slice(block * TILE, (block + 1) * TILE)
                    units = len(b[columns])
                    offset = w[biases + block * TILE :][:units]
                    yield (blocks[block, :, :units], offset), (W[:, columns], b[columns])
            else:
                transposed = w[weights : weights + n_in * n_out].reshape(n_out, n_in)
                yield (transposed.T, w[biases : biases + n_out]), (W, b)


class _Memory:
    """The `REMEMBERED` first layers used last, by their θ; empty again in a copy."""

    def __init__(self) -> None:
        self._tiles: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    def get(self, key: bytes) -> np.ndarray | None:
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def keep(self, key: bytes, tiles: np.ndarray) -> None:
        with self._lock:
            self._tiles[key] = tiles
            while len(self._tiles) > REMEMBERED:
                self._tiles.popitem(last=False)


def _checked(
    suffix: str, model: MLP, X: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    X = numbers(f"X{suffix}", X, np.float32)
    if X.ndim != 2 or X.shape[1] != model.sizes[0] or len(X) == 0:
        raise NconvexError(
            f"X{suffix} has shape {X.shape}; the model needs (N, {model.sizes[0]}), N ≥ 1"
        )
    require_finite(f"X{suffix}", X)
    return X, _classes(f"labels{suffix}", labels, len(X), model.sizes[-1])


def _classes(name: str, given: np.ndarray, samples: int, classes: int) -> np.ndarray:
    """Return labels as integers (samples,); refuse others, and say what would make them such."""
    try:
        labels = np.asarray(given)
    except Exception:  # ragged lists, or other packages' arrays
        raise NconvexError(f"{name} must be an array, not {shown(given)}") from None
    kind = labels.dtype.kind
    if labels.shape == (samples, classes) and classes > 1:
        advice = f"one-hot rows become classes by {name}.argmax(axis=1)"
    elif labels.shape == (samples, 1):
        advice = f"a column becomes a vector by {name}.ravel()"
    elif labels.shape != (samples,):
        advice = f"give one for each of the {samples} samples"
    elif kind in "US" or (kind == "O" and all(isinstance(label, str) for label in labels)):
        advice = f"names become numbers by np.unique({name}, return_inverse=True)[1]"
    elif kind == "b" or (kind == "f" and (labels == np.rint(labels)).all()):
        advice = f"{name}.astype(int) makes them integers"
    elif kind not in "iu":
        advice = "give the numbers of the classes"
    elif labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        advice = f"{name}[{wrong}] is {labels[wrong]}"
        if labels.min() == 1 and labels.max() == classes:
            advice += f"; if they count from 1, give {name} - 1"
    else:
        return labels.astype(np.int64)
    raise NconvexError(
        f"{name} must be {samples} integers from 0 to {classes - 1}, not {labels.dtype} of shape "
        f"{labels.shape}: {advice}"
    )


def _whole_tiles(units: int) -> int:
    return -(-units // TILE) * TILE


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
        tiles += [members[start : start + TILE] for start in range(0, len(members), TILE)]
    filled = np.array([np.pad(tile, (0, TILE - len(tile)), "edge") for tile in tiles])
    return labels[[tile[0] for tile in tiles]], filled, np.array([len(tile) for tile in tiles])
