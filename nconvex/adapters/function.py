"""A landscape from any f: ℝⁿ → ℝ."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

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

#: Relative difference that values of `gamma` may have to those of f, by another order of sums.
AGREEMENT = 1e-9


class FunctionLandscape:
    """A landscape from a function and its gradient, with RMSProp in plain Python.

    Args:
        f: Maps θ (P,) float64 to a loss; the search needs losses above zero near its path, so
            lift the function by a constant where they are not.
        gradient: Maps θ (P,) to ∂f/∂θ (P,). With a second parameter, gradient(θ, rng), it may be
            an estimate from a minibatch that is drawn with rng.
        rmsprop: Settings of the descents; the learning rate is a length in θ's units a step.
        initial: Draws a start; only `train` needs it.
        gamma: Maps θ₁, θ₂ and t (T,) to f(Θ(θ₁, θ₂, t)) at each t, (T,), if that is faster than
            one call of f for each; see `interpolate`.

    Example:
        >>> bowl = FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> bowl.loss(np.array([1.0, 2.0]))
        6.0
        >>> noisy = FunctionLandscape(
        ...     lambda x: 1 + x @ x,
        ...     lambda x, rng: 2 * x + rng.normal(size=x.shape),
        ...     gamma=lambda a, b, t: 1 + (interpolate(a, b, t[:, None]) ** 2).sum(axis=1),
        ... )
        >>> noisy.gamma(np.array([1.0, 2.0]), np.array([-1.0, 2.0]), [0.0, 0.5])
        array([6., 5.])
    """

    def __init__(
        self,
        f: Callable[[np.ndarray], float],
        gradient: Callable[..., np.ndarray],
        rmsprop: RMSProp | None = None,
        initial: Callable[[np.random.Generator], np.ndarray] | None = None,
        gamma: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None,
    ):
        for name, function in (("f", f), ("gradient", gradient), ("gamma", gamma)):
            if not callable(function) and not (name == "gamma" and function is None):
                raise NconvexError(f"{name} must be a function, not {shown(function)}")
        self.rmsprop = settings(rmsprop)
        self._f = f
        self._gradient = gradient
        self._takes_rng = _takes_two(gradient)
        self._initial = initial
        self._gamma = gamma

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
        """Return ∂f/∂θ, or an estimate of it drawn with `rng`."""
        found = self._gradient(theta, rng) if self._takes_rng else self._gradient(theta)
        g = numbers("what gradient returns", found)
        if g.shape != theta.shape:
            raise NconvexError(f"the gradient has shape {g.shape}, not {theta.shape}")
        return g

    @np.errstate(over="ignore", invalid="ignore")  # a descent may diverge
    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run RMSProp until f ≤ target; see `RMSProp` for the formula."""
        require_number("target", target)
        theta = require_theta("theta", theta).copy()
        theta, loss, step = textbook.descend(
            theta, lambda x: self.gradient(x, rng), self.loss, target, self.rmsprop
        )
        return Descent(theta, loss, step, descent_status(loss, target))

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) at each t (T,).

        Raises:
            NconvexError: t has an end, and f there, evaluated once more, is another number.
        """
        theta1, theta2 = require_ends(theta1, theta2)
        t = require_t(t)
        if self._gamma is None:
            values = np.array([self.loss(interpolate(theta1, theta2, s)) for s in t])
        else:
            values = numbers("what gamma returns", self._gamma(theta1, theta2, t))
            if values.shape != t.shape:
                raise NconvexError(f"gamma must return {t.shape} numbers, not {values.shape}")
        for end in (0.0, 1.0):
            for value in values[t == end][:1].tolist():
                self._compare(value, end, self.loss(interpolate(theta1, theta2, end)))
        return values

    def _compare(self, value: float, t: float, again: float) -> None:
        """Raise NconvexError if f at an end is not the value that γ has there."""
        allowed = 0.0 if self._gamma is None else AGREEMENT * abs(again)
        if value == again or abs(value - again) <= allowed or (value != value and again != again):
            return
        name, advice = ("f", "fix its seed, and switch off dropout and the like")
        if self._gamma is not None:
            name, advice = "gamma", "both must be one function, in float64, and deterministic"
        raise NconvexError(
            f"{name} is {value!r} at t = {t:g}, and f, evaluated there again, is {again!r}, a "
            f"difference of {abs(value - again):.3g}; {advice}"
        )


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function demands a second argument."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # functions written in C may not say
        return False
    return sum(p.default is p.empty and p.kind in (0, 1) for p in parameters) >= 2
