"""The later paper's constrained sampler: beads on springs, near the hyperplane between the ends.

In the appendix of Freeman & Bruna, ICLR 2017, step 3 descends not from the loss alone, but from

    R(θ) = L(θ) + ζ (‖θ - θ₁‖ + ‖θ - θ₂‖) + κ |⟨θ₂ - θ₁, θ - (θ₁ + θ₂)/2⟩|

so that a new bead stays near its neighbours, and near the hyperplane of the points that are as far
from one as from the other. Here the distances are taken relative to ‖θ₂ - θ₁‖, the product relative
to its square, and ζ and κ in units of L₀, so that the same numbers serve at all thresholds and at
all depths of the recursion; in the paper they are raw. The descent still ends when the loss itself
is at most α L₀. It runs in plain Python, one gradient at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nconvex import textbook
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    Insertion,
    NconvexError,
    RMSProp,
    Seed,
    require_kind,
    require_not_negative,
)
from nconvex.dss import Search, accepted
from nconvex.landscape import Differentiable, Landscape, descent_status
from nconvex.reductions import dot, norm
from nconvex.string import String

#: ζ and κ, in units of L₀. On 1-4-4-1 networks stronger springs make paths shorter and keep more
#: beads from getting below L₀: with ζ = 1 half as many pairs connect at 1e-4, with 10 hardly any.
ZETA = 0.1
KAPPA = 1.0

#: Descents of the beads.
BEADS = RMSProp(learning_rate=1e-3, final_learning_rate=1e-5, budget=5000)


def connect_with_springs(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    alpha: float = 0.9,
    depth: int = 14,
    seed: Seed = 0,
    progress: Callable[[Insertion], None] | None = None,
    insert: str = "midpoint",
    zeta: float = ZETA,
    kappa: float = KAPPA,
    rmsprop: RMSProp = BEADS,
) -> String:
    """Search for a path below L₀ as `connect` does, with beads held by springs.

    Arguments and errors are those of `connect`, but for these:

    Args:
        landscape: The loss surface; it must be `Differentiable`.
        insert: As for `connect`, but the paper's midpoint by default.
        zeta: Strength of the springs, in units of L0.
        kappa: Strength of the hyperplane, in units of L0.
        rmsprop: Settings of the descents, in place of the landscape's own.
    """
    require_not_negative("zeta", zeta)
    require_not_negative("kappa", kappa)
    require_kind("rmsprop", rmsprop, RMSProp, "RMSProp(budget=1000)")
    if not isinstance(landscape, Differentiable):
        raise NconvexError("springs need a landscape with a method gradient(theta, rng)")
    theta1, theta2, seed = accepted(landscape, theta1, theta2, L0, alpha, depth, insert, seed)
    search = _Springs(landscape, L0, alpha, depth, seed, progress, insert)
    search.held_by(zeta * L0, kappa * L0, rmsprop)
    return search.run(theta1, theta2)


class _Springs(Search):
    """The draft's search with another step 3."""

    sampler = "springs"

    def held_by(self, zeta: float, kappa: float, settings: RMSProp) -> None:
        """Set the strengths, in units of the loss, and the descents."""
        self._zeta, self._kappa, self._settings = zeta, kappa, settings

    @np.errstate(over="ignore", invalid="ignore")  # a descent may diverge
    def descend(
        self, start: np.ndarray, left: np.ndarray, right: np.ndarray, rng: np.random.Generator
    ) -> Descent:
        """Step 3 on R."""
        landscape, target = self.landscape, self.alpha * self.L0
        assert isinstance(landscape, Differentiable)
        theta, loss, step = textbook.descend(
            start,
            lambda theta: (
                landscape.gradient(theta, rng) + pull(theta, left, right, self._zeta, self._kappa)
            ),
            landscape.loss,
            target,
            self._settings,
        )
        return Descent(theta, loss, step, descent_status(loss, target))


def pull(
    theta: np.ndarray, left: np.ndarray, right: np.ndarray, zeta: float, kappa: float
) -> np.ndarray:
    """The gradient of the springs and of the hyperplane's term; 0 where it has none."""
    chord, middle = right - left, interpolate(left, right, 0.5)
    length = max(float(norm(chord)), np.finfo(float).tiny)
    result = (kappa / length**2) * np.sign(dot(chord, theta - middle)) * chord
    for away in (theta - left, theta - right):
        if (distance := float(norm(away))) > 0.0:
            result = result + (zeta / (length * distance)) * away
    return np.asarray(result)
