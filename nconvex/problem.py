"""A landscape from a network, a loss and data: the surface that the paper studies."""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import replace
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from nconvex import (
    certify,
    kernels,
    kernels_authors,
    parts,
    pieces,
    pieces_1_4_4_1,
    redundancy,
)
from nconvex.curve import interpolate
from nconvex.definitions import Descent, NconvexError, Peak, RMSProp, require_theta
from nconvex.landscape import descent_status
from nconvex.model import MLP
from nconvex.vectors import aligned

#: The descent aims this much lower, relative to its target: it orders its sums differently than
#: `loss` does, which has the last word and grants no tolerance.
ROUNDING = 1e-12

#: Multiply-adds after which a kernel returns to Python, so that Ctrl-C is heard within seconds. A
#: QUAD descent stays far below and is one call.
WORK_BETWEEN_SIGNALS = 2e9


class Problem:
    """Model + loss + data, as a landscape for `train` and `connect`.

    L(X, θ) = 1/N Σₙ Σₖ ℓ(f(xₙ; θ)ₖ - yₙₖ), with ℓ one of `parts.LOSSES`. Gradients are the
    training set's; **every loss that is reported is the test set's**, which no gradient sees (the
    stopping test of a descent does look at it, as the draft's "trained to L₀ on the test set"
    demands).

    Args:
        model: The network.
        loss: "mse", "mae", "huber" or "log-cosh"; formulas in `model`.
        X: (N, d_in) training inputs.
        y: (N, d_out) training targets.
        X_test: (M, d_in) test inputs.
        y_test: (M, d_out) test targets.
        rmsprop: Settings of the descents.

    Raises:
        NconvexError: Data have other shapes or are not finite, or the loss is unknown.
    """

    def __init__(
        self,
        model: MLP,
        loss: str,
        X: np.ndarray,
        y: np.ndarray,
        X_test: np.ndarray,
        y_test: np.ndarray,
        rmsprop: RMSProp | None = None,
    ):
        if loss not in parts.LOSSES:
            raise NconvexError(f"loss {loss!r} is unknown; choose from {', '.join(parts.LOSSES)}")
        self.model = model
        self.loss_name = loss
        self.rmsprop = RMSProp() if rmsprop is None else rmsprop
        self.X, self.y = _checked("", model, X, y)
        self.X_test, self.y_test = _checked("_test", model, X_test, y_test)
        self._kernels = _kernels_for(model)
        self._by_pieces = self._kernels in (pieces, pieces_1_4_4_1)
        self._layers = model.layers
        self._n_parameters = model.n_parameters
        self._loss = parts.LOSSES[loss]
        self._train = self._laid_out(self.X, self.y)
        self._test = self._laid_out(self.X_test, self.y_test)
        self._sums: tuple[np.ndarray, ...] = ()
        if self._by_pieces:
            X, Y = self._train[:2]
            squared = loss == "mse"
            self._sums = (pieces.running_sums(X[0], Y) if squared else np.empty((0, 0)),)

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ, (P,); see `MLP`."""
        return self.model.initial(rng)

    def loss(self, theta: np.ndarray) -> float:
        """L(X_test, θ) for θ (P,)."""
        theta = require_theta("theta", theta, self._n_parameters)
        return float(self._losses(theta[None])[0])

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(X, θ) on the **training** set and its gradient ∂L/∂θ, (P,)."""
        theta = require_theta("theta", theta, self._n_parameters)
        gradient = np.empty(theta.size)
        loss = self._kernels.loss_and_gradient(
            theta, self._layers, self._loss, *self._train, *self._work(), gradient
        )
        return float(loss), gradient

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the gradient of the training set's loss, (P,); `rng` is not needed."""
        return self.loss_and_gradient(theta)[1]

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run full-batch RMSProp until L(X_test, θ) ≤ target; see `RMSProp`. `rng` is not needed.

        Raises:
            NconvexError: theta is of another size or not finite.
        """
        settings = self.rmsprop
        theta = require_theta("theta", theta, self._n_parameters).copy()
        mean_square, gradient = np.zeros(theta.size), np.empty(theta.size)
        work = self._work()
        chunk = self._calls(3 * len(self.X) * settings.check_every) * settings.check_every
        step = 0
        while True:
            last_step = min(step + chunk, settings.budget)
            step, loss = self._kernels.rmsprop(
                theta,
                mean_square,
                self._layers,
                self._loss,
                *self._train,
                *self._sums,
                *self._test,
                target * (1.0 - ROUNDING),
                settings.learning_rate,
                settings.shrink,
                settings.decay,
                settings.epsilon,
                settings.check_every,
                step,
                last_step,
                *work,
                gradient,
            )
            if step < last_step or step == settings.budget or loss <= target:
                loss = float(self._losses(theta[None])[0])
                return Descent(theta, loss, int(step), descent_status(loss, target))

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set: L(X_test, Θ(θ₁, θ₂, t)) at each t (T,)."""
        theta1 = require_theta("theta1", theta1, self._n_parameters)
        theta2 = require_theta("theta2", theta2, self._n_parameters)
        t = np.asarray(t, dtype=np.float64)
        chunk = self._calls(len(self.X_test))
        parts = [t[start : start + chunk] for start in range(0, t.size, chunk)]
        return np.concatenate(
            [self._losses(interpolate(theta1, theta2, part[:, None])) for part in parts]
        )

    def max_gamma(self, theta1: np.ndarray, theta2: np.ndarray, L0: float) -> Peak:
        """Bracket max γ on the test set, with proof, and settle whether it exceeds L₀.

        Raises:
            NconvexError: An end is of another size or not finite.
        """
        return certify.maximum(self._segment(theta1, theta2), L0)

    def bracket(self, theta1: np.ndarray, theta2: np.ndarray, gap: float = certify.GAP) -> Peak:
        """Bracket max γ on the test set, with proof, to a relative gap."""
        return certify.maximum(self._segment(theta1, theta2), gap=gap)

    def revive(self, theta: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return θ with units that are not needed folded away, and with them drawn anew.

        See `redundancy.revive`; "not needed" is judged on the test set, whose loss must not
        change, and kinks are placed on the training set. A network without a hidden layer, which
        has no such units, stays as it is.

        Raises:
            NconvexError: theta is of another size or not finite.
        """
        theta = require_theta("theta", theta, self._n_parameters)
        if len(self.model.sizes) < 3:
            return theta.copy(), theta.copy()
        return redundancy.revive(self.model, theta, self.loss, self.X_test, self.X, rng)

    def with_descents(self, rmsprop: RMSProp) -> Problem:
        """Return the same landscape with other settings of its descents."""
        other = copy(self)
        other.rmsprop = rmsprop
        return other

    def describe(self) -> dict[str, np.ndarray]:
        """Everything that is needed to recompute losses without this package, as arrays."""
        return {
            "sizes": np.array(self.model.sizes, dtype=np.int64),
            "activation": np.array(self.model.activation),
            "output_activation": np.array(self.model.output_activation),
            "biases": np.array(self.model.biases),
            "loss": np.array(self.loss_name),
            "X_test": self.X_test,
            "y_test": self.y_test,
            "theta_layout": np.array(
                "each row of beads is one theta: layer by layer, first the weights W (m, n) in "
                "row-major order, one row an input unit, then the biases b (n); a @ W + b"
            ),
        }

    def _calls(self, passes: int) -> int:
        """How many times `passes` samples may go through the network between two signals."""
        return max(1, int(WORK_BETWEEN_SIGNALS / (float(passes) * self._n_parameters)))

    def _losses(self, thetas: np.ndarray) -> np.ndarray:
        losses = np.empty(len(thetas))
        self._kernels.mean_losses(
            np.ascontiguousarray(thetas),
            self._layers,
            self._loss,
            *self._test,
            *self._work(),
            losses,
        )
        return losses

    @cached_property
    def _proven(self) -> certify.ProofData:
        """The network and its test set, as the proof needs them."""
        order = np.argsort(self.X_test[:, 0], kind="stable")  # neighbours agree on their ReLUs
        return certify.ProofData(
            self._layers,
            self._loss,
            certify.counts_of(len(order)),
            np.abs(self.X_test).max(axis=0),
            inputs=certify.in_tiles(self.X_test[order]),
            targets=certify.in_tiles(self.y_test[order]),
            largest_target=np.abs(self.y_test).max(axis=0),
        )

    def _segment(self, theta1: np.ndarray, theta2: np.ndarray) -> certify.Segment:
        return certify.Segment(
            self._proven,
            require_theta("theta1", theta1, self._n_parameters),
            require_theta("theta2", theta2, self._n_parameters),
        )

    def _laid_out(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return samples as the kernels need them."""
        if not self._by_pieces:
            return _units_major(X), _units_major(y)
        X, Y = _sorted(X, y)
        return X, Y, pieces.ranked(X[0])

    def _work(self) -> tuple[np.ndarray, ...]:
        """Return the kernels' workspaces. Each thread has its own."""
        sizes = self.model.sizes
        kind = (self._by_pieces, sizes)
        if kind not in _workspaces.by_kind:
            _workspaces.by_kind[kind] = (
                pieces.workspace(sizes)
                if self._by_pieces
                else (
                    aligned(sum(sizes), kernels.TILE),
                    aligned(2, max(sizes), kernels.TILE),
                )
            )
        return _workspaces.by_kind[kind]


class _Workspaces(threading.local):
    def __init__(self) -> None:
        self.by_kind: dict[tuple[Any, ...], tuple[np.ndarray, ...]] = {}


_workspaces = _Workspaces()


def _checked(
    suffix: str, model: MLP, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name, given, columns in (("X", X, model.sizes[0]), ("y", y, model.sizes[-1])):
        name += suffix
        try:
            array = np.array(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise NconvexError(f"{name} must be an array of numbers") from None
        if array.ndim != 2 or array.shape[1] != columns or len(array) == 0:
            hint = f"; use {name}[:, None]" if array.ndim == 1 and columns == 1 else ""
            raise NconvexError(
                f"{name} has shape {array.shape}; the model needs (N, {columns}), N ≥ 1{hint}"
            )
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise NconvexError(f"{name}[{row}] is {array[row]}; remove samples that are not finite")
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise NconvexError(
            f"X{suffix} has {len(arrays[0])} samples but y{suffix} has {len(arrays[1])}"
        )
    return arrays[0], arrays[1]


def _kernels_for(model: MLP) -> ModuleType:
    """Choose a network's kernels."""
    for networks_own, network in (
        (pieces_1_4_4_1, MLP((1, 4, 4, 1))),
        (kernels_authors, MLP.of_the_authors()),
    ):
        if model == replace(network, initialisation=model.initialisation):
            return networks_own
    lines = model.activation == "relu" and model.output_activation == "identity"
    return pieces if lines and model.sizes[0] == 1 else kernels


def _sorted(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(X[:, 0], kind="stable")
    return _units_major(X[order]), _units_major(y[order])


def _units_major(samples: np.ndarray) -> np.ndarray:
    """Lay out (N, d) as (d, N), each row contiguous."""
    rows = aligned(samples.shape[1], samples.shape[0])
    rows[:] = samples.T
    return rows
