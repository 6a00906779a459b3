"""The command line of MNIST: `nconvex mnist`, or `python -m nconvex.mnist`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from nconvex.commands import arguments, experiment
from nconvex.commands.results import Experiment
from nconvex.data import digits
from nconvex.definitions import require_integer, require_positive
from nconvex.kernels.parts import NONLINEAR
from nconvex.network.classification import METRICS
from nconvex.network.mlp import MLP
from nconvex.string import String
from nconvex.tasks.mnist import BATCH, BUDGET, HIDDEN, L0, LEARNING_RATE, problem, settings


def main(argv: Sequence[str] | None, prog: str) -> int:
    """Run the command line; returns the exit status."""
    return experiment.main("mnist", _parser(prog), _prepare, argv)


def _parser(prog: str) -> arguments.Parser:
    parser = arguments.parser(
        prog,
        "How nonconvex is reading handwritten digits? Trains two networks to the threshold L0 on\n"
        "the test set, then looks for a path of weights between them that never exceeds it, by\n"
        "Dynamic String Sampling (Freeman and Bruna 2016): where the straight line is too high, a\n"
        "new network (a bead) is trained at its highest point t*, and both halves are tried again.",
        "--data full --metric error --L0 0.04 --hidden 256-256 --out run3",
    )
    network = parser.add_argument_group("the network and its task")
    option = arguments.option
    note = "default 256; e.g. the later paper's --hidden 256-256"
    option(network, "hidden", note, default=HIDDEN)
    network.add_argument(
        "--data",
        default="subset",
        metavar="WHICH",
        help="'subset': 5,000 training and 1,000 test images, which ship with the package; "
        f"'full': all 70,000, from the folder in {digits.VARIABLE}, the cache, or downloaded once "
        "(55 MB) and checked; or a folder with the four IDX files, gzipped or not, e.g. those of "
        "Fashion-MNIST (default subset; e.g. --data full)",
    )
    option(
        network,
        "metric",
        "default loss; e.g. --metric error --L0 0.05",
        choices=METRICS,
        default="loss",
        help="what L0 limits: loss, the test set's mean cross-entropy, or error, its share of "
        "wrong labels",
    )
    note = "default relu; e.g. --activation tanh"
    option(network, "activation", note, choices=NONLINEAR, default="relu")
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
    thresholds = ", ".join(f"{value:g} for --metric {metric}" for metric, value in L0.items())
    arguments.add_search(parser, f"default {thresholds}; e.g. --L0 0.3", BUDGET)
    arguments.add_outputs(parser, "mnist")
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> Experiment:
    require_positive("lr", args.lr)
    require_integer("batch", args.batch, 1)
    model = MLP((digits.SIDE**2, *args.hidden, digits.CLASSES), args.activation)
    data = digits.load(args.data, progress)
    rmsprop = settings(len(data.X_test), args.lr, args.budget)
    landscape = problem(data, model, args.metric, args.batch, rmsprop)

    def draw(plots: Any, string: String, part: Any) -> None:
        plots.digits(landscape, string, part)

    shape = "-".join(map(str, model.sizes))
    return Experiment(
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
