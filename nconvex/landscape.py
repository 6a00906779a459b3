"""L(X, θ): what the sampler needs to know of a loss surface."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from nconvex.definitions import (
    Descent,
    DescentStatus,
    EndpointAboveL0,
    NconvexError,
    RMSProp,
    Seed,
    child,
    require_ends,
    require_kind,
    require_positive,
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
    landscape: Landscape, theta1: ArrayLike, theta2: ArrayLike, L0: float, seed: Seed
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
