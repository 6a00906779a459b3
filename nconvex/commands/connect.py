"""The command line of two networks that are given: `nconvex connect`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nconvex.commands.arguments import (
    AUTO,
    Parser,
    add_loss,
    add_outputs,
    add_search,
    make_parser,
    option,
    path,
)
from nconvex.commands.experiment import Experiment, run
from nconvex.commands.outputs import one_line
from nconvex.commands.weights import LAYOUTS, read_network
from nconvex.definitions import NconvexError, RMSProp
from nconvex.files import read_arrays
from nconvex.kernels.parts import NONLINEAR
from nconvex.network.classification import Classification
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem
from nconvex.string import String
from nconvex.tasks.mnist import BUDGET, settings
from nconvex.tasks.table import ALPHA, LABELLED


def main(argv: Sequence[str] | None = None, prog: str = "nconvex connect") -> int:
    """Run the command line; returns the exit status."""
    return run("connect", _parser(prog), _prepare, argv)


def _parser(prog: str) -> Parser:
    parser = make_parser(
        prog,
        "Are two trained networks connected? Reads the weights of two multilayer perceptrons of\n"
        "one shape and looks for a path of weights between them on which the test loss never\n"
        "exceeds L0, by Dynamic String Sampling (Freeman and Bruna 2016): where the straight line\n"
        "is too high, a new network (a bead) is trained at its highest point t*, and both halves\n"
        "are tried again. What it finds is proven.",
        "a.npz b.npz --data test.npz",
        "a.pt b.pt --data test.npz --activation tanh --L0 0.2 --out run3",
    )
    about = f"the weights of one network: {LAYOUTS}"
    parser.add_argument("ends", nargs=2, type=path, metavar="FILE", help=about)
    task = parser.add_argument_group("the networks and their task")
    about = (
        "an npz file with X_test (M, inputs) and y_test, targets (M, outputs) or labels (M,); and "
        "with X and y, on which beads are trained; without these they are trained on the test set, "
        "which is said"
    )
    task.add_argument("--data", required=True, type=path, metavar="FILE", help=about)
    stated = "what the files say, else relu"
    option(task, "activation", stated, "tanh", choices=NONLINEAR, default=None)
    add_loss(task, "cross-entropy if y_test are labels and there are several outputs, else mse")
    L0 = f"{AUTO}: a little above the higher loss of the two"
    budget = f"{RMSProp.budget}, for classes {BUDGET}"
    add_search(parser, L0, 0.3, budget, ALPHA)
    add_outputs(parser, "connect")
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> Experiment:
    (model, theta1), (other, theta2) = (read_network(each, args.activation) for each in args.ends)
    if model != other:
        raise NconvexError(
            f"{args.ends[0]} and {args.ends[1]} are of different networks, {_named(model)} and "
            f"{_named(other)}; a path needs two of one shape"
        )
    data = _data(args)
    labels = data["y_test"]
    labelled = labels.dtype.kind != "f" and labels.ndim == 1 and model.sizes[-1] > 1
    loss = args.loss or ("cross-entropy" if labelled else "mse")
    landscape = _landscape(model, loss, data, args.budget)
    beads = "" if data["X"] is not data["X_test"] else "; no X and y, so beads are trained on these"

    def draw(plots: Any, string: String, part: Any) -> None:
        if isinstance(landscape, Classification):
            plots.classes(landscape, string, landscape.classes_.tolist(), part.add_subplot())
        else:
            plots.fit(landscape, string, "y", 0.0, 1.0, part.add_subplot())

    names = [str(each) for each in args.ends]
    return Experiment(
        landscape,
        one_line(f"CONNECT: {' and '.join(names)}, {_named(model)}, {loss}, seed {args.seed}"),
        {"experiment": "connect", "ends": names, "data": str(args.data), "loss": loss},
        draw,
        AUTO,
        "error" if loss == "error" else "loss",
        f"{args.data}, {len(landscape.X_test)} samples of test{beads}",
        ends=(theta1, theta2),
    )


def _data(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """X, y, X_test and y_test; the latter two again where there are no others."""
    arrays = read_arrays(args.data)
    needed = {"X_test", "y_test", *({"X", "y"} if {"X", "y"} & arrays.keys() else {})}
    if missing := sorted(needed - arrays.keys()):
        raise NconvexError(
            f"{args.data} has no {' and no '.join(missing)}, but {', '.join(sorted(arrays))}; "
            'write it with np.savez("test.npz", X_test=..., y_test=...), and X and y for training'
        )
    return {"X": arrays["X_test"], "y": arrays["y_test"], **arrays}


def _landscape(
    model: MLP, loss: Any, data: Mapping[str, np.ndarray], budget: int | None
) -> Problem | Classification:
    sets = data["X"], data["y"], data["X_test"], data["y_test"]
    if loss in LABELLED:
        rmsprop = settings(len(data["X_test"]), budget=budget or BUDGET)
        metric: Any = "loss" if loss == "cross-entropy" else "error"
        return Classification(model, *sets, rmsprop, metric=metric)
    return Problem(model, loss, *sets, RMSProp(budget=budget or RMSProp.budget))


def _named(model: MLP) -> str:
    return f"{'-'.join(map(str, model.sizes))} {model.activation}"
