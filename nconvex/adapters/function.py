"""A landscape from any f: ℝⁿ → ℝ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nconvex import textbook
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    NconvexError,
    RMSProp,
    numbers,
    require_ends,
    require_number,
    require_t,
    require_theta,
    shown,
)
from nconvex.landscape import descent_status, settings


class FunctionLandscape:
    """A landscape from a function and its gradient, with RMSProp in plain Python.

    Args:
        f: Maps θ (P,) float64 to a loss; the search needs losses above zero near its path, so
            lift the function by a constant where they are not.
        gradient: Maps θ (P,) to ∂f/∂θ (P,).
        rmsprop: Settings of the descents; the learning rate is a length in θ's units a step.
        initial: Draws a start; only `train` needs it.

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
        for name, function in (("f", f), ("gradient", gradient)):
            if not callable(function):
                raise NconvexError(f"{name} must be a function of θ, not {shown(function)}")
        self.rmsprop = settings(rmsprop)
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
        value = numbers("what f returns", self._f(theta))
        if value.shape != ():
            raise NconvexError(f"f must return one number, not an array of shape {value.shape}")
        return float(value)

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return ∂f/∂θ; `rng` is not needed."""
        g = numbers("what gradient returns", self._gradient(theta))
        if g.shape != theta.shape:
            raise NconvexError(f"the gradient has shape {g.shape}, not {theta.shape}")
        return g

    @np.errstate(over="ignore", invalid="ignore")  # a descent may diverge
    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run RMSProp until f ≤ target; see `RMSProp` for the formula. `rng` is not needed."""
        require_number("target", target)
        theta = require_theta("theta", theta).copy()
        theta, loss, step = textbook.descend(
            theta, lambda x: self.gradient(x, rng), self.loss, target, self.rmsprop
        )
        return Descent(theta, loss, step, descent_status(loss, target))

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) at each t (T,)."""
        theta1, theta2 = require_ends(theta1, theta2)
        return np.array([self.loss(interpolate(theta1, theta2, s)) for s in require_t(t)])
