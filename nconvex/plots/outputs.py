"""What the networks on a path compute: predictions of numbers, and of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nconvex.network.classification import Classification
from nconvex.network.problem import Problem
from nconvex.plots.strings import middle_model
from nconvex.plots.style import BLUE, GREEN, GREY, LIGHT, ORANGE, STYLES, axes_or_new, drawn
from nconvex.string import String

#: Samples that are drawn at most, and models along a path.
SAMPLES, MODELS = 1000, 61


def fit(
    problem: Problem,
    string: String,
    target: str = "y",
    mean: float = 0.0,
    scale: float = 1.0,
    ax: Axes | None = None,
) -> Any:
    """Draw what both ends and a middle model predict against the test set's true targets.

    Args:
        problem: Of regression.
        string: The path.
        target: What is predicted, for the axes.
        mean: What the targets were less by.
        scale: What they were then divided by.
        ax: Where to draw.

    Example: `nconvex csv` draws it; see `summary`.
    """
    axes = axes_or_new(ax)
    some = slice(None, None, -(-len(problem.X_test) // SAMPLES))
    truth = mean + scale * problem.y_test[some].ravel()
    middle, name = middle_model(string)
    axes.axline((truth[0], truth[0]), slope=1.0, color=GREY, lw=0.8, zorder=0)
    for theta, label, colour, marker in (
        (string.beads[0], r"$\theta_1$", BLUE, "o"),
        (string.beads[-1], r"$\theta_2$", ORANGE, "s"),
        (middle, name, GREEN, "^"),
    ):
        predicted = mean + scale * problem.model.predict(theta, problem.X_test[some]).ravel()
        axes.plot(truth, predicted, marker, color=colour, ms=4.0, alpha=0.6, mew=0.0, label=label)
    axes.set(xlabel=f"true {_plain(target)}", ylabel="predicted")
    axes.set_title("what the networks predict for the test set", fontsize="medium")
    axes.legend(frameon=False, fontsize="small")
    return drawn(ax, [axes])


def classes(
    problem: Classification, string: String, names: Sequence[object], ax: Axes | None = None
) -> Any:
    """Draw how much of each class's test samples the models on the path find right.

    The classes whose share varies most have colours, others are grey.

    Args:
        problem: Of classes.
        string: The path.
        names: Of the classes.
        ax: Where to draw.

    Example: `nconvex csv` draws it; see `summary`.
    """
    axes = axes_or_new(ax)
    s = np.linspace(0.0, 1.0, MODELS)
    labels = problem.labels_test
    right = [
        problem.model.predict(string.at(float(u)), problem.X_test).argmax(axis=1) == labels
        for u in s
    ]
    there = np.unique(labels)
    shares = np.array([[each[labels == c].mean() for each in right] for c in there])  # (C, S)
    order = np.argsort(-np.std(shares, axis=1), kind="stable")
    for place, k in enumerate(order):
        if place < len(STYLES):
            colour, _, style = STYLES[place]
            count = int((labels == there[k]).sum())
            label = f"{_plain(names[there[k]])} ({count} samples)"
            axes.plot(s, shares[k], color=colour, ls=style, lw=1.6, label=label)
        else:
            axes.plot(s, shares[k], color=LIGHT, lw=0.8, zorder=0)
    axes.set(xlim=(0.0, 1.0), xlabel="fraction of the path's length", ylabel="share that is right")
    axes.set_ylim(min(0.9, float(shares.min()) - 0.03), 1.01)
    axes.set_title("what the networks find right of each class", fontsize="medium")
    axes.legend(frameon=False, fontsize="small")
    return drawn(ax, [axes])


def _plain(text: object) -> str:
    """Text as a label shows it: no formulas, and not too long."""
    words = " ".join(str(text).split()).replace("$", r"\$")
    return words if len(words) <= 30 else words[:27] + "..."
