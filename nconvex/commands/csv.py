"""The command line of a table: `nconvex csv`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from nconvex.commands.arguments import (
    AUTO,
    CHOSEN,
    Parser,
    add_loss,
    add_outputs,
    add_search,
    make_parser,
    option,
    path,
    switch,
)
from nconvex.commands.experiment import Experiment, run
from nconvex.commands.outputs import one_line
from nconvex.data.tables import CATEGORIES, Table, read_table
from nconvex.definitions import NconvexError, RMSProp
from nconvex.kernels.parts import NONLINEAR
from nconvex.network.classification import Classification
from nconvex.network.problem import Problem
from nconvex.string import String
from nconvex.tasks.mnist import BUDGET
from nconvex.tasks.table import ALPHA, HIDDEN, LABELLED, TEST, Encoding, problem


def main(argv: Sequence[str] | None = None, prog: str = "nconvex csv") -> int:
    """Run the command line; returns the exit status."""
    return run("csv", _parser(prog), _prepare, argv)


def _parser(prog: str) -> Parser:
    parser = make_parser(
        prog,
        "How nonconvex is learning from your own table? Reads a CSV file whose first line names\n"
        "the columns, sets rows aside as the test set, and trains two networks to predict one\n"
        "column from the others, to the test loss L0. Then it looks for a path of weights between\n"
        "them on which the loss never exceeds L0, by Dynamic String Sampling (Freeman and Bruna\n"
        "2016). Numbers are standardised: each column less its mean, over its standard deviation,\n"
        "of the training rows; the target, too, so that a mean squared error of 1 is what its\n"
        "mean alone reaches. A column of text becomes one input for each of its values,\n"
        f"{CATEGORIES} at most. --out keeps means, scales and classes beside the weights, so that\n"
        "the networks can be used on new rows.",
        "houses.csv --target price --drop id",
        "patients.csv --target outcome --classify --drop-missing --out run3",
    )
    parser.add_argument("file", type=path, metavar="FILE", help="the table, CSV in UTF-8")
    data = parser.add_argument_group("the data")
    about = "the column to predict; of text, it has classes, as with --classify"
    data.add_argument("--target", metavar="COLUMN", required=True, help=about)
    switch(data, "classify", "the target's different values are classes, also if they are numbers")
    about = "leave out this column, e.g. one that numbers the rows; may be given several times"
    data.add_argument("--drop", metavar="COLUMN", action="append", default=[], help=about)
    switch(data, "drop-missing", "leave out rows with a missing value: empty, NA, NaN or ?")
    about = "what separates values, or the word tab"
    sniffed = "the one of , ; and tab that splits the first line most"
    option(data, "delimiter", sniffed, "';'", metavar="CHARACTER", default=None, help=about)
    about = "share of the rows, drawn with the seed, that is the test set, which alone decides"
    option(data, "test", TEST, 0.3, type=float, metavar="SHARE", help=about)
    network = parser.add_argument_group("the network")
    option(network, "hidden", HIDDEN, "16-16")
    option(network, "activation", "relu", "tanh", choices=NONLINEAR)
    add_loss(network, "mse, for classes cross-entropy")
    budget = f"{RMSProp.budget}, for classes {BUDGET}"
    add_search(parser, f"{AUTO}: {CHOSEN}", 0.5, budget, ALPHA)
    add_outputs(parser, "csv")
    return parser


def _prepare(args: argparse.Namespace, progress: Callable[[str], None]) -> Experiment:
    delimiter = "\t" if args.delimiter == "tab" else args.delimiter
    table = read_table(args.file, args.target, args.drop, delimiter, args.drop_missing)
    labelled = args.classify or args.loss in LABELLED or bool(table.target.categories)
    loss = args.loss or ("cross-entropy" if labelled else "mse")
    if args.classify and loss not in LABELLED:
        raise NconvexError(f"--classify goes with a --loss of {' or '.join(LABELLED)}, not {loss}")
    landscape, encoding = problem(
        table, args.hidden, args.activation, loss, args.test, args.seed, args.budget
    )
    progress(f"read {args.file}")  # not before: a file that is refused gets one line
    shape, target = "-".join(map(str, landscape.model.sizes)), encoding.target

    def draw(plots: Any, string: String, part: Any) -> None:
        if isinstance(landscape, Classification):
            plots.classes(landscape, string, encoding.classes.tolist(), part.add_subplot())
        else:
            plots.fit(landscape, string, target, encoding.mean, encoding.scale, part.add_subplot())

    return Experiment(
        landscape,
        one_line(f"CSV: {shape} {args.activation}, {loss} on {target}, seed {args.seed}"),
        {
            "experiment": "csv",
            "data": str(args.file),
            "rows": len(table.target.values),
            "rows_left_out": table.left_out,
            "columns_left_out": [*args.drop, *encoding.constant],
            "test": args.test,
            "loss": loss,
            "encoding": {name: array.tolist() for name, array in encoding.describe().items()},
        },
        draw,
        AUTO,
        "error" if loss == "error" else "loss",
        _told(table, landscape, encoding),
        [encoding],
    )


def _told(table: Table, landscape: Problem | Classification, encoding: Encoding) -> str:
    """What was made of the table, on one line."""
    train, tests = len(landscape.X), len(landscape.X_test)
    parts = [f"{table.name}, {train} rows to train and {tests} of test, drawn with the seed"]
    if table.left_out:
        parts.append(f"{table.left_out} with missing values were left out")
    if texts := [column.name for column in table.inputs if column.categories]:
        parts.append(f"one input for each value of {', '.join(texts)}")
    if encoding.constant:
        parts.append(f"left out as constant: {', '.join(encoding.constant)}")
    if isinstance(landscape, Classification):
        parts.append(f"{len(encoding.classes)} classes")
    else:
        parts.append(f"{encoding.target} less {encoding.mean:.4g}, over {encoding.scale:.4g}")
    return "; ".join(parts)
