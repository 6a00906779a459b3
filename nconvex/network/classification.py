"""A landscape from a classifier and labelled data, as the draft's MNIST (section III.B).

Descents run on minibatches in float32, and γ is computed from first layers that are kept; see
`kernels.classifier` and `kernels.classifier_gamma`.

Memory: a model's first layer takes 8 M h bytes for M test samples and h units, 20 MB for 10,000 and
256. At most `REMEMBERED` of them are kept. A process takes 1.3 GB for a string of 50 beads of
784-256-256-10 on all of MNIST, with its figure and its file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    DescentStatus,
    NconvexError,
    RMSProp,
    encoded_labels,
    require_choice,
    require_ends,
    require_integer,
    require_kind,
    require_number,
    require_t,
    require_theta,
)
from nconvex.kernels import classifier, classifier_gamma, parts
from nconvex.kernels.parts import TILE
from nconvex.kernels.vectors import aligned
from nconvex.landscape import descent_status, settings
from nconvex.network import decay
from nconvex.network.base import NetworkLandscape
from nconvex.network.inputs import checked_matrix
from nconvex.network.mlp import MLP
from nconvex.proof import certify

METRICS = ("loss", "error")

#: First layers that are kept: of two ends and of the beads of a few levels of recursion.
REMEMBERED = 12

#: Multiply-adds, a second's, after which a kernel returns to Python, which can then hear Ctrl-C.
WORK_BETWEEN_SIGNALS = 5e9

#: Descents use the dense kernels where more than this share of the inputs is not zero. Here a batch
#: takes the same time either way; see `benchmarks/dense.py`.
DENSE = 0.35

#: Relative error of the float32 metric that stops a descent.
FLOAT32_ROUNDING = 1e-6


class Classification(NetworkLandscape):
    """Model + softmax cross-entropy + labelled data, as a landscape for `train` and `connect`.

    L(X, θ) = 1/N Σₙ -log softmax(f(xₙ; θ))[labelₙ] on the test set. With metric="error" it is the
    share of test samples whose label does not have the highest logit; a tie is an error. In either
    case descents follow the gradient of the training set's cross-entropy, on minibatches drawn
    without replacement, in float32. Weight decay κ adds ½ Σₚ κₚ θₚ² to cross-entropies; with
    metric="error" descents follow it, too, but nothing is added to a share. Every value that is
    reported or compared with L₀ is computed in float64.

    Args:
        model: Has biases, hidden layers, any activation, and one output for each class, its logit.
        X: (N, d_in) training inputs; rounded to float32.
        labels: (N,) integers from 0 to classes - 1; or other integers, names or truth values, of
            as many classes as outputs, which are sorted; or one-hot rows; or one column.
        X_test: (M, d_in) test inputs; rounded to float32. `split` makes a test set.
        labels_test: (M,) of the same classes.
        rmsprop: Settings of the descents.
        batch: Samples a step.
        metric: "loss" for cross-entropy, "error" for the share of wrong labels.
        weight_decay: κ ≥ 0: one number for all parameters, biases too, κ/2 ‖θ‖²; or (P,), one for
            each, e.g. `model.weights_only(0.01)` to leave biases out.

    Attributes:
        classes_: The label that each output stands for, as in scikit-learn.
        quantity: The metric's name in messages.
        highest: The metric's largest possible value.

    Example:
        >>> import nconvex as nc
        >>> X = np.eye(3)[[0, 1, 2, 0, 1, 2]]
        >>> labels = [0, 1, 2, 0, 1, 2]
        >>> problem = nc.Classification(nc.MLP((3, 4, 3)), X, labels, X, labels)
        >>> round(problem.loss(np.zeros(31)), 6)  # log 3
        1.098612
    """

    def __init__(
        self,
        model: MLP,
        X: ArrayLike,
        labels: ArrayLike,
        X_test: ArrayLike,
        labels_test: ArrayLike,
        rmsprop: RMSProp | None = None,
        batch: int = 100,
        metric: Literal["loss", "error"] = "loss",
        weight_decay: float | ArrayLike = 0.0,
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
        n_in, classes = model.sizes[0], model.sizes[-1]
        self.X = checked_matrix("X", X, n_in, np.float32)
        self.X_test = checked_matrix("X_test", X_test, n_in, np.float32)
        self.labels, self.labels_test, self.classes_ = encoded_labels(
            classes, labels, len(self.X), labels_test, len(self.X_test)
        )
        self.y_test = self.labels_test  # the name of every landscape's targets
        self.batch = min(batch, len(self.X))
        self._n_parameters = model.n_parameters
        self.weight_decay = decay.factors(weight_decay, self._n_parameters)
        self._test_csr = _sparse(self.X_test)
        dense = np.count_nonzero(self.X) > DENSE * self.X.size
        self._train_inputs = (*((None, None, self.X) if dense else _sparse(self.X)), self.labels)
        stopping = (None, None, self.X_test) if dense else self._test_csr
        self._stopping_inputs = (*stopping, self.labels_test)
        self._layers = _blocked(model)
        self._tile_labels, self._members, self._counts = _tiles(self.labels_test)
        self._memory = _Memory()

    def loss(self, theta: np.ndarray) -> float:
        """The metric on the test set, for θ (P,)."""
        return float(self.gamma(theta, theta, np.zeros(1))[0])

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean cross-entropy and penalty on the **training** set, and their gradient, (P,)."""
        return self._gradient_of(theta, np.arange(len(self.X)))

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the cross-entropy's gradient on one minibatch, (P,), drawn with replacement."""
        return self._gradient_of(theta, rng.integers(len(self.X), size=self.batch))[1]

    def _gradient_of(self, theta: np.ndarray, samples: np.ndarray) -> tuple[float, np.ndarray]:
        theta = require_theta("theta", theta, self._n_parameters)
        w = self._packed(theta)
        gradient = _short(w.size)
        workspace, pixels, slopes = self._workspace(len(samples))
        loss = classifier.loss_and_gradient(
            w, self._layers, self._train_inputs, samples, workspace, pixels, gradient, slopes
        )
        found = self._unpacked(gradient)
        if self.weight_decay.size:
            found += self.weight_decay * theta
        return float(loss) + decay.penalty(self.weight_decay, theta), found

    def probabilities(self, theta: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """(n, C) the softmax of the network's outputs for some test samples, by their indices."""
        logits = self.model.predict(theta, self.X_test[samples])
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def doubtful(self, thetas: Sequence[np.ndarray], samples: int) -> np.ndarray:
        """Test samples whose label's probability varies most among models, each of another label.

        Args:
            thetas: Models, (P,) each.
            samples: How many of their indices to return at most.
        """
        labels = self.labels_test
        everything = np.arange(len(labels))
        seen = [self.probabilities(theta, everything)[everything, labels] for theta in thetas]
        order = np.argsort(-np.std(seen, axis=0), kind="stable")
        _, first = np.unique(labels[order], return_index=True)
        return order[np.sort(first)][:samples]

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run minibatch RMSProp until the test metric is at most `target`; see `RMSProp`."""
        settings = self.rmsprop
        require_number("target", target)
        theta = require_theta("theta", theta, self._n_parameters)
        w = self._packed(theta)
        mean_square, gradient = (_short(w.size) for _ in range(2))
        workspace, pixels, slopes = self._workspace(self.batch)
        row = _short(classifier.PANEL)
        tests = np.arange(len(self.X_test))
        passes = 3.0 * self.batch + len(self.X_test)  # of a sample through the network, a step
        chunk = max(1, int(WORK_BETWEEN_SIGNALS / (passes * self._n_parameters)))
        kappa = self._packed(self.weight_decay) if self.weight_decay.size else None
        wanted = target * (1.0 - FLOAT32_ROUNDING)
        step, order, taken = 0, np.empty((0, self.batch), dtype=np.int64), 0
        while True:
            if taken == len(order):
                order, taken = self._batches(rng), 0
            before = step
            step, reached = classifier.descend(
                w, mean_square, self._layers, self.metric == "error", kappa, wanted,
                self._train_inputs, self._stopping_inputs, order[taken : taken + chunk], tests,
                *settings.numbers, step, settings.budget, workspace, pixels, gradient, slopes, row,
            )  # fmt: skip
            taken += step - before
            if reached > wanted and step < settings.budget:
                continue  # the batches ran out, or Ctrl-C may be heard
            found = self._unpacked(w)
            if not np.isfinite(found).all():
                return Descent(theta.copy(), np.inf, int(step), DescentStatus.DIVERGED)
            loss = self.loss(found)
            if loss <= target or step == settings.budget or not np.isfinite(loss):
                return Descent(found, loss, int(step), descent_status(loss, target))
            wanted -= 2.0 * (loss - target)  # in float32 the metric was lower

    def _batches(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an epoch's batches, (batches, batch); samples that fill none are left out."""
        batches = len(self.X) // self.batch
        require_kind("rng", rng, np.random.Generator, "np.random.default_rng(0)")
        order = rng.permutation(len(self.X))[: batches * self.batch]
        return order.reshape(batches, self.batch)

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set, the metric at each t (T,)."""
        t = require_t(t)
        losses, wrong = self._gammas(theta1, theta2, t)
        if self.metric == "error":
            return wrong
        if self.weight_decay.size:
            for k, s in enumerate(t):
                losses[k] += decay.penalty(self.weight_decay, interpolate(theta1, theta2, s))
        return losses

    @cached_property
    def proof_data(self) -> certify.ProofData:
        """The network and its test set, as `certify` needs them."""
        return certify.ProofData(
            self.model.layers,
            parts.ERROR if self.metric == "error" else parts.CROSS_ENTROPY,
            self._counts,
            np.abs(self.X_test).max(axis=0).astype(np.float64),
            labels=self._tile_labels,
            weight_decay=self.weight_decay,
        )

    def _first_layers(
        self, theta1: np.ndarray, theta2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.first_layer(theta1), self.first_layer(theta2)

    def first_layer(self, theta: np.ndarray) -> np.ndarray:
        """The first layer's pre-activations on the test set, in tiles; kept for the next call."""
        key = theta.tobytes()
        known = self._memory.get(key)
        if known is not None:
            return known
        (W, b), *_ = self.model.unpack(theta)
        assert b is not None
        # The weights that a descent finds are float32, which takes half the time to read.
        with np.errstate(over="ignore"):  # a weight beyond float32 becomes infinite, not equal
            short = (W.astype(np.float32) == W).all()
        weights = aligned(*W.shape, dtype=np.float32 if short else np.float64)
        weights[:] = W
        tiles = aligned(len(self._members), W.shape[1] * TILE)
        classifier_gamma.first_layer(
            weights, b, *self._test_csr, self._members, aligned(16, b.size), tiles
        )
        self._memory.keep(key, tiles)
        return tiles

    def _gammas(
        self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        theta1, theta2 = require_ends(theta1, theta2, self._n_parameters)
        losses, wrong = np.empty(t.size), np.empty(t.size)
        tiles1, tiles2 = self.first_layer(theta1), self.first_layer(theta2)
        layers = self.model.layers
        workspace = (
            aligned(self._n_parameters),
            aligned(2, max(self.model.sizes[1:]) * TILE),
            aligned(3, TILE),
        )
        work = float(len(self.X_test)) * (self._n_parameters - layers[0, 3])
        chunk = max(1, int(WORK_BETWEEN_SIGNALS / work))
        for start in range(0, t.size, chunk):
            some = slice(start, start + chunk)
            classifier_gamma.gammas(
                t[some], theta1, theta2, tiles1, tiles2, layers, self._tile_labels, self._counts,
                len(self.X_test), *workspace, losses[some], wrong[some],
            )  # fmt: skip
        return losses, wrong

    def _packed(self, theta: np.ndarray) -> np.ndarray:
        """θ as a descent's vector, in float32."""
        w = _short(int(self._layers[-1, [1, 3]].sum()))
        with np.errstate(over="ignore"):  # a weight beyond float32 makes the descent diverge
            for target, source in self._views(w, theta):
                target[:] = source
        return w

    def _unpacked(self, w: np.ndarray) -> np.ndarray:
        """θ of a descent's vector, in float64."""
        theta = np.empty(self._n_parameters)
        for source, target in self._views(w, theta):
            target[:] = source
        return theta

    def _views(self, w: np.ndarray, theta: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
        """Pairs of views of a descent's vector and of θ that hold the same weights or biases."""
        layers = zip(self.model.unpack(theta), self._layers.tolist(), strict=True)
        for (W, b), (n_in, n_out, weights, biases, _) in layers:
            yield w[biases : biases + n_out], b
            if weights > 0:
                yield w[weights : weights + n_in * n_out].reshape(n_out, n_in).T, W
                continue
            for block, first in enumerate(w[:biases].reshape(-1, n_in, TILE)):
                columns = W[:, block * TILE : (block + 1) * TILE]
                yield first[:, : columns.shape[1]], columns

    def _workspace(self, batch: int) -> tuple[Any, Any, np.ndarray]:
        """Make `workspace`, `pixels` and `slopes` of `classifier`'s kernels."""
        n_in = self.model.sizes[0]
        units = [_whole_tiles(each) for each in self.model.sizes[1:]]
        starts = self._train_inputs[0]
        workspace = (
            _short(n_in * TILE) if starts is None else None,
            _short(units[0] * TILE),
            _short(sum(units) * TILE),
            _short(3, max(units) * TILE),
            _short(max(units) * TILE),
            aligned(3, TILE),
        )
        if starts is None:
            return workspace, None, _short(units[0] // TILE, TILE, TILE)
        most = min(batch * int(np.diff(starts).max()), int(starts[-1]))
        pixels = (
            np.empty(n_in, dtype=np.int64),
            np.empty(most, dtype=_index_type(batch)),
            np.empty(most, dtype=np.float32),
        )
        panels = -(-self.model.sizes[1] // classifier.PANEL)
        return workspace, pixels, _short(panels, batch, classifier.PANEL)


class _Memory:
    """The `REMEMBERED` first layers used last, by their θ. A copy is empty."""

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


def _short(*shape: int) -> np.ndarray:
    return aligned(*shape, dtype=np.float32)


def _whole_tiles(units: int) -> int:
    return -(-units // TILE) * TILE


def _blocked(model: MLP) -> np.ndarray:
    """The table of layers of a descent's vector, whose first layer stands in whole tiles."""
    layers = model.layers
    added = (_whole_tiles(model.sizes[1]) - model.sizes[1]) * model.sizes[0]
    layers[0, 3] += added
    layers[1:, 2:4] += added
    return layers


def _sparse(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of X as starts, indices and values of what is not zero; see `kernels.classifier`."""
    inked = X != 0.0
    starts = np.concatenate(([0], np.cumsum(inked.sum(axis=1))))
    columns = np.broadcast_to(np.arange(X.shape[1], dtype=_index_type(X.shape[1])), X.shape)
    return starts.astype(np.int64), columns[inked], X[inked]


def _index_type(count: int) -> Any:
    """Unsigned: numba need not test for negative indices. Short, to be read quickly.

    Not the shortest of all, so that one kernel serves networks of few inputs and of many.
    """
    return np.promote_types(np.uint16, np.min_scalar_type(count - 1))


def _tiles(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each tile's label, its samples (T, TILE), and how many of them are no copies."""
    tiles: list[np.ndarray] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        tiles += [members[start : start + TILE] for start in range(0, len(members), TILE)]
    filled = np.array([np.pad(tile, (0, TILE - len(tile)), "edge") for tile in tiles])
    return labels[[tile[0] for tile in tiles]], filled, np.array([len(tile) for tile in tiles])
