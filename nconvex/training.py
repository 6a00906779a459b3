"""Step 1: train a model from a random start to the threshold L₀."""

from __future__ import annotations

import numpy as np

from nconvex.definitions import (
    Descent,
    DescentStatus,
    Seed,
    Training,
    TrainingStatus,
    child,
    generator,
    require_integer,
)
from nconvex.landscape import Trainable, require_landscape, require_threshold

#: Starts drawn before a model counts as untrainable. On QUAD at L₀ = 1e-3 about 3 % of starts are
#: untrainable (dead ReLUs), so twenty in a row mean that L₀ is out of reach.
MAX_STARTS = 20


def train(problem: Trainable, L0: float, seed: Seed = 0, max_starts: int = MAX_STARTS) -> Training:
    """Train a model until its test loss is at most L₀ (step 1 of the draft).

    A start from which L₀ is not reached within the budget, e.g. because of dead ReLUs, is drawn
    again from the next child of the seed, up to `max_starts` times. The draft does not say what
    to do with such starts; they are counted in the result.

    Args:
        problem: Gives starts, and descends from them.
        L0: The threshold.
        seed: Names the random stream.
        max_starts: Starts to draw before giving up with status UNTRAINABLE.

    Example:
        >>> import nconvex as nc
        >>> nc.train(nc.quad.problem(samples=100), L0=1e-2, seed=1).status.name
        'TRAINED'
    """
    require_landscape(problem)
    require_threshold(problem, L0)
    require_integer("max_starts", max_starts, 1)
    descents: list[Descent] = []
    while len(descents) < max_starts:
        rng = generator(child(seed, len(descents)))
        descents.append(problem.descend(problem.initial(rng), L0, rng))
        if descents[-1].status is DescentStatus.REACHED:
            break
    best = min(descents, key=lambda descent: (np.isnan(descent.loss), descent.loss))
    reached = best.status is DescentStatus.REACHED
    return Training(
        theta=best.theta,
        loss=best.loss,
        steps=sum(descent.steps for descent in descents),
        starts=len(descents),
        status=TrainingStatus.TRAINED if reached else TrainingStatus.UNTRAINABLE,
    )
