"""Settings of surveys: task, network, threshold and sampler of a pair; and grids of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from nconvex.data.digits import CLASSES, SIDE
from nconvex.data.polynomials import POLYNOMIALS
from nconvex.definitions import (
    Insertion,
    NconvexError,
    RMSProp,
    Seed,
    require_choice,
    require_integer,
    require_kind,
    require_positive,
    shown,
)
from nconvex.kernels.parts import LOSSES, NONLINEAR
from nconvex.landscape import Trainable
from nconvex.network import MLP, NetworkLandscape
from nconvex.network.classification import METRICS
from nconvex.samplers import SAMPLERS, Name, Plain, connect
from nconvex.string import String
from nconvex.tasks import mnist, quad

TASKS = (*POLYNOMIALS, "mnist")
ACTIVATIONS = (*NONLINEAR, "authors")

#: Letters of the hidden layers in a record, as in "4-4".
LONGEST_SHAPE = 64

#: Letters of the name of a problem of one's own, and which there may be beside letters and digits.
LONGEST_NAME = 32
PUNCTUATION = " -_.+="

#: What belongs to a problem of one's own, and not to its setting.
BLANK: dict[str, Any] = {
    "activation": "", "loss": "", "hidden": (), "samples": 0, "rmsprop": None, "bead_rmsprop": None
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Setting:
    """Task, network, threshold and sampler of a pair: all that it depends on, except the seed.

    >>> import nconvex as nc
    >>> nc.survey.Setting(hidden=(8, 8), L0=1e-2)
    Setting(hidden=(8, 8), L0=0.01)

    Attributes:
        task: "quadratic", "cubic", "authors-cubic" or "mnist" (the subset that ships); or the name
            of a problem of one's own, whose setting has the values `BLANK`: see `of_ones_own`.
        activation: One of `parts.NONLINEAR`, or "authors" for `MLP.of_the_authors`.
        loss: As for `Problem`; "loss" or "error" for MNIST, see `Classification`.
        hidden: Units of each hidden layer, e.g. (4, 4).
        L0: The threshold.
        alpha: Beads are trained to alpha L0.
        depth: Recursions allowed.
        accept: The path may rise to accept L0. Above 1 this departs from the draft: the
            authors' published code accepts 1.1.
        insert: "peak" inserts beads at t*, "midpoint" at 1/2.
        sampler: A name in `SAMPLERS`; "revive" is at its best with alpha 0.9 and depth 14.
        samples: Points of the polynomials' training set, and of their test set.
        rmsprop: Settings of the ends' descents.
        bead_rmsprop: Settings of the beads' descents; those of the ends by default.

    Raises:
        NconvexError: A value is unknown or out of its range.
    """

    task: str = "quadratic"
    activation: str = "relu"
    loss: str = "mse"
    hidden: Sequence[int] = (4, 4)
    L0: float = 1e-3
    alpha: float = 0.8
    depth: int = 10
    accept: float = 1.0
    insert: Literal["peak", "midpoint"] = "peak"
    sampler: Name = "plain"
    samples: int = 1000
    rmsprop: RMSProp | None = field(default_factory=RMSProp)
    bead_rmsprop: RMSProp | None = None

    def __post_init__(self) -> None:
        if self.is_ones_own:
            self._require_name()
        else:
            self._require_network()
        object.__setattr__(self, "hidden", tuple(map(int, self.hidden)))
        require_choice("sampler", self.sampler, SAMPLERS)
        require_positive("L0", self.L0)
        self._sampler(self.alpha)  # refuses its bad settings
        require_positive("accept", self.accept)
        if self.accept < 1.0:
            raise NconvexError(f"accept must be at least 1, not {self.accept!r}")
        for kind, names in ((float, ("L0", "alpha", "accept")), (int, ("depth", "samples"))):
            for name in names:
                object.__setattr__(self, name, kind(getattr(self, name)))  # NumPy's are no JSON

    def _require_name(self) -> None:
        name = self.task
        right = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name == name.strip()
        if not right or not all(each.isalnum() or each in PUNCTUATION for each in name):
            raise NconvexError(
                f"a problem's name has 1 to {LONGEST_NAME} letters, digits, or any of "
                f"{PUNCTUATION!r}, not {shown(name)}"
            )
        for name, blank in BLANK.items():
            if tuple(self.hidden) if name == "hidden" else getattr(self, name) != blank:
                raise NconvexError(f"{name} belongs to a problem of one's own, not to its setting")

    def _require_network(self) -> None:
        is_mnist = self.task == "mnist"
        for name, choices in (
            ("task", TASKS),
            ("activation", NONLINEAR if is_mnist else ACTIVATIONS),
            ("loss", METRICS if is_mnist else tuple(LOSSES)),
        ):
            require_choice(name, getattr(self, name), choices)
        if not isinstance(self.hidden, list | tuple | np.ndarray) or not len(self.hidden):
            raise NconvexError("hidden must name one layer at least, e.g. (4, 4)")
        for units in self.hidden:
            require_integer("a layer's size", units, 1)
        if len(self.shape) > LONGEST_SHAPE:
            raise NconvexError(
                f"hidden {self.shape:.20}... has too many layers for a record's column"
            )
        require_integer("samples", self.samples, 1)
        for name in ("rmsprop", "bead_rmsprop"):
            if name == "rmsprop" or self.bead_rmsprop is not None:
                require_kind(name, getattr(self, name), RMSProp, "RMSProp(budget=1000)")

    def __repr__(self) -> str:
        return _brief(self)

    @staticmethod
    def of_ones_own(name: str, **values: Any) -> Setting:
        """Make the setting of a problem of one's own, which has this name."""
        if name in TASKS:
            raise NconvexError(f"{name} is a task of this package; give your problem another name=")
        return Setting(name, **BLANK, **values)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Setting:
        """Make the setting from which `dataclasses.asdict` made these values."""
        optimizers = {
            name: values[name] and RMSProp(**values[name]) for name in ("rmsprop", "bead_rmsprop")
        }
        return Setting(**values | optimizers)

    @property
    def is_ones_own(self) -> bool:
        """Whether the problem is one's own; only its name is known."""
        blank = (getattr(self, name) == BLANK[name] for name in ("activation", "loss", "rmsprop"))
        return self.task not in TASKS and any(blank)

    @property
    def shape(self) -> str:
        """Units of the hidden layers, as in "4-4"."""
        return "-".join(map(str, self.hidden))

    @property
    def residual(self) -> float:
        """The root mean square residual σ that L₀ stands for, if residuals are normal.

        L₀ is σ² for ``mse``, σ √(2/π) for ``mae``; where residuals stay well below Huber's corner
        and 1, σ²/2 for ``huber`` and ``log-cosh``. Not a number for any other.
        """
        if self.loss == "mse":
            return math.sqrt(self.L0)
        if self.loss == "mae":
            return self.L0 * math.sqrt(math.pi / 2.0)
        return math.sqrt(2.0 * self.L0) if self.loss in ("huber", "log-cosh") else math.nan

    def described(self) -> dict[str, Any]:
        """Return the attributes by name, as records and tables have them."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "hidden": self.shape
        }

    def problem(self, seed: Seed, for_beads: bool = False) -> NetworkLandscape:
        """Make the landscape, with the ends' descents or the beads'."""
        rmsprop = self.bead_rmsprop if for_beads and self.bead_rmsprop else self.rmsprop
        if self.task == "mnist":
            return _mnist(tuple(self.hidden), self.activation, self.loss, rmsprop)
        sizes = (1, *self.hidden, 1)
        activation: Any = self.activation  # one of those that were checked
        loss: Any = self.loss
        authors = activation == "authors"
        model = MLP.of_the_authors(sizes) if authors else MLP(sizes, activation)
        return quad.problem(seed, self.task, model, loss, self.samples, rmsprop)

    def connect(
        self,
        problem: Trainable,
        theta1: np.ndarray,
        theta2: np.ndarray,
        seed: Seed,
        report: Callable[[Insertion], None],
    ) -> String:
        """Search for a path that stays below accept L₀, with the setting's sampler."""
        L0 = self.accept * self.L0
        sampler = self._sampler(self.alpha / self.accept)
        return connect(problem, theta1, theta2, L0=L0, sampler=sampler, seed=seed, progress=report)

    def _sampler(self, alpha: float) -> Plain:
        sampler = SAMPLERS[self.sampler]
        return replace(sampler, alpha=alpha, depth=self.depth, insert=self.insert)


def grid(base: Setting | None = None, **values: Any) -> tuple[Setting, ...]:
    """Make a setting of each combination of values.

    >>> import nconvex as nc
    >>> len(nc.survey.grid(L0=(1e-2, 1e-3), alpha=(0.8, 0.95)))
    4

    Args:
        base: The setting whose other attributes are kept.
        values: By attribute of `Setting`: one value, or several in a list or tuple. Hidden layers
            are tuples, so several of them are a list of tuples.
    """
    base = Setting() if base is None else base
    known = {attribute.name for attribute in fields(Setting)}
    if unknown := sorted(values.keys() - known):
        raise NconvexError(
            f"a setting has no {', '.join(unknown)}; choose from {', '.join(sorted(known))}"
        )
    choices = [
        list(value) if isinstance(value, list | tuple) and not _one_shape(name, value) else [value]
        for name, value in values.items()
    ]
    return tuple(
        replace(base, **dict(zip(values, chosen, strict=True)))
        for chosen in itertools.product(*choices)
    )


def _one_shape(name: str, value: Sequence[Any]) -> bool:
    return name == "hidden" and all(isinstance(units, int | np.integer) for units in value)


def _brief(value: Any) -> str:
    """Write a dataclass as the call that makes it, without arguments that are the defaults."""
    default = type(value)()
    given = [
        f"{each.name}={_brief(of) if isinstance(of, RMSProp) else repr(of)}"
        for each in fields(value)
        if (of := getattr(value, each.name)) != getattr(default, each.name)
    ]
    return f"{type(value).__name__}({', '.join(given)})"


@lru_cache(maxsize=4)
def _mnist(
    hidden: tuple[int, ...], activation: Any, metric: Any, rmsprop: RMSProp
) -> NetworkLandscape:
    """One landscape serves all pairs: the data are the same."""
    return mnist.problem("subset", MLP((SIDE**2, *hidden, CLASSES), activation), metric,
                         rmsprop=rmsprop)  # fmt: skip
