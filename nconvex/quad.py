"""QUAD, the draft's section III.A: two networks that regress a polynomial, connected.

    python -m nconvex.quad

By default a 1-4-4-1 ReLU network, mean squared error, the quadratic 0.5 x² + 0.25 x + 0.1 at 1000
training and 1000 test points, full-batch RMSProp, L₀ = 1e-3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from nconvex.commands import cli
from nconvex.data.polynomials import POLYNOMIALS
from nconvex.definitions import NconvexError, RMSProp
from nconvex.kernels.parts import LOSSES, NONLINEAR
from nconvex.network.engines import ENGINES
from nconvex.network.mlp import MLP
from nconvex.string import String
from nconvex.tasks.quad import HIDDEN, L0, SAMPLES, problem


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return cli.main("quad", _parser(), _prepare, argv)


def _parser() -> cli.Parser:
    parser = cli.parser(
        "quad",
        "How nonconvex is polynomial regression with a small network? Trains two networks to the\n"
        "test loss L0, then looks for a path of weights between them on which the loss never\n"
        "exceeds L0, by Dynamic String Sampling (Freeman and Bruna 2016): where the straight line\n"
        "is too high, a new network (a bead) is trained at its highest point t*, and both halves\n"
        "are tried again.",
        "python -m nconvex.quad --activation tanh --task cubic --L0 0.01 --seed 3 --out run3",
        L0,
        f"{L0:g}; e.g. --L0 {0.3 * L0:g}",
        RMSProp.budget,
    )
    network = cli.network_arguments(
        parser, HIDDEN, "default 4 4, the paper's 1-4-4-1; e.g. --hidden 16"
    )
    network.add_argument(
        "--task",
        choices=tuple(POLYNOMIALS),
        default="quadratic",
        help="the polynomial to regress on [0, 1] (default quadratic; e.g. --task cubic)",
    )
    network.add_argument(
        "--activation",
        choices=NONLINEAR,
        help="of the hidden units (default relu; e.g. --activation tanh)",
    )
    network.add_argument(
        "--authors-network",
        action="store_true",
        help="the network of the authors' published code instead: sigmoid on every layer, the "
        "output too, no biases, weights drawn from (-1, 1)",
    )
    network.add_argument(
        "--loss",
        choices=tuple(LOSSES),
        default="mse",
        help="of one residual r, averaged over the samples: mse r^2, mae |r|, huber quadratic "
        "to |r| = 0.1 and linear beyond, log-cosh log cosh r (default mse; e.g. --loss mae)",
    )
    network.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        metavar="N",
        help="points in the training set, and as many in the test set, which alone decides "
        f"(default {SAMPLES}; e.g. --samples 10000)",
    )
    network.add_argument(
        "--engine",
        choices=tuple(ENGINES),
        help="what computes losses and descents: textbook is plain NumPy, slow and to be read; "
        "samples and regions are compiled (default: the fastest; e.g. --engine textbook)",
    )
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> cli.Experiment:
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
    return cli.Experiment(
        landscape,
        f"QUAD: {shape} {network}, {args.loss} on the {args.task}, seed {args.seed}",
        {
            "experiment": "quad",
            "task": args.task,
            "samples": args.samples,
            "loss": args.loss,
        },
        draw,
        L0,
    )


if __name__ == "__main__":
    sys.exit(main())
