"""The paper's symbols and terms, and the result types that all other files use.

"The draft" is C. D. Freeman and J. Bruna, "How nonconvex is it? Exploring neural network geometry
through Dynamic String Sampling" (July 2016). Its equations and steps are referred to by number.
"The later paper" is theirs, too: "Topology and Geometry of Half-Rectified Network Optimization",
ICLR 2017. "The authors' code" is what they published with the draft.

================  ========================  =======================================================
symbol            name here                 meaning
================  ========================  =======================================================
θ                 ``theta``                 one flat parameter vector: weights and biases
L(X, θ)           ``loss(theta)``           mean loss over the test set, which descent never sees
Θ(θ₁, θ₂, t)      ``interpolate``           eq. (1): θ₁ (1 - t) + θ₂ t
γ(θ₁, θ₂)(t)      ``gamma``                 eq. (2): t ↦ L(X, Θ(θ₁, θ₂, t))
t*                ``t_star``                the global maximum of γ on [0, 1]
Γ(θ₁, θ₂)         (cannot be computed)      eq. (3): smallest possible maximum over all paths
S(θ₁, θ₂, α, d)   ``String``                the ordered models: θ₁, the sampler's beads, θ₂
Γ̃(θ₁, θ₂, d, α)   ``max_error``             eq. (4): maximum of γ over the string; Γ ≤ Γ̃
L₀                ``L0``                    the loss that the path must not exceed
α                 ``alpha``                 beads are trained down to α L₀, α in (0, 1]
d                 ``depth``                 recursions allowed
================  ========================  =======================================================

Connected
    Γ̃ ≤ L₀, strictly: no tolerance is granted.
Loss barrier
    Γ̃ minus the larger of the two ends' losses, where that is positive.
Beads
    Models that the sampler inserted; the two ends are not counted. The array `String.beads` holds
    the path's models in order, so both ends, too.
Normalized length
    Length of the string over the distance of its ends, in the space of all weights **and**
    biases; 1 where the string is the straight line, as on a convex surface.
Place
    Where a recursion stands in the tree of halvings: "" the whole, "L" and "R" its halves,
    "LR" the right half of the left one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

import numpy as np

from nconvex.definitions.checks import (
    NconvexError,
    is_number,
    require_integer,
    require_positive,
    shown,
)

VERSION = "0.1.0"

#: How to cite the algorithm.
CITATION = (
    "C. D. Freeman and J. Bruna, How nonconvex is it? Exploring neural network geometry through "
    "Dynamic String Sampling (2016); see also Topology and Geometry of Half-Rectified Network "
    "Optimization, ICLR 2017, arXiv:1611.01540."
)

# -- Statuses: each value is its message ---------------------------------------------------------


class DescentStatus(Enum):
    """How one gradient descent ended."""

    REACHED = "the target loss was reached"
    BUDGET_SPENT = "the budget of steps was spent above the target loss"
    DIVERGED = "the loss became infinite or not a number"


class TrainingStatus(Enum):
    """How the training of an end of the path (step 1) ended.

    Example: see `train`.
    """

    TRAINED = "trained to L0"
    UNTRAINABLE = "every start that was drawn stayed above L0"
    DIVERGED = "from every start that was drawn the loss became infinite or not a number"


class ConnectionStatus(Enum):
    """How the search for a path, or for one segment of it, ended.

    What a verdict rests on, e.g. a proof, is a string's: see `String.verdict`.

    Example:
        >>> ConnectionStatus.CONNECTED.value
        'connected: the loss is at most L0'
    """

    CONNECTED = "connected: the loss is at most L0"
    BEAD_UNTRAINABLE = "not connected: a bead stayed above L0 until its budget was spent"
    BEAD_DIVERGED = "not connected: the descent of a bead became infinite or not a number"
    DEPTH_EXHAUSTED = "not connected: segments above L0 are left at the full depth"
    WITHIN_ROUNDING = "not connected: an end is so close to L0 that rounding hides on which side"
    NOT_TRIED = "not connected: left untried, since another segment had failed"
    INTERRUPTED = "interrupted: segments above L0 were left untried"
    PATH_ABOVE_L0 = "not connected: the path rises above L0"


class Move(Enum):
    """What one recorded step of a search did."""

    INSERT = "a bead was trained where γ is highest, and inserted"
    REPEAT = "a descent that did not reach alpha L0 was repeated, only down to L0"
    REVIVE = "dead units of a model were drawn anew at no change of loss, and the copy was trained"
    LOWER = "a bead of the string was trained further, down to the next level"
    RESHAPE = "the whole path was trained at once"


# -- Configuration and results -------------------------------------------------------------------


class Result:
    """What results have in common: compared by value, arrays too, and shown in a line or two."""

    def _compared(self) -> tuple[Any, ...]:
        values = (getattr(self, each.name) for each in fields(self) if each.compare)  # type: ignore[arg-type]
        return tuple(
            (value.shape, value.dtype.str, value.tobytes())
            if isinstance(value, np.ndarray)
            else value
            for value in values
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.repr}  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{k}={_brief(v)}' for k, v in values.items())})"


def _brief(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"<array {value.shape}>"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple) and len(value) > 3:
        return f"<{len(value)} of {type(value[0]).__name__}>"
    return repr(value)


@dataclass(frozen=True)
class RMSProp:
    """Settings of one gradient descent.

    vₙ₊₁ = decay vₙ + (1 - decay) gₙ²,   θₙ₊₁ = θₙ - rₙ gₙ / (√vₙ₊₁ + epsilon),   v₀ = 0

    The rate rₙ falls geometrically from `learning_rate` to `final_learning_rate` over the budget:
    large steps leave plateaus early on, small ones end the oscillation of ±rate that RMSProp
    keeps up around a minimum. v is not corrected for its start at zero: the long first steps that
    follow made more beads trainable than corrected ones did.

    Attributes:
        learning_rate: Rate of the first step.
        final_learning_rate: Rate after `budget` steps.
        decay: Memory of the mean square, in [0, 1).
        epsilon: Keeps the division finite.
        budget: Steps (gradient evaluations) before a descent gives up.
        check_every: Steps between two evaluations of the test loss.

    Example:
        >>> RMSProp(budget=1000).learning_rate
        0.005
    """

    learning_rate: float = 5e-3
    final_learning_rate: float = 1e-4
    decay: float = 0.9
    epsilon: float = 1e-8
    budget: int = 10_000
    check_every: int = 10

    def __post_init__(self) -> None:
        for name in ("learning_rate", "final_learning_rate", "epsilon"):
            require_positive(name, getattr(self, name))
        if not is_number(self.decay) or not 0 <= self.decay < 1:
            raise NconvexError(f"decay must lie in [0, 1), not {shown(self.decay)}")
        require_integer("budget", self.budget, 1)
        require_integer("check_every", self.check_every, 1)

    @property
    def shrink(self) -> float:
        """Factor by which the rate falls in each step."""
        return float((self.final_learning_rate / self.learning_rate) ** (1.0 / self.budget))

    @property
    def numbers(self) -> tuple[float, float, float, float, int]:
        """What the kernels' descents take: rate, shrink, decay, epsilon, check_every."""
        return self.learning_rate, self.shrink, self.decay, self.epsilon, self.check_every


@dataclass(frozen=True, eq=False, repr=False)
class Descent(Result):
    """Where a gradient descent ended.

    Attributes:
        theta: (P,) float64, the last iterate.
        loss: Its loss on the test set.
        steps: Gradient evaluations spent.
        status: Why it ended.
    """

    theta: np.ndarray
    loss: float
    steps: int
    status: DescentStatus


@dataclass(frozen=True, eq=False, repr=False)
class Training(Result):
    """A model trained to L₀ (step 1), or the best of the starts that were tried.

    Attributes:
        theta: (P,) float64.
        loss: Its loss on the test set.
        steps: Gradient evaluations spent, over all starts.
        starts: Starts drawn; all but the last were untrainable.
        status: Whether L₀ was reached.
        iterates: (m, P) the start, a few models of the descent, and its end, if they were kept.

    Example: see `train`.
    """

    theta: np.ndarray
    loss: float
    steps: int
    starts: int
    status: TrainingStatus
    iterates: np.ndarray | None = None


@dataclass(frozen=True, repr=False)
class Peak(Result):
    """The maximum of γ on one segment: lower ≤ max γ ≤ upper.

    Attributes:
        t_star: Where the highest point was seen, in [0, 1].
        lower: γ(t*), less what rounding may have added to it.
        upper: Proven upper bound if certified; else the same as `lower`, the highest point seen.
        certified: Whether both bounds are proven.
        search: Where the search for the bracket stopped, so that it can go on from there.
    """

    t_star: float
    lower: float
    upper: float
    certified: bool
    search: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, repr=False)
class Insertion(Result):
    """One recursion of the sampler; a string's `trace` is the list of them.

    Attributes:
        place: Where it stands in the tree of halvings.
        depth: Its depth in that tree, 0 for the first.
        t_star: Step 2's t* on the segment.
        gamma_before: γ(t*), the loss from which step 3 descends.
        loss_after: The loss that step 3 reached.
        steps: Gradient evaluations it took.
        status: Whether its target was reached: α L₀, or L₀ where it was repeated. A bead that
            ends above L₀ is not inserted.
        move: What it did; the draft's algorithm only inserts.
        attempt: Which attempt it belongs to, where a sampler makes several; the draft's makes one.
    """

    place: str
    depth: int
    t_star: float
    gamma_before: float
    loss_after: float
    steps: int
    status: DescentStatus
    move: Move = Move.INSERT
    attempt: int = 0

    @staticmethod
    def of(
        descent: Descent, before: float, move: Move, place: str = "", t_star: float = 0.0
    ) -> Insertion:
        """Record a descent from a point of loss `before`."""
        results = descent.loss, descent.steps, descent.status
        return Insertion(place, len(place), t_star, before, *results, move)
