"""A landscape from a network, a loss and data: the surface that the paper studies."""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import replace
from functools import cached_property, lru_cache
from math import comb
from types import ModuleType
from typing import Any

import numpy as np

from nconvex import (
    cells,
    cells_1_4_4_1,
    certify,
    enclosure,
    kernels,
    kernels_authors,
    pieces,
    pieces_1_4_4_1,
    redundancy,
    rounding,
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

    L(X, θ) = 1/N Σₙ Σₖ ℓ(f(xₙ; θ)ₖ - yₙₖ), with ℓ one of `kernels.LOSSES`. Gradients are the
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
        if loss not in kernels.LOSSES:
            raise NconvexError(f"loss {loss!r} is unknown; choose from {', '.join(kernels.LOSSES)}")
        self.model = model
        self.loss_name = loss
        self.rmsprop = RMSProp() if rmsprop is None else rmsprop
        self.X, self.y = _checked("", model, X, y)
        self.X_test, self.y_test = _checked("_test", model, X_test, y_test)
        self._kernels = _kernels_for(model)
        self._by_pieces = self._kernels in (pieces, pieces_1_4_4_1)
        self._layers = model.layers
        self._n_parameters = model.n_parameters
        self._loss = kernels.LOSSES[loss]
        self._train = self._laid_out(self.X, self.y)
        self._test = self._laid_out(self.X_test, self.y_test)
        self._sums: tuple[np.ndarray, ...] = ()
        if self._by_pieces:
            X, Y = self._train[:2]
            squared = loss == "mse"
            self._sums = (pieces.running_sums(X[0], Y) if squared else np.empty((0, 0)),)
        self._largest = np.abs(self.X_test).max(axis=0), np.abs(self.y_test).max(axis=0)
        # Neighbours agree on which ReLUs are on, so that in many tiles a unit is all on or all off.
        self._sorted_test = self._test[:2] if self._by_pieces else _sorted(self.X_test, self.y_test)

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
        return certify.maximum(Segment(self, theta1, theta2), L0)

    def bracket(self, theta1: np.ndarray, theta2: np.ndarray, gap: float = certify.GAP) -> Peak:
        """Bracket max γ on the test set, with proof, to a relative gap."""
        return certify.maximum(Segment(self, theta1, theta2), gap=gap)

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
    def _tree(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The test set's cells, their halves, and the cells that a search begins with."""
        X, Y = self._sorted_test
        most = 2 * X.shape[1]
        tree = np.empty((most, cells.OUTPUTS + 3 * len(Y)))
        children = np.empty(most, dtype=np.int64)
        cells.plant(X[0], Y, tree, children, np.empty((most, 2), dtype=np.int64))
        begun = np.zeros(1, dtype=np.int64)
        for _ in range(cells.LEVEL):
            halves = children[begun]
            whole = begun[halves == 0]
            begun = np.concatenate([whole, halves[halves > 0], halves[halves > 0] + 1])
        return tree, children, begun

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

    @property
    def _coefficients(self) -> int:
        """How many the polynomial in t has that bounds the loss."""
        depth = len(self.model.sizes) - 1
        return (2 * depth if self.loss_name == "mse" else depth) + 1

    def _work_for_bounds(self, by_cells: bool) -> tuple[np.ndarray, ...]:
        """The same for `cells` or `enclosure`."""
        sizes = self.model.sizes
        tile = cells.TILE if by_cells else enclosure.TILE
        kind = (by_cells, tile, enclosure.ROOM, self.loss_name, self._n_parameters, sizes)
        if kind not in _workspaces.by_kind:
            if by_cells:
                rows = cells.FIRST + 3 + sum((2 * layer + 3) * n for layer, n in enumerate(sizes))
            else:
                rows = enclosure.FIRST + sizes[0]
                rows += sum((layer + 3) * n for layer, n in enumerate(sizes[1:]))
                if 8 * rows * tile > enclosure.ROOM:
                    tile = enclosure.SHORT_TILE
            widest = max(sizes)
            _workspaces.by_kind[kind] = (
                aligned(rows, tile),
                np.empty(2 * widest + 4),
                np.empty(2 * widest + 4, dtype=np.int64),
                np.empty(sum(sizes), dtype=np.int64),
                np.empty((2 * enclosure.PIECES, self._coefficients)),
                np.empty(self._coefficients),
                np.empty(self._coefficients),
                np.empty(self._n_parameters),
                np.empty(self._n_parameters),
            )
        return _workspaces.by_kind[kind]


class Segment:
    """The bracket of max γ(θ₁, θ₂) on a problem's test set, as it closes; see `certify`.

    Args:
        problem: Network, loss and data.
        theta1: (P,) where t = 0.
        theta2: (P,) where t = 1.
        left: Lower end of the interval of t, a multiple of 2⁻⁴⁰, so that sums with it are exact.
        right: Upper end, likewise.

    Attributes:
        rounding: What floating-point arithmetic can have added to a bound; see `rounding`.
    """

    def __init__(
        self,
        problem: Problem,
        theta1: np.ndarray,
        theta2: np.ndarray,
        left: float = 0.0,
        right: float = 1.0,
    ):
        sizes = problem.model.sizes
        depth = len(sizes) - 1
        widest = max(sizes)
        X, Y = problem._sorted_test
        samples = X.shape[1]
        theta1 = require_theta("theta1", theta1, problem._n_parameters)
        theta2 = require_theta("theta2", theta2, problem._n_parameters)
        scales = (samples, *problem._largest, np.empty((2, widest)), np.empty((2, widest)))
        self._ends = theta1, theta2
        self._by_cells = problem._by_pieces and problem.loss_name == "mse"
        if self._by_cells:
            own = problem._kernels is pieces_1_4_4_1
            self._bracket = cells_1_4_4_1.bracket if own else cells.bracket
            self.rounding, blur = rounding.bound_cells(problem._layers, theta1, theta2, *scales)
            tree, children, begun = problem._tree
            settings: tuple[Any, ...] = (blur,)
            data: tuple[Any, ...] = (X, Y, tree, children)
        else:
            self._bracket = enclosure.bracket
            loss = problem._loss
            self.rounding = rounding.bound(problem._layers, theta1, theta2, loss, *scales)
            settings, data, begun = (), (loss, X, Y), np.arange(samples)
        middle = 0.5 * (left + right)
        self._state = np.array([2.0, middle, -np.inf, -np.inf])
        self._nodes = np.empty((enclosure.STACK, 4))
        self._nodes[:2] = [[np.inf, left, middle, np.nan], [np.inf, middle, right, middle]]
        spans = np.empty((enclosure.STACK, 2), dtype=np.int64)
        spans[:2] = 0, begun.size
        lists = np.empty(2 * enclosure.STACK * samples + 2, dtype=np.uint32)
        lists[: begun.size] = begun
        self._settings = settings
        self._arguments = (
            problem._layers,
            *data,
            _shares(depth),
            self._state,
            self._nodes,
            np.zeros((enclosure.STACK, problem._coefficients)),
            spans,
            lists,
        )
        self._problem = problem

    def tighten(self, L0: float, gap: float, splits: int) -> bool:
        """Halve at most `splits` intervals; tell whether L₀ and gap are settled: see `bracket`."""
        work = self._problem._work_for_bounds(self._by_cells)
        return bool(
            self._bracket(
                *self._ends,
                L0,
                gap,
                self.rounding,
                *self._settings,
                splits,
                *self._arguments,
                *work,
            )
        )

    @property
    def peak(self) -> Peak:
        """The bracket as it is."""
        t_star, height, closed = self._state[1:].tolist()
        if self.rounding == np.inf:
            return Peak(t_star, -np.inf, np.inf, certified=True)
        open_bounds = self._nodes[: int(self._state[0]), 0].tolist()
        upper = max(height, closed, *open_bounds) + self.rounding
        return Peak(t_star, height - self.rounding, upper, certified=True)


class _Workspaces(threading.local):
    def __init__(self) -> None:
        self.by_kind: dict[tuple[Any, ...], tuple[np.ndarray, ...]] = {}


_workspaces = _Workspaces()


@lru_cache
def _shares(degree: int) -> np.ndarray:
    """(d+1, d+1), what a product of two Bernstein coefficients weighs in that of degree 2d."""
    return np.array(
        [
            [
                (1 if i == j else 2) * comb(degree, i) * comb(degree, j) / comb(2 * degree, i + j)
                for j in range(degree + 1)
            ]
            for i in range(degree + 1)
        ]
    )


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
