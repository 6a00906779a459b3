"""MNIST, the draft's section III.B: two networks that read handwritten digits, connected.

    python -m nconvex.mnist

By default a 784-256-10 ReLU network, softmax cross-entropy, minibatch RMSProp, on the subset of
5,000 training and 1,000 test images that ships with the package.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nconvex import cli, digits
from nconvex.classification import METRICS, Classification
from nconvex.definitions import NconvexError, RMSProp, require_integer, require_positive
from nconvex.model import MLP
from nconvex.parts import NONLINEAR
from nconvex.string import String

HIDDEN = (256,)
BATCH = 100
LEARNING_RATE = 1e-3
BUDGET = 20_000

#: Reached by most networks within an epoch or two, on the subset as on all of MNIST.
L0 = {"loss": 0.4, "error": 0.1}

#: Pixels are 0 to 255; divided by a power of two they are exact in binary, unlike by 255.
WHITE = 256.0

#: Steps between two looks at the test set: about as long as ten looks take, but not many.
CHECK_EVERY = {"few": 10, "many": 50}
MANY = 5_000


def settings(
    test_images: int, learning_rate: float = LEARNING_RATE, budget: int = BUDGET
) -> RMSProp:
    """Make the descents' settings: the rate falls to a tenth over the budget."""
    return RMSProp(
        learning_rate,
        learning_rate / 10.0,
        budget=budget,
        check_every=CHECK_EVERY["many" if test_images > MANY else "few"],
    )


def problem(
    source: str | digits.Digits = "subset",
    model: MLP | None = None,
    metric: str = "loss",
    batch: int = BATCH,
    rmsprop: RMSProp | None = None,
    progress: Callable[[str], None] | None = None,
) -> Classification:
    """Make the MNIST landscape; `nc.run_pair(problem(), L0=0.4, seed=0)` is the command.

    Inputs are pixels / 256, from 0 for paper to 0.996 for ink.

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return cli.main("mnist", _parser(), _prepare, argv)


def _parser() -> cli.Parser:
    parser = cli.parser(
        "mnist",
        "How nonconvex is reading handwritten digits? Trains two networks to the threshold L0 on\n"
        "the test set, then looks for a path of weights between them that never exceeds it, by\n"
        "Dynamic String Sampling (Freeman and Bruna 2016): where the straight line is too high, a\n"
        "new network (a bead) is trained at its highest point t*, and both halves are tried again.",
        "python -m nconvex.mnist --data full --metric error --L0 0.04 --hidden 256 256 --out run3",
        None,
        f"{L0['loss']:g} for --metric loss, {L0['error']:g} for --metric error; e.g. --L0 0.3",
        BUDGET,
    )
    network = cli.network_arguments(
        parser, HIDDEN, "default 256; e.g. the later paper's --hidden 256 256"
    )
    network.add_argument(
        "--data",
        default="subset",
        metavar="WHICH",
        help="'subset': 5,000 training and 1,000 test images, which ship with the package; "
        f"'full': all 70,000, from the folder in {digits.VARIABLE}, the cache, or downloaded once "
        "(55 MB) and checked; or a folder with the four IDX files, gzipped or not, e.g. those of "
        "Fashion-MNIST (default subset; e.g. --data full)",
    )
    network.add_argument(
        "--metric",
        choices=METRICS,
        default="loss",
        help="what L0 limits: loss, the test set's mean cross-entropy, or error, its share of "
        "wrong labels (default loss; e.g. --metric error --L0 0.05)",
    )
    network.add_argument(
        "--activation",
        choices=NONLINEAR,
        default="relu",
        help="of the hidden units (default relu; e.g. --activation tanh)",
    )
    network.add_argument(
        "--batch",
        type=int,
        default=BATCH,
        metavar="N",
        help=f"images a step of RMSProp (default {BATCH}; e.g. --batch 50)",
    )
    network.add_argument(
        "--lr",
        type=float,
        default=LEARNING_RATE,
        metavar="RATE",
        help="RMSProp's first learning rate; it falls to a tenth over the budget "
        f"(default {LEARNING_RATE:g}; e.g. --lr 3e-4)",
    )
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> cli.Experiment:
    require_positive("lr", args.lr)
    require_integer("batch", args.batch, 1)
    if args.data not in ("subset", "full") and not os.path.isdir(args.data):
        raise NconvexError(
            f"--data {args.data} is neither 'subset' nor 'full' nor a folder that can be reached"
        )
    model = MLP((digits.SIDE**2, *args.hidden, digits.CLASSES), args.activation)
    data = digits.load(args.data, progress)
    rmsprop = settings(len(data.X_test), args.lr, args.budget)
    landscape = problem(data, model, args.metric, args.batch, rmsprop)

    def draw(plots: Any, string: String, part: Any) -> None:
        plots.digits(landscape, string, part)

    shape = "-".join(map(str, model.sizes))
    return cli.Experiment(
        landscape,
        f"MNIST: {shape} {model.activation}, {landscape.loss_name}, seed {args.seed}",
        {
            "experiment": "mnist",
            "data": data.name,
            "metric": args.metric,
            "loss": landscape.loss_name,
            "batch": landscape.batch,
        },
        draw,
        L0[args.metric],
        args.metric,
        data.name,
    )


if __name__ == "__main__":
    sys.exit(main())
