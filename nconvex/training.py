"""Step 1: train a model from a random start to the threshold L₀."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nconvex.definitions import (
    Descent,
    DescentStatus,
    RMSProp,
    Seed,
    Training,
    TrainingStatus,
    child,
    generator,
    require_alpha,
    require_integer,
)
from nconvex.landscape import Trainable, require_landscape, require_threshold
from nconvex.stages import iterates_of

#: Starts drawn before a model counts as untrainable. On QUAD at L₀ = 1e-3 about 3 % of starts are
#: untrainable (dead ReLUs), so twenty in a row mean that L₀ is out of reach.
MAX_STARTS = 20

#: Iterates that are kept at most.
KEPT = 25

#: `auto_L0`: how far below the last level the next one lies, how far beads stay above the last,
#: and how much of the budget it takes to get there: other starts need more.
FURTHER, ROOM, PART = 0.9, 1.05, 0.1

#: `auto_L0`: networks that it trains, and how many times the middle one's level another's may be;
#: a network above is stuck, e.g. by dead ReLUs. On real data one network's level is by chance below
#: what any other reaches.
NETWORKS, STUCK = 3, 3.0


def train(
    problem: Trainable, L0: float, seed: Seed = 0, max_starts: int = MAX_STARTS, keep: bool = False
) -> Training:
    """Train a model until its test loss is at most L₀ (step 1 of the draft).

    A start from which L₀ is not reached within the budget, e.g. because of dead ReLUs, is drawn
    again from the next child of the seed, up to `max_starts` times. The draft does not say what
    to do with such starts; they are counted in the result.

    Args:
        problem: Gives starts, and descends from them.
        L0: The threshold.
        seed: Names the random stream.
        max_starts: Starts to draw before giving up with status UNTRAINABLE.
        keep: Whether a few iterates of the descent are kept, e.g. for `plots.trajectory`. The
            descent is repeated to find them, which takes several times as long.

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
    iterates = None
    if keep:
        name = child(seed, [descent is best for descent in descents].index(True))
        start = problem.initial(generator(name))

        def again(level: float) -> Descent:
            rng = generator(name)
            return problem.descend(problem.initial(rng), level, rng)

        iterates, _ = iterates_of(again, start, problem.loss(start), L0, KEPT)
    if best.status is DescentStatus.REACHED:
        status = TrainingStatus.TRAINED
    elif all(descent.status is DescentStatus.DIVERGED for descent in descents):
        status = TrainingStatus.DIVERGED
    else:
        status = TrainingStatus.UNTRAINABLE
    return Training(
        theta=best.theta,
        loss=best.loss,
        steps=sum(descent.steps for descent in descents),
        starts=len(descents),
        status=status,
        iterates=iterates,
    )


def auto_L0(problem: Trainable, *, alpha: float = 0.8, seed: Seed = 0) -> float:
    """Choose a threshold a little above what three trained networks reach.

    Each is trained to ever lower losses, until it gets no lower or has taken `PART` of a descent's
    budget. L₀ is such that beads, which are trained to α L₀, need to get down to `ROOM` times the
    highest of the three losses; but of `STUCK` times the middle one, if that is less.

    Args:
        problem: Gives starts, and descends from them.
        alpha: The sampler's.
        seed: Its child 4 names the random streams; `run_pair` has the ones below.

    Example:
        >>> import nconvex as nc
        >>> from nconvex.training import auto_L0
        >>> problem = nc.quad.problem(samples=100)
        >>> nc.train(problem, L0=auto_L0(problem), seed=1).status.name
        'TRAINED'
    """
    require_landscape(problem)
    require_alpha(alpha)
    streams = child(seed, 4)
    levels = sorted(_level(problem, generator(child(streams, k))) for k in range(NETWORKS))
    level = min(levels[-1], STUCK * levels[NETWORKS // 2])
    return float(f"{ROOM * level / alpha:.3g}")


def _level(problem: Trainable, rng: np.random.Generator) -> float:
    """Return the loss to which a random start can be trained."""
    rmsprop = getattr(problem, "rmsprop", RMSProp())
    steps, most = 0, max(1, int(PART * rmsprop.budget))
    if hasattr(problem, "with_descents"):  # the last one, in vain, is not to take a whole budget
        problem = problem.with_descents(replace(rmsprop, budget=most))
    theta = problem.initial(rng)
    level = problem.loss(theta)
    while steps <= most:
        descent = problem.descend(theta, FURTHER * level, rng)
        if descent.status is not DescentStatus.REACHED or descent.loss <= 0.0:
            break
        theta, level, steps = descent.theta, descent.loss, steps + descent.steps
    return level
