"""The command line of QUAD: `nconvex quad`, or `python -m nconvex.quad`."""

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
    switch,
)
from nconvex.commands.experiment import Experiment, run
from nconvex.data.polynomials import POLYNOMIALS
from nconvex.definitions import NconvexError, RMSProp
from nconvex.kernels.parts import LOSSES, NONLINEAR
from nconvex.network.engines import ENGINES
from nconvex.network.mlp import MLP
from nconvex.tasks.quad import HIDDEN, L0, SAMPLES, problem


def main(argv: Sequence[str] | None, prog: str) -> int:
    """Run the command line; returns the exit status."""
    return run("quad", _parser(prog), _prepare, argv)


def _parser(prog: str) -> Parser:
    parser = make_parser(
        prog,
        "How nonconvex is polynomial regression with a small network? Trains two networks to the\n"
        "test loss L0, then looks for a path of weights between them on which the loss never\n"
        "exceeds L0, by Dynamic String Sampling (Freeman and Bruna 2016): where the straight line\n"
        "is too high, a new network (a bead) is trained at its highest point t*, and both halves\n"
        "are tried again.",
        "--activation tanh --task cubic --L0 0.01 --seed 3 --out run3",
    )
    network = parser.add_argument_group("the network and its task")
    option(network, "hidden", "4-4, the paper's 1-4-4-1", 16, default=HIDDEN)
    option(network, "task", "quadratic", "cubic", choices=tuple(POLYNOMIALS))
    option(network, "activation", "relu", "tanh", choices=NONLINEAR, default=None)
    about = (
        "the network of the authors' published code instead: sigmoid on every layer, the output "
        "too, no biases, weights drawn from (-1, 1)"
    )
    switch(network, "authors-network", about)
    option(network, "loss", "mse", "mae", choices=tuple(LOSSES))
    about = "points in the training set, and as many in the test set, which alone decides"
    option(network, "samples", SAMPLES, 10000, type=int, metavar="N", help=about)
    about = (
        "what computes losses and descents; textbook is plain NumPy, slow and to be read; samples "
        "and regions are compiled"
    )
    fastest, names = "the fastest", tuple(ENGINES)
    option(network, "engine", fastest, "textbook", default=None, choices=names, help=about)
    add_search(parser, f"{L0}, or {AUTO}: {CHOSEN}", 0.0003, RMSProp.budget)
    add_outputs(parser, "quad")
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
    polynomial, shape = POLYNOMIALS[args.task], "-".join(map(str, sizes))
    network = "the authors' network" if args.authors_network else model.activation
    return Experiment(
        landscape,
        f"QUAD: {shape} {network}, {args.loss} on the {args.task}, seed {args.seed}",
        {"experiment": "quad", "task": args.task, "samples": args.samples, "loss": args.loss},
        lambda plots, string, part: plots.predictions(landscape, string, polynomial, part),
        L0,
    )
