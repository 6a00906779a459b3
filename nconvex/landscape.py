"""What the sampler needs to know of a loss surface, and how to make it from any f: ℝⁿ → ℝ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from nconvex import textbook
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    DescentStatus,
    EndpointAboveL0,
    NconvexError,
    RMSProp,
    Seed,
    child,
    numbers,
    require_ends,
    require_kind,
    require_number,
    require_positive,
    require_t,
    require_theta,
    shown,
    told_apart,
)


class Landscape(Protocol):
    """A loss surface, as `connect` sees it: no layers, no data.

    Example: see `FunctionLandscape`.
    """

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


@runtime_checkable
class Reviving(Protocol):
    """A landscape that knows moves which give a model that is stuck new freedom."""

    def revive(self, theta: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return θ folded, and θ revived; see `redundancy.revive`."""
        ...

    def with_descents(self, rmsprop: RMSProp) -> Landscape:
        """Return the same landscape with other settings of its descents."""
        ...


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


def descent_status(loss: float, target: float) -> DescentStatus:
    """Tell how a descent ended from the loss it reached."""
    if loss <= target:
        return DescentStatus.REACHED
    return DescentStatus.BUDGET_SPENT if np.isfinite(loss) else DescentStatus.DIVERGED


def settings(rmsprop: RMSProp | None) -> RMSProp:
    """Return the settings of descents, by default `RMSProp`'s own."""
    if rmsprop is not None:
        require_kind("rmsprop", rmsprop, RMSProp, "RMSProp(budget=1000)")
    return RMSProp() if rmsprop is None else rmsprop


def require_landscape(landscape: object) -> None:
    """Raise NconvexError unless a landscape has the methods of `Landscape`."""
    missing = [
        name
        for name in ("loss", "descend", "gamma")
        if not callable(getattr(landscape, name, None))
    ]
    if missing:
        raise NconvexError(
            f"a landscape has methods loss, descend and gamma, as a Problem does; "
            f"{shown(landscape)} has no {', '.join(missing)}"
        )


def require_threshold(landscape: object, L0: float) -> None:
    """Raise NconvexError unless L0 is a threshold that some models of a landscape exceed."""
    require_positive("L0", L0)
    highest = getattr(landscape, "highest", np.inf)
    if highest <= L0:
        raise NconvexError(
            f"L0 must be below {highest:g}, not {L0!r}: {quantity(landscape)} never exceeds that"
        )


def accepted(
    landscape: Landscape, theta1: np.ndarray, theta2: np.ndarray, L0: float, seed: Seed
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Check what every search is given; return copies of both ends, and the seed as a tuple.

    Raises:
        NconvexError: An argument is out of its range or an end has the wrong shape.
        EndpointAboveL0: An end's loss exceeds L₀.
    """
    require_landscape(landscape)
    require_threshold(landscape, L0)
    theta1, theta2 = (theta.copy() for theta in require_ends(theta1, theta2))
    seed = child(seed)
    for name, theta in (("theta1", theta1), ("theta2", theta2)):
        if not (loss := landscape.loss(theta)) <= L0:
            height, level = told_apart(loss, L0)
            raise EndpointAboveL0(
                f"{name} has {quantity(landscape)} {height}, above L0 = {level}; train it further "
                "or raise L0"
            )
    return theta1, theta2, seed


def quantity(landscape: object) -> str:
    """What a landscape's heights are called: "loss", unless it has a word of its own."""
    return str(getattr(landscape, "quantity", "loss"))
