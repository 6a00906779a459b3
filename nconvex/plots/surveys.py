"""The figure of a survey."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from nconvex.plots.style import STYLES, without_frame

if TYPE_CHECKING:
    from nconvex.pairs.published import Published
    from nconvex.pairs.records import Setting, Survey

#: Values on an axis that are each named.
FEW = 6

#: Names of a survey's means, in the order of the panels.
MEANS = ("share", "beads", "normalized_length", "search_steps")
FAILURES = {"bead_untrainable": "x", "depth_exhausted": "+", "end_untrainable": "_"}


def survey(survey: Survey, published: Sequence[Published] = ()) -> Figure:
    """Draw a survey: connected share, beads, normalized length and work, with 95 % intervals.

    The horizontal axis is L₀, α or the width, whichever takes the most values; where losses are
    compared, it is the accuracy that L₀ stands for. Each combination of what else varies has a
    curve. Failures are open symbols beside the connected share. Where α varies, a fifth panel
    compares the beads with the number that suffices in theory. `published` points are drawn, too.

    Example: `python -m nconvex.survey plot FILE` draws it.
    """
    x, xlabel, curves = _curves(survey)
    rows = survey.aggregates()
    predicted = xlabel.startswith("α") and bool(np.isfinite(survey.records["steepest"]).any())
    figure = Figure(figsize=(20.0 if predicted else 16.4, 4.6), layout="constrained")
    axes = figure.subplots(1, 5 if predicted else 4)
    for axis in axes[1:4]:  # also where none of a figure's pairs has a value
        axis.sharex(axes[0])
    for (label, members), style in zip(curves.items(), itertools.cycle(STYLES), strict=False):
        members = sorted((k for k in members if rows["pairs"][k]), key=lambda k: x[k])
        _draw_curve(
            axes, np.array([x[k] for k in members]), rows[np.array(members, int)], label, style
        )
    _draw_published(axes, published)
    _label(axes, rows, published, survey.verdict)
    for axis in axes[:4]:
        axis.set(xlabel=xlabel)
        if xlabel.startswith("α"):
            continue
        axis.set_xscale("log")
        if len(values := sorted({float(f"{value:.3g}") for value in x})) <= FEW:
            axis.set_xticks(values, [f"{value:g}" for value in values])
            axis.set_xticks([], minor=True)
    if predicted:
        _prediction(survey, axes[4])
    return without_frame(figure)


def _draw_curve(
    axes: Any, at: np.ndarray, rows: np.ndarray, label: str, style: tuple[str, str, str]
) -> None:
    """Draw the means of one curve's settings, and their failures, at the values on the axis."""
    colour, marker, line = style
    for axis, name in zip(axes, MEANS, strict=False):
        middle, low, high = (rows[f"{name}{end}"] for end in ("", "_low", "_high"))
        error = np.abs(np.nan_to_num([middle - low, high - middle]))
        axis.errorbar(
            at, middle, error, color=colour, marker=marker, ls=line, ms=4.5, lw=1.4, capsize=2.0,
            elinewidth=0.9, label=label,
        )  # fmt: skip
    for failure, symbol in FAILURES.items():
        shares = rows[failure] / rows["pairs"]
        kept = shares > 0.0
        axes[0].plot(at[kept], shares[kept], ls="", marker=symbol, color=colour, ms=6.0)


def _draw_published(axes: Any, published: Sequence[Published]) -> None:
    if not published:
        return
    at = [point.L0 for point in published]
    beads = [(point.inserted, point.beads_bar) for point in published]
    lengths = [(point.normalized_length, point.normalized_length_bar) for point in published]
    for axis, points, label in (
        (axes[1], beads, "published less 2"),
        (axes[2], lengths, "published"),
    ):
        values, bars = np.transpose(points)
        axis.errorbar(
            at, values, bars, color="black", marker="*", ms=7.0, ls="", capsize=2.0,
            elinewidth=0.9, label=label,
        )  # fmt: skip


def _label(axes: Any, rows: np.ndarray, published: Sequence[Published], verdict: str) -> None:
    """Set the vertical axes, so that all means can be seen."""
    share, beads, length, work = axes[:4]
    pairs = rows["pairs"]
    count = str(pairs.max()) if pairs.min() == pairs.max() else f"{pairs.min()} to {pairs.max()}"
    share.set(ylim=(-0.04, 1.04), ylabel="share of all pairs")
    share.set_title(f"{verdict}, and failures:\n× bead, + depth, – end; {count} pairs", fontsize=10)
    ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200]
    beads.set_yscale("symlog", linthresh=1.0)
    beads.set_yticks(ticks, map(str, ticks))
    beads.set_ylim(*_room([*rows["beads"], *(p.inserted for p in published)], 1.5, 0.0))
    beads.set(ylabel="beads, of connected pairs")
    lengths = [*rows["normalized_length"], *(p.normalized_length for p in published)]
    length.set_ylim(*_room(lengths, 1.05, 0.97))
    length.set(ylabel="normalized length, of connected pairs")
    work.set(ylabel="gradient evaluations of the search")
    if (rows["search_steps"] > 0.0).any():  # not so where all straight lines are low
        work.set_yscale("log")
    beads.legend(frameon=False, fontsize=8)


def _room(values: Sequence[float], margin: float, lowest: float) -> tuple[float, float]:
    """Limits of an axis that shows all means; wide intervals of a few pairs may leave it."""
    known = [float(value) for value in values if np.isfinite(value)]
    if not known:
        return lowest, lowest + 1.0
    low, high = min(known) / margin, max(known) * margin
    return (low if low > 1.0 else lowest), max(high, lowest + 0.1)


def _curves(survey: Survey) -> tuple[list[float], str, dict[str, list[int]]]:
    """Each setting's value on the axis, what that is, and the settings of each curve by label."""
    settings = survey.settings
    axes: dict[str, tuple[str, Callable[[Setting], Any]]] = {
        "$L_0$": ("$L_0$", lambda setting: setting.L0),
        "α": ("α: beads are trained to α$L_0$", lambda setting: setting.alpha),
        "h": ("hidden units a layer, h", lambda setting: (*setting.hidden, math.nan)[0]),
    }
    name = max(axes, key=lambda axis: len({axes[axis][1](setting) for setting in settings}))
    residuals = np.isfinite([setting.residual for setting in settings]).all()
    if len({setting.loss for setting in settings}) > 1 and residuals:
        name = "$L_0$"
        label = "root mean square residual that $L_0$ stands for"
        axes[name] = (label, lambda setting: setting.residual)
    xlabel, value = axes.pop(name)
    others: dict[str, Callable[[Setting], Any]] = {
        **{label: of for label, (_, of) in axes.items()},
        "task": lambda setting: setting.task,
        "activation": lambda setting: setting.activation,
        "loss": lambda setting: setting.loss,
        "sampler": lambda setting: setting.sampler,
        "depth": lambda setting: setting.depth,
        "accepted / $L_0$": lambda setting: setting.accept,
    }
    varying = {
        label: of for label, of in others.items() if len({of(setting) for setting in settings}) > 1
    }
    if "sampler" in varying:  # what each sampler has its own value of need not be said
        samplers = {setting.sampler for setting in settings}
        for label in ("α", "depth"):
            of = varying.get(label)
            if of and len({(s.sampler, of(s)) for s in settings}) == len(samplers):
                del varying[label]
    curves: dict[str, list[int]] = {}
    for k, setting in enumerate(settings):
        values = [(label, of(setting)) for label, of in varying.items()]
        known = [f"{label} {value}" for label, value in values if value not in ("", math.nan)]
        label = ", ".join(known) or setting.task
        curves.setdefault(label, []).append(k)
    return [float(value(setting)) for setting in settings], xlabel, curves


def _prediction(survey: Survey, axes: Any) -> None:
    """Beads against ℓΛ/(2(1-α)L₀), which suffice if Λ is the steepest slope near the path."""
    records = survey.records
    kept = records["connected"] & (records["beads"] > 0) & (records["alpha"] < 1.0)
    records = records[kept]
    enough = (
        records["path_length"] * records["steepest"]
        / (2.0 * (1.0 - records["alpha"]) * records["L0"])
    )  # fmt: skip
    alphas = np.unique(records["alpha"])
    for alpha, (colour, marker, _) in zip(alphas, itertools.cycle(STYLES), strict=False):
        of = records["alpha"] == alpha
        axes.plot(
            enough[of], records["beads"][of], ls="", marker=marker, ms=2.5, color=colour, alpha=0.5,
            label=f"α = {alpha:g}",
        )  # fmt: skip
    ends = np.array([1.0, max(2.0, float(enough.max(initial=2.0)))])
    axes.plot(ends, ends, color="black", lw=0.9, ls=":")
    axes.set(
        xscale="log", yscale="log", ylabel="beads",
        xlabel="beads that suffice: ℓΛ/(2(1-α)$L_0$)",
    )  # fmt: skip
    axes.set_title("theory (dotted: as many)", fontsize=10)
    axes.legend(frameon=False, fontsize=7, markerscale=2.0)
