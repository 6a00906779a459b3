"""The straight line between two models: Θ, and the highest point of γ on it (step 2)."""

from __future__ import annotations

from typing import Protocol, TypeGuard

import numpy as np

from nconvex.definitions import Peak

#: Points of the coarse grid on [0, 1], both ends included.
GRID = 101

#: Points that each candidate's bracket is divided by in one round of climbing.
POINTS = 9

#: Climbing ends when the bracket of t* is narrower than this.
TOLERANCE = 1e-6


class Curve(Protocol):
    """What is needed of a landscape here: γ at many t."""

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) at each t (T,): losses (T,). `Problem.gamma` computes it for networks."""
        ...


class Certifying(Protocol):
    """A landscape that can prove how high γ rises."""

    def max_gamma(
        self, theta1: np.ndarray, theta2: np.ndarray, L0: float, known: Peak | None = None
    ) -> Peak:
        """Bracket max γ on the segment, and decide whether it exceeds L₀.

        With L0 = -∞ the bracket is to be narrow. The search may go on from a bracket that is known.
        """
        ...


def certifies(landscape: object) -> TypeGuard[Certifying]:
    """Tell whether a landscape is `Certifying`, faster than isinstance does."""
    return hasattr(landscape, "max_gamma")


def why_sampled(landscape: object) -> str:
    """What stands in the way of a proof, if the landscape says so in its `reason`."""
    reason = getattr(landscape, "reason", None)
    return reason if isinstance(reason, str) else ""


def interpolate(theta1: np.ndarray, theta2: np.ndarray, t: float | np.ndarray) -> np.ndarray:
    """Equation (1): Θ(θ₁, θ₂, t) = θ₁ (1 - t) + θ₂ t, exactly θ₁ at t = 0 and θ₂ at t = 1.

    A column of t, (T, 1), gives a row for each, (T, P).

    Example:
        >>> interpolate(np.array([0.0, 2.0]), np.array([1.0, 4.0]), 0.5)
        array([0.5, 3. ])
    """
    return theta1 * (1.0 - t) + theta2 * t


def peak_between(
    landscape: Curve,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    known: Peak | None = None,
) -> Peak:
    """Find the maximum of γ between two models, with proof where the landscape has one (step 2).

    Args:
        landscape: The loss surface.
        theta1: (P,) float64, where t = 0.
        theta2: (P,) float64, where t = 1.
        L0: What is to be decided is whether γ exceeds it; -∞ if its maximum is to be reported.
        known: What was found of this segment already.
    """
    if certifies(landscape):
        return landscape.max_gamma(theta1, theta2, L0, known)
    return maximum(landscape, theta1, theta2)


def maximum(landscape: Curve, theta1: np.ndarray, theta2: np.ndarray) -> Peak:
    """Find the global maximum of γ: a grid of 101 points, then hill climbing (step 2).

    Every local maximum of the grid that might still rise above the highest point (by as much as
    it differs from its neighbours) is climbed by dividing its bracket again and again, all of
    them side by side, until t* is known to 1e-6. The value returned was evaluated at t*.

    This is a search, not a proof: a spike narrower than the grid's spacing of 0.01 can be missed.
    On the smooth hills that it does see, γ beyond the returned maximum is of second order in the
    tolerance of t*; on a kink it is at most 1e-6 times the slope. A γ that is not a number counts
    as infinite, for it is above every L₀.

    Args:
        landscape: Gives γ at many t.
        theta1: (P,) float64, where t = 0.
        theta2: (P,) float64, where t = 1.
    """
    t = np.linspace(0.0, 1.0, GRID)
    values = _heights(landscape, theta1, theta2, t)
    best = int(np.argmax(values))
    t_star, height = float(t[best]), float(values[best])
    if not np.isfinite(height):
        return Peak(t_star, height, height, certified=False)
    steps = np.abs(np.diff(values))
    left, right = np.concatenate(([0.0], steps)), np.concatenate((steps, [0.0]))
    climbs_from_left = np.concatenate(([True], np.diff(values) >= 0.0))
    falls_to_right = np.concatenate((np.diff(values) <= 0.0, [True]))
    may_be_highest = values + np.maximum(left, right) >= height
    hills = np.flatnonzero(climbs_from_left & falls_to_right & may_be_highest)
    low = t[np.maximum(hills - 1, 0)]
    high = t[np.minimum(hills + 1, GRID - 1)]
    fractions = np.linspace(0.0, 1.0, POINTS + 2)[1:-1]
    while np.max(high - low) > TOLERANCE:
        points = low[:, None] + (high - low)[:, None] * fractions
        values = _heights(landscape, theta1, theta2, points.ravel()).reshape(points.shape)
        row, column = np.unravel_index(np.argmax(values), values.shape)
        if values[row, column] > height:
            t_star, height = float(points[row, column]), float(values[row, column])
        centre = points[np.arange(low.size), np.argmax(values, axis=1)]
        step = (high - low) / (POINTS + 1)
        low, high = np.maximum(centre - step, low), np.minimum(centre + step, high)
    return Peak(t_star, height, height, certified=False)


def _heights(landscape: Curve, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
    values = np.asarray(landscape.gamma(theta1, theta2, t), dtype=np.float64)
    return np.where(np.isnan(values), np.inf, values)
