"""The command line of QUAD: `nconvex quad`, or `python -m nconvex.quad`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from nconvex.commands import arguments, experiment
from nconvex.commands.results import Experiment
from nconvex.data.polynomials import POLYNOMIALS
from nconvex.definitions import NconvexError, RMSProp
from nconvex.kernels.parts import LOSSES, NONLINEAR
from nconvex.network.engines import ENGINES
from nconvex.network.mlp import MLP
from nconvex.string import String
from nconvex.tasks.quad import HIDDEN, L0, SAMPLES, problem


def main(argv: Sequence[str] | None, prog: str) -> int:
    """Run the command line; returns the exit status."""
    return experiment.main("quad", _parser(prog), _prepare, argv)


def _parser(prog: str) -> arguments.Parser:
    parser = arguments.parser(
        prog,
        "How nonconvex is polynomial regression with a small network? Trains two networks to the\n"
        "test loss L0, then looks for a path of weights between them on which the loss never\n"
        "exceeds L0, by Dynamic String Sampling (Freeman and Bruna 2016): where the straight line\n"
        "is too high, a new network (a bead) is trained at its highest point t*, and both halves\n"
        "are tried again.",
        "--activation tanh --task cubic --L0 0.01 --seed 3 --out run3",
    )
    network = parser.add_argument_group("the network and its task")
    option = arguments.option
    note = "default 4-4, the paper's 1-4-4-1; e.g. --hidden 16"
    option(network, "hidden", note, default=HIDDEN)
    option(
        network,
        "task",
        "default quadratic; e.g. --task cubic",
        choices=tuple(POLYNOMIALS),
        default="quadratic",
    )
    option(network, "activation", "default relu; e.g. --activation tanh", choices=NONLINEAR)
    network.add_argument(
        "--authors-network",
        action="store_true",
        help="the network of the authors' published code instead: sigmoid on every layer, the "
        "output too, no biases, weights drawn from (-1, 1)",
    )
    option(network, "loss", "default mse; e.g. --loss mae", choices=tuple(LOSSES), default="mse")
    network.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        metavar="N",
        help="points in the training set, and as many in the test set, which alone decides "
        f"(default {SAMPLES}; e.g. --samples 10000)",
    )
    option(
        network,
        "engine",
        "default: the fastest; e.g. --engine textbook",
        choices=tuple(ENGINES),
        help="what computes losses and descents; textbook is plain NumPy, slow and to be read; "
        "samples and regions are compiled",
    )
    arguments.add_search(parser, f"default {L0:g}; e.g. --L0 {0.3 * L0:g}", RMSProp.budget)
    arguments.add_outputs(parser, "quad")
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> Experiment:
    if args.authors_network and args.activation:
        raise NconvexError("--authors-network is sigmoid throughout; drop --activation")
    sizes = (1, *args.hidden, 1)
    model = (
        MLP.of_the_authors(sizes) if args.authors_network else MLP(sizes, args.activation or "relu")
    )
    rmsprop = RMSProp(budget=args.budget)
    landscape = problem(args.seed, args.task, model, args.loss, args.samples, rmsprop, args.engine)

    def draw(plots: Any, string: String, part: Any) -> None:
        plots.predictions(landscape, string, POLYNOMIALS[args.task], part)

    shape = "-".join(map(str, sizes))
    network = "the authors' network" if args.authors_network else model.activation
    return Experiment(
        landscape,
        f"QUAD: {shape} {network}, {args.loss} on the {args.task}, seed {args.seed}",
        {"experiment": "quad", "task": args.task, "samples": args.samples, "loss": args.loss},
        draw,
        L0,
    )
