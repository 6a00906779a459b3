"""A lower bound of Γ: every path must pass a network of width h - 1, one hidden unit fewer.

A string bounds Γ from above: Γ ≤ Γ̃. Here Γ is bounded from below, for nets with as many hidden
units as there are data. Let V(θ) be the activations of the last hidden layer, one row for each of
its h units, one column for each of the N data, and

    D(θ) = det V(θ)         without an output bias, N = h,
    D(θ) = det [V(θ); 1]    with one, a row of ones appended, N = h + 1.

**Theorem.** If D(θ) D(θ') ≤ 0 then Γ(θ, θ') ≥ L*, the infimum of the loss over all nets with h - 1
units in the last hidden layer and the other layers as they are.

*Proof.* D is continuous, so on every path from θ to θ' it vanishes somewhere, at an end if it is
zero there. At such a point the rows are linearly dependent: Σⱼ aⱼ vⱼ + a₀ 1 = 0 and not all of the
a are zero (without output bias there is no a₀). One of the aⱼ with j ≥ 1 is not zero: otherwise
a₀ 1 = 0, but the row of ones is not zero. So the row vⱼ is a combination of the others, and vⱼ can
be left out if every output weight uₖ is replaced by uₖ - uⱼ aₖ/aⱼ, and the output bias c by
c - uⱼ a₀/aⱼ: the outputs on the data stay the same. The loss depends on the outputs only, hence it
is the loss of a net with one unit fewer, and is at least L*. ∎

Nothing was assumed of the activation, of the other layers, or of the loss. Dead units (zero rows),
parallel rows and ends with D = 0 are covered. Nor can this separator give more: a net with h - 1
units becomes one with h by adding a unit of any input and no output, a copy of another unit, say,
and then D = 0 at the same loss.

The signs are exact. The weights and data are floats, hence rational numbers, and for ReLU units D
is computed from them in rational arithmetic, without rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np

from nconvex.definitions import (
    NconvexError,
    numbers,
    require_finite,
    require_kind,
    require_not_negative,
    require_theta,
)
from nconvex.lower_bounds.rational import determinant, dot, rationals, sign
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem


class Separation(Enum):
    """Why Γ cannot be lower.

    Example: see `lower_bound`.
    """

    ONE_UNIT_FEWER = "every path passes a net with one unit fewer, which has at least this loss"
    ENDS = "every path begins and ends at this loss or below"


@dataclass(frozen=True)
class LowerBound:
    """A proven lower bound of Γ(θ₁, θ₂).

    Attributes:
        value: Γ is at least this.
        signs: The signs of the determinant D at θ₁ and at θ₂.
        reason: What the bound follows from.

    Example: see `lower_bound`.
    """

    value: float
    signs: tuple[int, int]
    reason: Separation

    def describe(self) -> dict[str, np.ndarray]:
        """As arrays, to be saved beside a string; `lower_bound` with this value checks it."""
        return {
            "lower_bound": np.array(self.value),
            "lower_bound_signs": np.array(self.signs),
            "lower_bound_reason": np.array(self.reason.name),
        }


def det_sign(model: MLP, theta: np.ndarray, X: np.ndarray) -> int:
    """Compute the sign of D(θ), -1, 0 or +1, in rational arithmetic: it is exact.

    Args:
        model: A network of ReLU units, h of them in the last hidden layer.
        theta: (P,) its parameters.
        X: (N, n₀) data, N = h without biases and N = h + 1 with biases.

    Example:
        >>> import nconvex as nc
        >>> det_sign(nc.MLP((1, 1, 1), "relu", biases=False), [1.0, 2.0], np.array([[1.0]]))
        1
    """
    require_kind("model", model, MLP, "MLP((2, 3, 2))")
    theta = require_theta("theta", theta, model.n_parameters)
    if model.activation != "relu" or len(model.sizes) < 3:
        raise NconvexError(
            f"the sign is exact for hidden ReLU units, not for sizes {model.sizes} of "
            f"{model.activation}; use MLP((n, h, m))"
        )
    X = numbers("X", X)
    needed = (model.sizes[-2] + model.biases, model.sizes[0])
    if X.shape != needed:
        raise NconvexError(
            f"X has shape {X.shape}; the determinant of {model.sizes[-2]} units "
            f"{'and an output bias' if model.biases else 'without biases'} needs {needed}"
        )
    require_finite("X", X)
    activations = rationals(X)
    for W, b in model.unpack(theta)[:-1]:
        columns = rationals(W.T)
        biases = [Fraction(0)] * len(columns) if b is None else rationals(b[None])[0]
        activations = [
            [
                max(dot(a, column) + bias, Fraction(0))
                for column, bias in zip(columns, biases, strict=True)
            ]
            for a in activations
        ]
    # A row a sample: the transpose has the same determinant.
    return sign(determinant([a + [Fraction(1)] * model.biases for a in activations]))


def lower_bound(
    problem: Problem, theta1: np.ndarray, theta2: np.ndarray, narrower: float
) -> LowerBound:
    """Bound Γ(θ₁, θ₂) from below: by the theorem if D(θ₁) D(θ₂) ≤ 0, else by the ends' losses.

    The ends' losses are taken less what rounding can have added to them, so that either bound may
    be compared with a certified Γ̃.

    Args:
        problem: The surface, of a network that `det_sign` takes, with N data in its test set.
        theta1: (P,) one end.
        theta2: (P,) the other.
        narrower: The infimum L* of the loss at width h - 1, from `narrower_infimum`, or any
            number below it.

    Example: `examples/counterexample.py`.
    """
    require_kind("problem", problem, Problem, "nc.quad.problem()")
    require_not_negative("narrower, which narrower_infimum computes,", narrower)
    first, second = (det_sign(problem.model, theta, problem.X_test) for theta in (theta1, theta2))
    ends = max(0.0, *(problem.bracket(theta, theta).lower for theta in (theta1, theta2)))
    if first * second <= 0 and narrower >= ends:
        return LowerBound(float(narrower), (first, second), Separation.ONE_UNIT_FEWER)
    return LowerBound(ends, (first, second), Separation.ENDS)
