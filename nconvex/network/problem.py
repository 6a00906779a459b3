"""A landscape from a network, a loss and data: the surface that the paper studies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nconvex import curve
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    NconvexError,
    Peak,
    RMSProp,
    require_choice,
    require_ends,
    require_finite,
    require_kind,
    require_number,
    require_t,
    require_theta,
    shown,
)
from nconvex.kernels import parts
from nconvex.landscape import descent_status, settings
from nconvex.network import decay, engines
from nconvex.network.base import NetworkLandscape
from nconvex.network.inputs import checked_matrix
from nconvex.network.mlp import MLP
from nconvex.proof import certify
from nconvex.proof.certify import require_gap

#: The descent's target is lower by this relative amount: its sums have another order than those of
#: `loss`, which decides without tolerance.
ROUNDING = 1e-12

#: Points of a line whose networks are computed at once.
POINTS = 4096

#: A loss of one's own: ℓ(r) and ℓ'(r), each of arrays.
Own = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]

#: The names in `kernels.parts.LOSSES`.
Loss = Literal["mse", "mae", "huber", "log-cosh"]


class Problem(NetworkLandscape):
    """Model + loss + data, as a landscape for `train` and `connect`.

    L(X, θ) = 1/N Σₙ Σₖ ℓ(f(xₙ; θ)ₖ - yₙₖ) + ½ Σₚ κₚ θₚ², with ℓ one of `parts.LOSSES` and κ the
    weight decay, zero by default. The penalty is part of every loss: of what descents minimize,
    of what is reported, and of what is proven. Gradients are the training set's. **Every loss that
    is reported is the test set's**, which no gradient uses. A descent stops by the test loss, too:
    the draft demands "trained to L₀ on the test set".

    Args:
        model: The network.
        loss: "mse", "mae", "huber" or "log-cosh"; formulas in `mlp`. Or one of your own: a pair
            (ℓ, ℓ') of functions of an array of residuals r, each returning one of its shape. It is
            computed by the textbook engine, and not proven but sampled.
        X: (N, d_in) training inputs.
        y: (N, d_out) training targets; one column may be (N,), here and in all data.
        X_test: (M, d_in) test inputs: a set of their own, or what `split` puts aside.
        y_test: (M, d_out) test targets.
        rmsprop: Settings of the descents.
        engine: "textbook" (plain NumPy), "samples" or "regions", by default the fastest that
            can compute the network; see `engines`.
        weight_decay: κ ≥ 0: one number for all parameters, biases too, κ/2 ‖θ‖²; or (P,), one for
            each, e.g. `model.weights_only(0.01)` to leave biases out.

    Example:
        >>> import nconvex as nc
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> problem = nc.Problem(nc.MLP((1, 3, 1)), "mse", x, x**2, x, x**2)
        >>> nc.train(problem, L0=0.05, seed=0).status.name
        'TRAINED'
        >>> quartic = (lambda r: r**4, lambda r: 4 * r**3)
        >>> nc.Problem(nc.MLP((1, 3, 1)), quartic, x, x**2, x, x**2).loss(np.zeros(10)).__round__(4)
        0.1625
    """

    def __init__(
        self,
        model: MLP,
        loss: Loss | Own,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike,
        y_test: ArrayLike,
        rmsprop: RMSProp | None = None,
        engine: engines.Name | None = None,
        weight_decay: float | ArrayLike = 0.0,
    ):
        require_kind("model", model, MLP, "MLP((1, 4, 4, 1))")
        if isinstance(loss, tuple | list):
            loss = _own(loss, model.sizes[-1])
        else:
            require_choice("loss", loss, parts.LOSSES)
        self.model = model
        self.loss_name = loss if isinstance(loss, str) else "own"
        self.rmsprop = settings(rmsprop)
        self.X, self.y = _checked("", model, X, y)
        self.X_test, self.y_test = _checked("_test", model, X_test, y_test)
        self.engine = engines.make(engine, model, loss, self.X, self.y, self.X_test, self.y_test)
        self._n_parameters = model.n_parameters
        self.weight_decay = decay.factors(weight_decay, self._n_parameters)

    def loss(self, theta: np.ndarray) -> float:
        """L(X_test, θ) for θ (P,)."""
        theta = require_theta("theta", theta, self._n_parameters)
        return float(self._losses(theta[None])[0])

    def _losses(self, thetas: np.ndarray) -> np.ndarray:
        """L(X_test, θ) of each row θ of thetas (T, P)."""
        losses = self.engine.losses(thetas)
        if self.weight_decay.size:
            losses += [decay.penalty(self.weight_decay, theta) for theta in thetas]
        return losses

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(X, θ) on the **training** set and its gradient ∂L/∂θ, (P,)."""
        theta = require_theta("theta", theta, self._n_parameters)
        loss, gradient = self.engine.loss_and_gradient(theta)
        if self.weight_decay.size:
            gradient += self.weight_decay * theta
        return loss + decay.penalty(self.weight_decay, theta), gradient

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the gradient of the training set's loss, (P,); `rng` is not needed."""
        return self.loss_and_gradient(theta)[1]

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run full-batch RMSProp until L(X_test, θ) ≤ target; `rng` is not needed."""
        require_number("target", target)
        theta = require_theta("theta", theta, self._n_parameters)
        theta, steps = self.engine.descend(
            theta, target * (1.0 - ROUNDING), self.rmsprop, self.weight_decay
        )
        finite = np.isfinite(theta).all()  # tanh of an infinite weight is finite again
        loss = float(self._losses(theta[None])[0]) if finite else np.inf
        return Descent(theta, loss, steps, descent_status(loss, target))

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set: L(X_test, Θ(θ₁, θ₂, t)) at each t (T,)."""
        theta1, theta2 = require_ends(theta1, theta2, self._n_parameters)
        t = require_t(t)
        some = (t[start : start + POINTS, None] for start in range(0, t.size, POINTS))
        return np.concatenate([self._losses(interpolate(theta1, theta2, each)) for each in some])

    def _bracket(
        self, theta1: np.ndarray, theta2: np.ndarray, L0: float, gap: float | None, known: Any
    ) -> Peak:
        if self.loss_name in parts.LOSSES:
            return super()._bracket(theta1, theta2, L0, gap, known)
        require_gap(L0, gap)
        return curve.maximum(self, *require_ends(theta1, theta2, self._n_parameters))

    @cached_property
    def proof_data(self) -> certify.ProofData:
        """The network and its test set, as `certify` needs them."""
        if self.loss_name not in parts.LOSSES:
            raise NconvexError("nothing is proven of a loss of your own; it is sampled")
        order = np.argsort(self.X_test[:, 0], kind="stable")  # neighbours agree on their ReLUs
        return certify.ProofData(
            self.model.layers,
            parts.LOSSES[self.loss_name],
            certify.counts_of(len(order)),
            np.abs(self.X_test).max(axis=0),
            inputs=certify.in_tiles(self.X_test[order]),
            targets=certify.in_tiles(self.y_test[order]),
            largest_target=np.abs(self.y_test).max(axis=0),
            weight_decay=self.weight_decay,
        )


def _own(loss: Any, outputs: int) -> Own:
    """Check a loss of one's own where all residuals are zero."""
    if len(loss) != 2 or not all(map(callable, loss)):
        raise NconvexError(
            f"a loss of your own must be a pair of functions (value, slope), not {shown(loss)}"
        )
    for name, function in zip(("value", "slope"), loss, strict=True):
        try:
            found = np.asarray(function(np.zeros((2, outputs))), dtype=np.float64)
        except Exception as error:  # whatever it raises, it takes no residuals
            reason = " ".join(str(error).split())[:200]
            raise NconvexError(f"the loss's {name} fails at residuals of 0: {reason}") from None
        if found.shape != (2, outputs):
            raise NconvexError(
                f"the loss's {name} must return an array of its residuals' shape, {(2, outputs)}, "
                f"not {found.shape}"
            )
        require_finite(f"the loss's {name} at 0, ", found)
    return loss[0], loss[1]


def _checked(suffix: str, model: MLP, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    X = checked_matrix(f"X{suffix}", X, model.sizes[0])
    y = checked_matrix(f"y{suffix}", y, model.sizes[-1])
    if len(X) != len(y):
        raise NconvexError(f"X{suffix} has {len(X)} samples but y{suffix} has {len(y)}")
    return X, y
