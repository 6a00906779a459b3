"""QUAD, the draft's section III.A: a small network that regresses a polynomial."""

from __future__ import annotations

from nconvex.data.polynomials import polynomial
from nconvex.definitions import RMSProp, Seed, child
from nconvex.network.engines import Name
from nconvex.network.mlp import MLP
from nconvex.network.problem import Loss, Problem

HIDDEN = (4, 4)
SAMPLES = 1000
L0 = 1e-3


def problem(
    seed: Seed = 0,
    task: str = "quadratic",
    model: MLP | None = None,
    loss: Loss = "mse",
    samples: int = SAMPLES,
    rmsprop: RMSProp | None = None,
    engine: Name | None = None,
) -> Problem:
    """Make the QUAD landscape; `nc.run_pair(problem(seed), L0=1e-3, seed=seed)` is the command.

    >>> import nconvex as nc
    >>> nc.quad.problem(seed=0).model.sizes
    (1, 4, 4, 1)

    Args:
        seed: Its child 0 draws the data.
        task: "quadratic", "cubic" or "authors-cubic".
        model: One input, one output; by default `MLP((1, 4, 4, 1))`, ReLU.
        loss: "mse", "mae", "huber" or "log-cosh".
        samples: Points in each of the training and the test set.
        rmsprop: Settings of the descents.
        engine: "textbook" for plain NumPy; see `Problem`.
    """
    model = MLP((1, *HIDDEN, 1)) if model is None else model
    return Problem(model, loss, *polynomial(task, samples, child(seed, 0)), rmsprop, engine)
