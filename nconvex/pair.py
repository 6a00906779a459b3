"""One pair from beginning to end: train both models, connect them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from nconvex.definitions import Result, Seed, Training, TrainingStatus, child
from nconvex.dss import Plain, Progress
from nconvex.landscape import Trainable
from nconvex.samplers import Name, connect, sampler_of
from nconvex.string import String
from nconvex.training import train

#: Said of a pair whose ends needed no training.
UNTRAINED = "random starts lie below L0 already, so that this shows little"


@dataclass(frozen=True, repr=False)
class Pair(Result):
    """Two trained models and the string between them.

    Attributes:
        trainings: Both ends.
        string: The path, or None where an end could not be trained.

    Example: see `run_pair`.
    """

    trainings: tuple[Training, Training]
    string: String | None

    def __repr__(self) -> str:
        ends = ", ".join(f"{end.status.name} to {end.loss:.6g}" for end in self.trainings)
        return f"Pair({ends}; {self.string!r})"

    @property
    def training_gradient_evaluations(self) -> int:
        """Steps of descent that step 1 took, untrainable starts included."""
        return sum(training.steps for training in self.trainings)


def run_pair(
    problem: Trainable,
    *,
    L0: float,
    sampler: Name | Plain = "plain",
    alpha: float | None = None,
    depth: int | None = None,
    seed: Seed = 0,
    on_training: Callable[[Training], None] | None = None,
    on_insertion: Progress | None = None,
) -> Pair:
    """Train two models to L₀ (step 1) and connect them (steps 2 to 5).

    The ends and the search take children 1, 2 and 3 of the seed; child 0 is left for the data.

    Args:
        problem: The loss surface.
        L0: The threshold.
        sampler: As for `connect`.
        alpha: As for `connect`.
        depth: As for `connect`.
        seed: Names all random streams.
        on_training: Called with each training when it is done.
        on_insertion: Called with each recursion of the search.

    Warns:
        UserWarning: Both random starts lie below L0, and nothing was trained.

    Raises:
        NconvexError: An argument is out of its range.
        Interrupted: As for `connect`.

    Example:
        >>> import nconvex as nc
        >>> pair = nc.run_pair(nc.quad.problem(samples=100), L0=1e-2, seed=0)
        >>> pair.string.connected
        True
    """
    search = sampler_of(sampler, alpha, depth)
    trainings = []
    for end in (1, 2):
        trainings.append(train(problem, L0, child(seed, end)))
        if on_training is not None:
            on_training(trainings[-1])
    pair = (trainings[0], trainings[1])
    if not any(training.steps for training in pair):
        warnings.warn(f"{UNTRAINED}; lower L0 = {L0!r}", stacklevel=2)
    if any(training.status is not TrainingStatus.TRAINED for training in pair):
        return Pair(pair, None)
    string = connect(
        problem,
        pair[0].theta,
        pair[1].theta,
        L0=L0,
        sampler=search,
        seed=child(seed, 3),
        progress=on_insertion,
    )
    return Pair(pair, string)
