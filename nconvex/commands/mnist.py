"""The command line of MNIST: `nconvex mnist`, or `python -m nconvex.mnist`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from nconvex.commands.arguments import (
    AUTO,
    CHOSEN,
    Parser,
    add_outputs,
    add_search,
    make_parser,
    option,
)
from nconvex.commands.experiment import Experiment, run
from nconvex.data import digits
from nconvex.definitions import require_integer, require_positive
from nconvex.kernels.parts import NONLINEAR
from nconvex.network.classification import METRICS
from nconvex.network.mlp import MLP
from nconvex.tasks.mnist import BATCH, BUDGET, HIDDEN, L0, LEARNING_RATE, problem, settings


def main(argv: Sequence[str] | None, prog: str) -> int:
    """Run the command line; returns the exit status."""
    return run("mnist", _parser(prog), _prepare, argv)


def _parser(prog: str) -> Parser:
    parser = make_parser(
        prog,
        "How nonconvex is reading handwritten digits? Trains two networks to the threshold L0 on\n"
        "the test set, then looks for a path of weights between them that never exceeds it, by\n"
        "Dynamic String Sampling (Freeman and Bruna 2016): where the straight line is too high, a\n"
        "new network (a bead) is trained at its highest point t*, and both halves are tried again.",
        "--data full --metric error --L0 0.04 --hidden 256-256 --out run3",
    )
    network = parser.add_argument_group("the network and its task")
    option(network, "hidden", HIDDEN, "256-256")
    about = (
        "'subset': 5,000 training and 1,000 test images, which ship with the package; 'full': all "
        f"70,000, from the folder in {digits.VARIABLE}, the cache, or downloaded once (55 MB) and "
        "checked; or a folder with the four IDX files, gzipped or not, e.g. those of Fashion-MNIST"
    )
    option(network, "data", "subset", "full", metavar="WHICH", help=about)
    about = (
        "what L0 limits on the test set: loss, the mean cross-entropy, or error, the share of "
        "wrong labels"
    )
    option(network, "metric", "loss", "error --L0 0.05", choices=METRICS, help=about)
    option(network, "activation", "relu", "tanh", choices=NONLINEAR)
    about = "images a step of RMSProp"
    option(network, "batch", BATCH, 50, type=int, metavar="N", help=about)
    about = "RMSProp's first learning rate; it falls to a tenth over the budget"
    option(network, "lr", LEARNING_RATE, 3e-4, type=float, metavar="RATE", help=about)
    thresholds = ", ".join(f"{value:g} for --metric {metric}" for metric, value in L0.items())
    add_search(parser, f"{thresholds}, or {AUTO}: {CHOSEN}", 0.3, BUDGET)
    add_outputs(parser, "mnist")
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> Experiment:
    require_positive("lr", args.lr)
    require_integer("batch", args.batch, 1)
    model = MLP((digits.SIDE**2, *args.hidden, digits.CLASSES), args.activation)
    data = digits.load(args.data, progress)
    rmsprop = settings(len(data.X_test), args.lr, args.budget)
    landscape = problem(data, model, args.metric, args.batch, rmsprop)
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
        lambda plots, string, part: plots.digits(landscape, string, part),
        L0[args.metric],
        args.metric,
        data.name,
    )
