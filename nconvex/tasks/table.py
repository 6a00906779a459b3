"""A table of one's own: its columns standardised and split, as a landscape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nconvex.data.tables import Table
from nconvex.definitions import NconvexError, RMSProp, Seed, child, generator, is_number, shown
from nconvex.network.classification import Classification
from nconvex.network.mlp import MLP, Activation
from nconvex.network.problem import Problem
from nconvex.tasks.mnist import BUDGET, settings

HIDDEN = (16,)

#: Real data let no network get much lower than others, so that beads are trained to nearly L₀.
ALPHA = 0.95

#: Share of the rows that is the test set.
TEST = 0.2

#: Losses of labels.
LABELLED = ("cross-entropy", "error")

#: Most numbers that a table may become: 1 GB.
MOST_NUMBERS = 2**27


@dataclass(frozen=True)
class Encoding:
    """What made the network's numbers from a table's, and makes them from new rows.

    Input k is (v - input_means[k]) / input_scales[k], where v is the row's number in the column
    input_columns[k]; or, for a column of text, 1 if the row has the text input_categories[k] there
    and else 0. Means and scales (standard deviations) are those of the training rows alone.

    Attributes:
        columns: (n,) names.
        categories: (n,) texts, "" for numbers.
        means: (n,) float64.
        scales: (n,) float64.
        target: The name of the column that is predicted.
        mean: For regression, what was taken off the target; of classes, 0.
        scale: For regression, what it was then divided by; of classes, 1.
        classes: For classification, the label of each output; else empty.
        constant: Inputs that were left out, for all training rows have the same value.
    """

    columns: tuple[str, ...]
    categories: tuple[str, ...]
    means: np.ndarray
    scales: np.ndarray
    target: str
    mean: float
    scale: float
    classes: np.ndarray
    constant: tuple[str, ...]

    def describe(self) -> dict[str, np.ndarray]:
        """Return it as arrays, for a file."""
        return {
            "input_columns": np.array(self.columns),
            "input_categories": np.array(self.categories),
            "input_means": self.means,
            "input_scales": self.scales,
            "target": np.array(self.target),
            "target_mean": np.array(self.mean),
            "target_scale": np.array(self.scale),
            "classes": self.classes,
        }


def problem(
    table: Table,
    hidden: Sequence[int] = HIDDEN,
    activation: Activation = "relu",
    loss: Any = "mse",
    test: float = TEST,
    seed: Seed = 0,
    budget: int | None = None,
) -> tuple[Problem | Classification, Encoding]:
    """Make a landscape of a table; inputs, and numbers to be predicted, are standardised.

    Args:
        table: The data.
        hidden: Units of the hidden layers.
        activation: Of the hidden units.
        loss: "mse", "mae", "huber" or "log-cosh" to regress on the target, or for labels
            "cross-entropy" or "error".
        test: Share of the rows that is the test set; of each class alike.
        seed: Its child 0 draws which.
        budget: Steps of a descent, by default 10,000, or 20,000 for labels.

    Raises:
        NconvexError: The table cannot be learned, or becomes too large.
    """
    if not is_number(test) or not 0.0 < test < 1.0:
        raise NconvexError(f"test must be a share between 0 and 1, not {shown(test)}; e.g. 0.2")
    rng = generator(child(seed, 0))
    labelled = loss in LABELLED
    if labelled:
        labels, classes = _classes(table)
    else:
        labels, classes = np.zeros(table.target.values.size, dtype=np.int64), np.empty(0)
        if table.target.categories:
            raise NconvexError(
                f"column {table.target.name!r} holds text, e.g. {table.target.categories[0]!r}, "
                f"which {loss} does not measure; leave out --loss, or choose another --target"
            )
    train, tests = _split(labels, test, rng)
    X, columns, categories, means, scales, constant = _inputs(table, train)
    mean, scale = 0.0, 1.0
    model = MLP((len(columns), *hidden, len(classes) or 1), activation)
    if not labelled:
        mean, scale = _spread(table, table.target.name, table.target.values[train])
        if scale == 0.0:
            raise NconvexError(
                f"column {table.target.name!r} of {table.name} has one value in all training rows; "
                "choose another --target"
            )
    encoding = Encoding(
        columns, categories, means, scales, table.target.name, mean, scale, classes, constant
    )
    if labelled:
        rmsprop = settings(len(tests), budget=budget or BUDGET)
        metric: Any = "loss" if loss == "cross-entropy" else "error"
        data = X[train], labels[train], X[tests], labels[tests]
        return Classification(model, *data, rmsprop, metric=metric), encoding
    y = (table.target.values[:, None] - mean) / scale
    rmsprop = RMSProp(budget=budget or RMSProp.budget)
    return Problem(model, loss, X[train], y[train], X[tests], y[tests], rmsprop), encoding


def _classes(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Each row's class (N,) int64, and the classes' labels."""
    column = table.target
    if column.categories:
        classes, labels = np.array(column.categories), column.values.astype(np.int64)
    else:
        classes, labels = np.unique(column.values, return_inverse=True)
        if (np.abs(classes) < 2**53).all() and (classes == np.rint(classes)).all():
            classes = classes.astype(np.int64)
    count, rows = len(classes), len(labels)
    where = f"column {column.name!r} of {table.name}"
    if count < 2:
        raise NconvexError(f"{where} has one class only, {classes[0].item()!r}; nothing to learn")
    if rows < 2 * count:
        raise NconvexError(
            f"{where} has {count} classes in {rows} rows; two rows of each are needed, to train "
            "and to test; choose another --target, or regress without --classify"
        )
    return labels, classes


def _split(
    labels: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train with and rows of test, in their order; of each class at least one to train."""
    order = rng.permutation(len(labels))
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        chosen[members[: min(round(share * len(members)), len(members) - 1)]] = True
    if not chosen.any():
        raise NconvexError(
            f"a share of {share:g} of {len(labels)} rows is no row of test; give more rows or a "
            "larger --test"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _inputs(
    table: Table, train: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]:
    """X (N, n), its columns and categories, their means and scales, and those left out."""
    rows, wanted = len(table.target.values), sum(len(c.categories) or 1 for c in table.inputs)
    if rows * wanted > MOST_NUMBERS:
        raise NconvexError(
            f"{table.name} becomes {rows} x {wanted} numbers, more than {MOST_NUMBERS}; give fewer "
            "rows, or leave out columns with --drop"
        )
    kept, arrays, constant = [], [], []
    for column in table.inputs:
        for place, category in enumerate(column.categories or [""]):
            values = column.values if not category else (column.values == place).astype(float)
            mean, scale = _spread(table, column.name, values[train])
            if scale == 0.0:
                constant.append(f"{column.name}={category}" if category else column.name)
                continue
            kept.append((column.name, category, mean, scale))
            arrays.append((values - mean) / scale)
    if not kept:
        raise NconvexError(f"every column of inputs of {table.name} has one value in all its rows")
    columns, categories, means, scales = zip(*kept, strict=True)
    return (
        np.stack(arrays, axis=1),
        columns,
        categories,
        np.array(means),
        np.array(scales),
        tuple(constant),
    )


def _spread(table: Table, name: str, values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; 0 for the latter where all values are one."""
    if values.min() == values.max():
        return float(values[0]), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not 0.0 < scale < np.inf:
        raise NconvexError(
            f"column {name!r} of {table.name} cannot be standardised: its numbers are too large or "
            "too close together; measure it in other units, or leave it out with --drop"
        )
    return mean, scale
