"""What the sampler needs to know of a loss surface, and how to make it from any f: ℝⁿ → ℝ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from nconvex import textbook
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    DescentStatus,
    NconvexError,
    Peak,
    RMSProp,
    require_theta,
)


class Landscape(Protocol):
    """A loss surface, as `connect` sees it: no layers, no data."""

    def loss(self, theta: np.ndarray) -> float:
        """L(X, θ) for θ (P,)."""
        ...

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Descend from θ (P,) until the loss is at most `target` or the budget is spent.

        `theta` itself is left as it is. All randomness comes from `rng`.
        """
        ...

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2): L(X, Θ(θ₁, θ₂, t)) at each t (T,), as (T,) float64."""
        ...


class Certifying(Protocol):
    """A landscape that can prove how high γ rises."""

    def max_gamma(self, theta1: np.ndarray, theta2: np.ndarray, L0: float) -> Peak:
        """Bracket max γ on the segment, settling whether it exceeds L₀; see `certify.maximum`."""
        ...


@runtime_checkable
class Reviving(Protocol):
    """A landscape that knows moves which give a model that is stuck new freedom."""

    def revive(self, theta: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return θ folded, and θ revived; see `redundancy.revive`."""
        ...

    def with_descents(self, rmsprop: RMSProp) -> Landscape:
        """Return the same landscape with other settings of its descents."""
        ...


def certifies(landscape: object) -> TypeGuard[Certifying]:
    """Tell whether a landscape is `Certifying`, faster than isinstance does."""
    return hasattr(landscape, "max_gamma")


@runtime_checkable
class Differentiable(Protocol):
    """A landscape whose gradient can be had anywhere, for methods with descents of their own."""

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the descents' gradient at θ (P,), or an unbiased estimate drawn with `rng`."""
        ...


class Trainable(Landscape, Protocol):
    """A landscape that also knows where training starts (step 1)."""

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ, (P,) float64."""
        ...


class FunctionLandscape:
    """A landscape from a function and its gradient, with RMSProp in plain Python.

    Args:
        f: Maps θ (P,) float64 to a loss; the search needs losses above zero near its path, so
            lift the function by a constant where they are not.
        gradient: Maps θ (P,) to ∂f/∂θ (P,).
        rmsprop: Settings of the descents; the learning rate is a length in θ's units a step.
        initial: Draws a start for `train`, if that is wanted.

    Raises:
        NconvexError: f or its gradient return something of another shape.

    Example:
        >>> bowl = FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> bowl.loss(np.array([1.0, 2.0]))
        6.0
    """

    def __init__(
        self,
        f: Callable[[np.ndarray], float],
        gradient: Callable[[np.ndarray], np.ndarray],
        rmsprop: RMSProp | None = None,
        initial: Callable[[np.random.Generator], np.ndarray] | None = None,
    ):
        self.rmsprop = RMSProp() if rmsprop is None else rmsprop
        self._f = f
        self._gradient = gradient
        self._initial = initial

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ (P,)."""
        if self._initial is None:
            raise NconvexError(
                "this landscape was made without `initial`; pass one that draws a start, e.g. "
                "initial=lambda rng: rng.normal(size=2)"
            )
        return require_theta("the start", self._initial(rng))

    def loss(self, theta: np.ndarray) -> float:
        """Return f(θ)."""
        value = np.asarray(self._f(theta))
        if value.shape != ():
            raise NconvexError(f"f must return one number, not an array of shape {value.shape}")
        return float(value)

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return ∂f/∂θ; `rng` is not needed."""
        g = np.asarray(self._gradient(theta), dtype=np.float64)
        if g.shape != theta.shape:
            raise NconvexError(f"the gradient has shape {g.shape}, not {theta.shape}")
        return g

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run RMSProp until f ≤ target; see `RMSProp` for the formula. `rng` is not needed."""
        theta = require_theta("theta", theta).copy()
        theta, loss, step = textbook.descend(
            theta, lambda x: self.gradient(x, rng), self.loss, target, self.rmsprop
        )
        return Descent(theta, loss, step, descent_status(loss, target))

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) at each t (T,)."""
        return np.array([self.loss(interpolate(theta1, theta2, s)) for s in t])


def descent_status(loss: float, target: float) -> DescentStatus:
    """Tell how a descent ended from the loss it reached."""
    if loss <= target:
        return DescentStatus.REACHED
    return DescentStatus.BUDGET_SPENT if np.isfinite(loss) else DescentStatus.DIVERGED
