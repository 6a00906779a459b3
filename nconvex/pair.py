"""One pair from beginning to end: train both models, connect them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nconvex import samplers
from nconvex.definitions import Insertion, Seed, Training, TrainingStatus, child
from nconvex.landscape import Trainable
from nconvex.string import String
from nconvex.train import train


@dataclass(frozen=True)
class Pair:
    """Two trained models and the string between them.

    Attributes:
        trainings: Both ends.
        string: The path, or None where an end could not be trained.
    """

    trainings: tuple[Training, Training]
    string: String | None

    @property
    def training_gradient_evaluations(self) -> int:
        """Steps of descent that step 1 took, untrainable starts included."""
        return sum(training.steps for training in self.trainings)


def run_pair(
    problem: Trainable,
    L0: float,
    alpha: float | None = None,
    depth: int | None = None,
    seed: Seed = 0,
    on_training: Callable[[Training], None] | None = None,
    on_insertion: Callable[[Insertion], None] | None = None,
    sampler: str = "plain",
) -> Pair:
    """Train two models to L₀ (step 1) and connect them (steps 2 to 5).

    The ends and the search take children 1, 2 and 3 of the seed; child 0 is left for the data.

    Args:
        problem: The loss surface.
        L0: The threshold.
        alpha: As for `connect`; the sampler's default if left out.
        depth: As for `connect`; the sampler's default if left out.
        seed: Names all random streams.
        on_training: Called with each training when it is done.
        on_insertion: Called with each recursion of the search.
        sampler: A name in `SAMPLERS`; the draft's algorithm by default.

    Raises:
        NconvexError: An argument is out of its range.
        Interrupted: As for `connect`.
    """
    search = samplers.sampler(sampler)
    given = {"alpha": alpha, "depth": depth}
    trainings = []
    for end in (1, 2):
        trainings.append(train(problem, L0, child(seed, end)))
        if on_training is not None:
            on_training(trainings[-1])
    pair = (trainings[0], trainings[1])
    if any(training.status is not TrainingStatus.TRAINED for training in pair):
        return Pair(pair, None)
    string = search(
        problem,
        pair[0].theta,
        pair[1].theta,
        L0,
        seed=child(seed, 3),
        progress=on_insertion,
        **{name: value for name, value in given.items() if value is not None},
    )
    return Pair(pair, string)
