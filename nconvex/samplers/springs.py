"""The constrained sampler: springs hold each bead near its neighbours, between the ends.

In the appendix of Freeman & Bruna, ICLR 2017 ("the later paper"), step 3 descends not on the loss
alone, but on

    R(θ) = L(θ) + ζ (‖θ - θ₁‖ + ‖θ - θ₂‖) + κ |⟨θ₂ - θ₁, θ - (θ₁ + θ₂)/2⟩|

so that a new bead stays near its neighbours, and near the hyperplane of the points that are as far
from one as from the other. Here the distances are taken relative to ‖θ₂ - θ₁‖, the product relative
to its square, and ζ and κ in units of L₀, so that the same numbers serve at all thresholds and at
all depths of the recursion; in the paper they are raw. The descent still ends when the loss itself
is at most α L₀. It runs in plain Python, one gradient at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nconvex import textbook
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    NconvexError,
    RMSProp,
    require_kind,
    require_not_negative,
)
from nconvex.dss import Plain, Search
from nconvex.landscape import Differentiable, descent_status
from nconvex.reductions import dot, norm
from nconvex.string import String

#: ζ and κ, in units of L₀. On 1-4-4-1 networks stronger springs make paths shorter and keep more
#: beads from getting below L₀: with ζ = 1 half as many pairs connect at 1e-4, with 10 hardly any.
ZETA = 0.1
KAPPA = 1.0

#: Descents of the beads.
BEADS = RMSProp(learning_rate=1e-3, final_learning_rate=1e-5, budget=5000)


class _Springs(Search):
    """The draft's search with another step 3."""

    def run(self, theta1: np.ndarray, theta2: np.ndarray) -> String:
        """Search between two models, if the landscape has a gradient."""
        if not isinstance(self.landscape, Differentiable):
            raise NconvexError("springs need a landscape with a method gradient(theta, rng)")
        return super().run(theta1, theta2)

    @np.errstate(over="ignore", invalid="ignore")  # a descent may diverge
    def descend(
        self,
        start: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        target: float,
        rng: np.random.Generator,
    ) -> Descent:
        """Step 3 on R."""
        landscape, settings = self.landscape, self.sampler
        assert isinstance(landscape, Differentiable)
        assert isinstance(settings, Springs)
        zeta, kappa = settings.zeta * self.L0, settings.kappa * self.L0
        theta, loss, step = textbook.descend(
            start,
            lambda theta: landscape.gradient(theta, rng) + pull(theta, left, right, zeta, kappa),
            landscape.loss,
            target,
            settings.rmsprop,
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


@dataclass(frozen=True)
class Springs(Plain):
    """The draft's algorithm, with beads held by springs.

    The landscape must be `Differentiable`; `connect` refuses others.

    Attributes:
        alpha: As for `Plain`.
        depth: As for `Plain`.
        insert: As for `Plain`; by default "midpoint", as in the later paper.
        zeta: Strength of the springs, in units of L0.
        kappa: Strength of the hyperplane's term, in units of L0.
        rmsprop: Settings of the descents, in place of the landscape's own.

    Example:
        >>> Springs(zeta=0.2).insert
        'midpoint'
    """

    alpha: float = 0.9
    depth: int = 14
    insert: Literal["peak", "midpoint"] = "midpoint"
    zeta: float = ZETA
    kappa: float = KAPPA
    rmsprop: RMSProp = BEADS

    name: ClassVar[str] = "springs"
    search: ClassVar[type[Search]] = _Springs

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative("zeta", self.zeta)
        require_not_negative("kappa", self.kappa)
        require_kind("rmsprop", self.rmsprop, RMSProp, "RMSProp(budget=1000)")
