"""MNIST, the draft's section III.B: a network that reads handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from nconvex.data import digits
from nconvex.definitions import RMSProp
from nconvex.network.classification import Classification
from nconvex.network.mlp import MLP

HIDDEN = (256,)
BATCH = 100
LEARNING_RATE = 1e-3
BUDGET = 20_000

#: Reached by most networks within an epoch or two, on the subset as on all of MNIST.
L0 = {"loss": 0.4, "error": 0.1}

#: Pixels are 0 to 255; divided by a power of two they are exact in binary, unlike by 255.
WHITE = 256.0

#: Steps between two evaluations of the test set; and where it has more images than `MANY`.
CHECK_EVERY, CHECK_EVERY_OF_MANY, MANY = 10, 50, 5_000


def settings(
    test_images: int, learning_rate: float = LEARNING_RATE, budget: int = BUDGET
) -> RMSProp:
    """Make the descents' settings: the rate falls to a tenth over the budget."""
    return RMSProp(
        learning_rate,
        learning_rate / 10.0,
        budget=budget,
        check_every=CHECK_EVERY_OF_MANY if test_images > MANY else CHECK_EVERY,
    )


def problem(
    source: str | digits.Digits = "subset",
    model: MLP | None = None,
    metric: Literal["loss", "error"] = "loss",
    batch: int = BATCH,
    rmsprop: RMSProp | None = None,
    progress: Callable[[str], None] | None = None,
) -> Classification:
    """Make the MNIST landscape; `nc.run_pair(problem(), L0=0.4, seed=0)` is the command.

    Inputs are pixels / 256, from 0 for paper to 0.996 for ink.

    >>> import nconvex as nc
    >>> nc.mnist.problem().model.sizes
    (784, 256, 10)

    Args:
        source: "subset", "full" or a folder, see `digits.load`; or what that returned.
        model: 784 inputs, 10 outputs; by default `MLP((784, 256, 10))`.
        metric: "loss" for cross-entropy, "error" for the share of wrong labels.
        batch: Images a step.
        rmsprop: Settings of the descents; by default `settings`.
        progress: Is told of downloads.
    """
    data = source if isinstance(source, digits.Digits) else digits.load(source, progress)
    return Classification(
        MLP((data.X.shape[1], *HIDDEN, digits.CLASSES)) if model is None else model,
        np.divide(data.X, WHITE, dtype=np.float32),
        data.labels,
        np.divide(data.X_test, WHITE, dtype=np.float32),
        data.labels_test,
        settings(len(data.X_test)) if rmsprop is None else rmsprop,
        batch,
        metric,
    )
