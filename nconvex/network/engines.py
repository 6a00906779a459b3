"""Engines compute losses, gradients and descents of a network on data: three, with one interface.

``textbook``  plain NumPy, to be read (`nconvex.textbook`)
``samples``   compiled, sample by sample, for every network (`kernels.samples`)
``regions``   compiled, by linear regions, for ReLU networks of one input (`kernels.regions`)

An engine lays out the data, and owns the workspaces. `Problem` has checked its data, which are
float64.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import numpy as np

from nconvex import textbook
from nconvex.definitions import NconvexError, RMSProp, require_choice
from nconvex.kernels import regions, samples
from nconvex.kernels.parts import LOSSES
from nconvex.kernels.vectors import aligned
from nconvex.network.decay import penalty
from nconvex.network.mlp import MLP

#: Multiply-adds after which a kernel returns to Python, which can then hear Ctrl-C. A descent on
#: QUAD needs far fewer: it is one call.
WORK_BETWEEN_SIGNALS = 2e9


class Engine(Protocol):
    """What a `Problem` computes with: losses on the test set, gradients on the training set."""

    def losses(self, thetas: np.ndarray) -> np.ndarray:
        """L(X_test, θ) of each row θ of thetas (T, P), as (T,)."""
        ...

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(X, θ) for θ (P,), and ∂L/∂θ (P,)."""
        ...

    def descend(
        self, theta: np.ndarray, target: float, settings: RMSProp, weight_decay: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Run RMSProp until L(X_test, θ) and the penalty are at most `target`.

        Returns θ and the steps done.
        """
        ...


class Textbook:
    """`nconvex.textbook` on data."""

    def __init__(self, model: MLP, loss: Any, *data: np.ndarray):
        self._network = model, loss
        self._train, self._test = data[:2], data[2:]

    @np.errstate(all="ignore")
    def losses(self, thetas: np.ndarray) -> np.ndarray:
        """L(X_test, θ) of each row of thetas (T, P)."""
        return np.array([textbook.mean_loss(*self._network, each, *self._test) for each in thetas])

    @np.errstate(all="ignore")
    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(X, θ) and ∂L/∂θ."""
        model, loss = self._network
        return (
            textbook.mean_loss(model, loss, theta, *self._train),
            textbook.gradient(model, loss, theta, *self._train),
        )

    @np.errstate(all="ignore")  # a descent that diverges is a result
    def descend(
        self, theta: np.ndarray, target: float, settings: RMSProp, weight_decay: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Run RMSProp until L(X_test, θ) and the penalty are at most `target`."""
        network, train, test = self._network, self._train, self._test

        def gradient(theta: np.ndarray) -> np.ndarray:
            g = textbook.gradient(*network, theta, *train)
            return g + weight_decay * theta if weight_decay.size else g

        def loss(theta: np.ndarray) -> float:
            return textbook.mean_loss(*network, theta, *test) + penalty(weight_decay, theta)

        theta, _, steps = textbook.descend(theta, gradient, loss, target, settings)
        return theta, steps


class BySamples:
    """`kernels.samples` on data: for every network."""

    kernels: Any = samples

    def __init__(self, model: MLP, loss: str, *data: np.ndarray):
        X, y, X_test, y_test = data
        self._sizes = model.sizes
        self._work_of_a_pass = float(model.n_parameters)
        self._network = model.layers, LOSSES[loss]
        self._train = self._stepping = self._laid_out(X, y)
        self._test = self._laid_out(X_test, y_test)

    def _laid_out(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return samples as the kernels need them."""
        return units_major(X), units_major(y)

    def _workspace(self) -> tuple[np.ndarray, ...]:
        return self.kernels.workspace(self._sizes)

    def calls(self, passes: int) -> int:
        """How many times `passes` samples may go through the network between two signals."""
        return max(1, int(WORK_BETWEEN_SIGNALS / (passes * self._work_of_a_pass)))

    def losses(self, thetas: np.ndarray) -> np.ndarray:
        """L(X_test, θ) of each row of thetas (T, P)."""
        losses = np.empty(len(thetas))
        chunk = self.calls(self._test[0].shape[1])
        for start in range(0, len(thetas), chunk):
            some = slice(start, start + chunk)
            rows = np.ascontiguousarray(thetas[some])
            self.kernels.mean_losses(
                rows, *self._network, self._test, self._workspace(), losses[some]
            )
        return losses

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(X, θ) and ∂L/∂θ."""
        gradient = np.empty(theta.size)
        loss = self.kernels.loss_and_gradient(
            theta, *self._network, self._train, self._workspace(), gradient
        )
        return float(loss), gradient

    def descend(
        self, theta: np.ndarray, target: float, settings: RMSProp, weight_decay: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Run RMSProp until L(X_test, θ) and the penalty are at most `target`."""
        theta = theta.copy()
        mean_square, gradient = np.zeros(theta.size), np.empty(theta.size)
        check = settings.check_every
        chunk = self.calls(3 * self._train[0].shape[1] * check) * check
        step, loss = 0, math.inf
        while True:
            last_step = min(step + chunk, settings.budget)
            step, loss = self.kernels.rmsprop(
                theta, mean_square, *self._network, self._stepping, self._test, weight_decay,
                target, settings.numbers, step, last_step, self._workspace(), gradient,
            )  # fmt: skip
            if step == settings.budget or not target < loss < math.inf:
                return theta, int(step)


class ByRegions(BySamples):
    """`kernels.regions` on data: for ReLU networks of one input."""

    kernels = regions

    def __init__(self, model: MLP, loss: str, *data: np.ndarray):
        if not is_piecewise_linear(model):
            raise NconvexError(f"engine 'regions' needs a ReLU network of one input, not {model}")
        super().__init__(model, loss, *data)
        X, Y, ranks, _ = self._train
        if loss == "mse":
            self._stepping = X, Y, ranks, regions.running_sums(X[0], Y)

    def _laid_out(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        X, Y = sorted_by_x(X, y)
        return X, Y, regions.ranked(X[0]), np.empty((0, 0))


Name = Literal["textbook", "samples", "regions"]
ENGINES: dict[str, Any] = {"textbook": Textbook, "samples": BySamples, "regions": ByRegions}


def is_piecewise_linear(model: MLP) -> bool:
    """Tell whether a network is a continuous, piecewise linear function of one input."""
    return (model.sizes[0], model.activation, model.output_activation) == (1, "relu", "identity")


def make(name: str | None, model: MLP, loss: Any, *data: np.ndarray) -> Engine:
    """Make an engine by its name, by default the fastest; functions are for the textbook only."""
    own = not isinstance(loss, str)
    if name is None:
        name = "textbook" if own else "regions" if is_piecewise_linear(model) else "samples"
    require_choice("engine", name, ("textbook",) if own else ENGINES)
    engine: Engine = ENGINES[name](model, loss, *data)
    return engine


def sorted_by_x(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples of one input in the order of x, units-major."""
    order = np.argsort(X[:, 0], kind="stable")
    return units_major(X[order]), units_major(y[order])


def units_major(samples: np.ndarray) -> np.ndarray:
    """Lay out (N, d) as (d, N), each row contiguous."""
    rows = aligned(samples.shape[1], samples.shape[0])
    rows[:] = samples.T
    return rows
