"""The vocabulary of the paper, and the plain values that everything else passes around.

"The draft" is C. D. Freeman and J. Bruna, "How nonconvex is it? Exploring neural network geometry
through Dynamic String Sampling" (July 2016). Its equations and steps are referred to by number.

================  ========================  =======================================================
symbol            name here                 meaning
================  ========================  =======================================================
θ                 ``theta``                 one flat parameter vector: weights and biases
L(X, θ)           ``loss(theta)``           mean loss over the test set, which descent never sees
Θ(θ₁, θ₂, t)      ``interpolate``           eq. (1): θ₁ (1 - t) + θ₂ t
γ(θ₁, θ₂)(t)      ``gamma``                 eq. (2): t ↦ L(X, Θ(θ₁, θ₂, t))
t*                ``t_star``                the global maximum of γ on [0, 1]
Γ(θ₁, θ₂)         (cannot be computed)      eq. (3): smallest possible maximum over all paths
S(θ₁, θ₂, α, d)   ``String``                the ordered models ("beads") that the sampler made
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
    Models that the sampler inserted; the two ends are not counted.
Normalized length
    Length of the string over the distance of its ends, in the space of all weights **and**
    biases; 1 where the straight line serves, as on a convex surface.
Place
    Where a recursion stands in the tree of halvings: "" the whole, "L" and "R" its halves,
    "LR" the right half of the left one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeGuard

import numpy as np

VERSION = "0.1.0"

#: How to cite the algorithm.
CITATION = (
    "C. D. Freeman and J. Bruna, How nonconvex is it? Exploring neural network geometry through "
    "Dynamic String Sampling (2016); see also Topology and Geometry of Half-Rectified Network "
    "Optimization, ICLR 2017, arXiv:1611.01540."
)

#: An integer, or the integers of a stream derived from it; see `child`.
Seed = int | tuple[int, ...]


# -- Errors: misuse. "Not connected" is not among them, it is a result. --------------------------


class NconvexError(ValueError):
    """Bad input; the message names the value and says what to do.

    Every function raises it where an argument is of the wrong type or shape, not finite, unknown
    or out of its range, or a file cannot be used; docstrings name what goes beyond that.
    """


class EndpointAboveL0(NconvexError):
    """An end of the path has a loss above L₀, so no path from it can stay below."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a search; `string` is what was found until then, complete and savable."""

    def __init__(self, string: Any):
        super().__init__("interrupted; the string so far is in .string")
        self.string = string


# -- Statuses: each value is its message ---------------------------------------------------------


class DescentStatus(Enum):
    """How one gradient descent ended."""

    REACHED = "the target loss was reached"
    BUDGET_SPENT = "the budget of steps was spent above the target loss"
    DIVERGED = "the loss became infinite or not a number"


class TrainingStatus(Enum):
    """How the training of an end of the path (step 1) ended."""

    TRAINED = "trained to L0"
    UNTRAINABLE = "every start that was drawn stayed above L0"


class ConnectionStatus(Enum):
    """How the search for a path, or for one segment of it, ended."""

    CONNECTED = "connected: the loss is at most L0 all along the path"
    BEAD_UNTRAINABLE = "not connected: a bead stayed above alpha L0 until its budget was spent"
    BEAD_DIVERGED = "not connected: the descent of a bead became infinite or not a number"
    DEPTH_EXHAUSTED = "not connected: segments above L0 are left at the full depth"
    WITHIN_ROUNDING = "not connected: an end is so close to L0 that rounding hides on which side"
    NOT_TRIED = "not connected: left untried, since another segment had failed"
    INTERRUPTED = "interrupted: segments above L0 were left untried"
    PATH_ABOVE_L0 = "not connected: the path rises above L0"


class Move(Enum):
    """What one recorded step of a search did."""

    INSERT = "a bead was trained where γ is highest, and inserted"
    REVIVE = "dead units of a model were drawn anew at no change of loss, and the copy was trained"
    LOWER = "a bead of the string was trained further, down to the next level"
    RESHAPE = "the whole path was trained at once"


# -- Configuration and results -------------------------------------------------------------------


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
        check_every: Steps between two looks at the test loss.
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


@dataclass(frozen=True)
class Descent:
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


@dataclass(frozen=True)
class Training:
    """A model trained to L₀ (step 1), or the best of the starts that were tried.

    Attributes:
        theta: (P,) float64.
        loss: Its loss on the test set.
        steps: Gradient evaluations spent, over all starts.
        starts: Starts drawn; all but the last were untrainable.
        status: Whether L₀ was reached.
    """

    theta: np.ndarray
    loss: float
    steps: int
    starts: int
    status: TrainingStatus


@dataclass(frozen=True)
class Peak:
    """The maximum of γ on one segment: lower ≤ max γ ≤ upper.

    Attributes:
        t_star: Where the highest point was seen, in [0, 1].
        lower: γ(t*), less what rounding may have added to it.
        upper: Proven upper bound if certified; else the same as `lower`, the highest point seen.
        certified: Whether both bounds are proven.
    """

    t_star: float
    lower: float
    upper: float
    certified: bool


@dataclass(frozen=True)
class Insertion:
    """One recursion of the sampler: the trace from which figures and lessons are made.

    Attributes:
        place: Where it stands in the tree of halvings.
        depth: Its depth in that tree, 0 for the first.
        t_star: Step 2's t* on the segment.
        gamma_before: γ(t*), the loss from which step 3 descends.
        loss_after: The loss that step 3 reached.
        steps: Gradient evaluations it took.
        status: Whether α L₀ was reached; if not, no bead was inserted.
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


# -- Randomness: every stream is a child of the one seed, named by its place ----------------------


def child(seed: Seed, *place: int) -> tuple[int, ...]:
    """Derive the seed of a part from the seed of the whole; the order of work plays no role."""
    whole = tuple(seed) if isinstance(seed, tuple | list) else (seed,)
    if not whole:
        raise NconvexError("the seed is an empty tuple; give an integer, e.g. seed=0")
    for number in whole + place:
        require_integer("seed", number, 0, 2**63 - 1)
    return tuple(int(number) for number in whole + place)


def generator(seed: Seed) -> np.random.Generator:
    """Make the random stream of a seed: `SeedSequence(seed[0], spawn_key=seed[1:])`."""
    numbers = child(seed)
    return np.random.default_rng(np.random.SeedSequence(numbers[0], spawn_key=numbers[1:]))


# -- Checks of input, made once, at the edge ------------------------------------------------------


def require_number(name: str, value: float) -> None:
    """Raise NconvexError unless value is a number; infinite ones will do."""
    if not is_number(value) or value != value:
        raise NconvexError(f"{name} must be a number, not {shown(value)}")


def require_positive(name: str, value: float) -> None:
    """Raise NconvexError unless value is a positive finite number."""
    if not is_number(value) or not 0 < value < np.inf:
        raise NconvexError(f"{name} must be a positive finite number, not {shown(value)}")


def require_not_negative(name: str, value: float) -> None:
    """Raise NconvexError unless value is a finite number of at least 0."""
    if not is_number(value) or not 0 <= value < np.inf:
        raise NconvexError(f"{name} must be at least 0 and finite, not {shown(value)}")


def require_integer(name: str, value: int, lowest: int, highest: int = 2**53) -> None:
    """Raise NconvexError unless value is an integer from `lowest` to `highest`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < lowest:
        raise NconvexError(f"{name} must be an integer of at least {lowest}, not {shown(value)}")
    if value > highest:
        raise NconvexError(f"{name} must be at most {highest}, not {shown(value)}")


def require_alpha(alpha: float) -> None:
    """Raise NconvexError unless alpha lies in (0, 1]."""
    if not is_number(alpha) or not 0 < alpha <= 1:
        raise NconvexError(f"alpha must lie in (0, 1], not {shown(alpha)}; the default is 0.8")


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise NconvexError unless value is one of the names."""
    if not isinstance(value, str) or value not in choices:
        raise NconvexError(f"{name} {shown(value)} is unknown; choose from {', '.join(choices)}")


def require_kind(name: str, value: object, kind: type, example: str) -> None:
    """Raise NconvexError unless value is an instance of a class."""
    if not isinstance(value, kind):
        raise NconvexError(
            f"{name} must be of the class {kind.__name__}, e.g. {example}, not {shown(value)}"
        )


def require_theta(name: str, theta: np.ndarray, size: int | None = None) -> np.ndarray:
    """Return theta as a vector that kernels take; raise NconvexError if it is none, or not finite.

    Args:
        name: What to call it in a message.
        theta: (P,) numbers: an array of any kind, also a read-only one, or a sequence.
        size: P, if it is known.

    Returns:
        (P,) float64, contiguous and writable: theta itself if it is that already, else a copy.
    """
    if (
        type(theta) is np.ndarray
        and theta.dtype == np.float64
        and theta.ndim == 1
        and theta.flags.carray
        and theta.size == (size or theta.size) > 0
        and np.isfinite(theta).all()
    ):
        return theta  # the usual case, at a third of the cost
    if isinstance(theta, Training | Descent):
        raise NconvexError(f"{name} is a {type(theta).__name__}; pass its parameters, .theta")
    vector = numbers(name, theta)
    if vector.ndim != 1 or vector.size == 0:
        raise NconvexError(f"{name} must be a flat vector, not of shape {vector.shape}")
    if size is not None and vector.size != size:
        raise NconvexError(f"{name} has {vector.size} parameters; this landscape has {size}")
    require_finite(name, vector)
    return vector


def require_ends(
    theta1: np.ndarray, theta2: np.ndarray, size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of a path, of one size, as `require_theta` does each."""
    theta1 = require_theta("theta1", theta1, size)
    return theta1, require_theta("theta2", theta2, theta1.size)


def require_models(name: str, thetas: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Return two models at least, of one size, as `require_theta` does each."""
    several = isinstance(thetas, list | tuple) or (isinstance(thetas, np.ndarray) and thetas.ndim)
    if not several or len(thetas) < 2:
        raise NconvexError(f"{name} must be two models at least, not {shown(thetas)}")
    first = require_theta(f"{name}[0]", thetas[0])
    return [require_theta(f"{name}[{k}]", theta, first.size) for k, theta in enumerate(thetas)]


def require_t(t: np.ndarray) -> np.ndarray:
    """Return t as a vector (T,), T ≥ 1; raise NconvexError unless it is one, within [0, 1]."""
    vector = numbers("t", t)
    if vector.ndim != 1 or vector.size == 0:
        raise NconvexError(
            f"t must be a vector of one number at least, not of shape {vector.shape}; e.g. [0.5]"
        )
    if not ((vector >= 0.0) & (vector <= 1.0)).all():
        raise NconvexError(f"t must lie in [0, 1], not {shown(t)}")
    return vector


def numbers(name: str, given: object, dtype: type = np.float64) -> np.ndarray:
    """Copy an array, or what NumPy makes one of, into a new contiguous one of floats.

    Raises:
        NconvexError: It does not hold real numbers, or is too large for the memory.
    """
    try:
        array = np.asarray(given)
        if array.dtype.kind in "iufO":  # no text, truth values, dates or complex numbers
            with np.errstate(over="ignore"):
                return np.array(array, dtype=dtype, order="C")
        reason = ""
    except MemoryError:
        raise NconvexError(f"{name} does not fit into the memory; give fewer numbers") from None
    except Exception as error:  # other packages' arrays raise what they like, and say why
        reason = ": " + " ".join(str(error).split())
    kind = type(given).__name__
    if isinstance(given, np.ndarray):
        kind += f" of {given.dtype}"
    raise NconvexError(f"{name} must be an array of numbers, not {kind}{reason}")


def require_finite(name: str, array: np.ndarray) -> None:
    """Raise NconvexError, and say where, unless all of an array is finite."""
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise NconvexError(
            f"{name}{place} is {array[tuple(place)]}; every number there must be finite"
        )


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number that float64 can hold, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return not isinstance(value, int) or abs(value) < 2**1023


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with six digits each, or with all of them where six do not tell them apart."""
    short = f"{a:.6g}", f"{b:.6g}"
    return short if short[0] != short[1] else (repr(float(a)), repr(float(b)))


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and not too long; of an array, its shape."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no integers of more than 4,300 digits
        text = "an integer of too many digits"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
