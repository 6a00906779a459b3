"""A landscape from a network, a loss and data: the surface that the paper studies."""

from __future__ import annotations

import numpy as np

from nconvex import kernels
from nconvex.curve import interpolate
from nconvex.definitions import Descent, NconvexError, RMSProp, require_theta
from nconvex.landscape import descent_status
from nconvex.model import MLP

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
        self._layers = model.layers
        self._loss = kernels.LOSSES[loss]
        self._train = _units_major(self.X), _units_major(self.y)
        self._test = _units_major(self.X_test), _units_major(self.y_test)

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ, (P,); see `MLP`."""
        return self.model.initial(rng)

    def loss(self, theta: np.ndarray) -> float:
        """L(X_test, θ) for θ (P,)."""
        theta = require_theta("theta", theta, self.model.n_parameters)
        return float(self._losses(theta[None])[0])

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(X, θ) on the **training** set and its gradient ∂L/∂θ, (P,)."""
        theta = require_theta("theta", theta, self.model.n_parameters)
        gradient = _aligned_zeros(theta.size)
        loss = kernels.loss_and_gradient(
            theta, self._layers, self._loss, *self._train, *self._work(), gradient
        )
        return float(loss), gradient

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run full-batch RMSProp until L(X_test, θ) ≤ target; see `RMSProp`. `rng` is not needed.

        Raises:
            NconvexError: theta is of another size or not finite.
        """
        settings = self.rmsprop
        theta = require_theta("theta", theta, self.model.n_parameters).copy()
        mean_square, gradient = _aligned_zeros(theta.size), _aligned_zeros(theta.size)
        work = self._work()
        chunk = self._calls(3 * len(self.X) * settings.check_every) * settings.check_every
        step = 0
        while True:
            last_step = min(step + chunk, settings.budget)
            step, loss = kernels.rmsprop(
                theta,
                mean_square,
                self._layers,
                self._loss,
                *self._train,
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
        theta1 = require_theta("theta1", theta1, self.model.n_parameters)
        theta2 = require_theta("theta2", theta2, self.model.n_parameters)
        t = np.asarray(t, dtype=np.float64)
        chunk = self._calls(len(self.X_test))
        parts = [t[start : start + chunk] for start in range(0, t.size, chunk)]
        return np.concatenate(
            [self._losses(interpolate(theta1, theta2, part[:, None])) for part in parts]
        )

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
        return max(1, int(WORK_BETWEEN_SIGNALS / (float(passes) * self.model.n_parameters)))

    def _losses(self, thetas: np.ndarray) -> np.ndarray:
        losses = np.empty(len(thetas))
        kernels.mean_losses(
            np.ascontiguousarray(thetas),
            self._layers,
            self._loss,
            *self._test,
            *self._work(),
            losses,
        )
        return losses

    def _work(self) -> tuple[np.ndarray, np.ndarray]:
        """Make the kernels' workspaces: activations, deltas. One a call, so threads share none."""
        sizes = self.model.sizes
        return (
            _aligned_zeros(sum(sizes), kernels.TILE),
            _aligned_zeros(2, max(sizes), kernels.TILE),
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


def _units_major(samples: np.ndarray) -> np.ndarray:
    """Lay out (N, d) as (d, N), each row contiguous."""
    rows = _aligned_zeros(samples.shape[1], samples.shape[0])
    rows[:] = samples.T
    return rows


def _aligned_zeros(*shape: int) -> np.ndarray:
    """Make zeros that begin on a cache line, which vector loads and stores are faster from."""
    line = 64
    size = int(np.prod(shape))
    buffer = np.zeros(size + line // 8)
    start = (-buffer.ctypes.data % line) // 8
    return buffer[start : start + size].reshape(shape)
