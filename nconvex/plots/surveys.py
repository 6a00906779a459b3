"""The figure of a survey."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import LogLocator

from nconvex.plots.style import STYLES, Part, drawn, figure_or_new, ink, name_few

if TYPE_CHECKING:
    from nconvex.pairs.published import Published
    from nconvex.pairs.records import Setting, Survey

#: Names of a survey's means, in the order of the panels.
MEANS = ("share", "beads", "normalized_length", "search_steps")
FAILURES = {"bead_untrainable": "x", "depth_exhausted": "+", "end_untrainable": "_"}

ALPHA = r"$\alpha$"

#: What a classifier's thresholds limit.
METRICS = {"loss": "cross-entropy [nats]", "error": "share of wrong labels"}

#: Of what a curve is called, the names that say themselves what they are.
TOLD = ("task", "activation", "loss", "sampler")


@dataclass(frozen=True)
class Column:
    """The settings whose horizontal axis has one unit.

    Attributes:
        label: What the axis shows.
        settings: Which of the survey's settings.
        x: The value of each of the survey's settings.
        curves: The settings of each curve, by its name.
    """

    label: str
    settings: list[int]
    x: list[float]
    curves: dict[str, list[int]]


def survey(survey: Survey, published: Sequence[Published] = (), figure: Part = None) -> Any:
    """Draw a survey: connected share, beads, normalized length and work, with 95 % intervals.

    The horizontal axis is L₀, α or the width, whichever takes the most values; where losses are
    compared, it is the accuracy that L₀ stands for. Thresholds of a loss and of a share of errors
    have a column of panels each. Each combination of what else varies has a curve. Failures are
    symbols in the first panel. Where α varies, a fifth panel compares the beads with the number
    that suffices in theory. `published` points are drawn, too.

    Example: `python -m nconvex.survey plot FILE` draws it.
    """
    rows = survey.aggregates()
    columns = _columns(survey)
    name = columns[0].label
    predicted = name.startswith(ALPHA) and bool(np.isfinite(survey.records["steepest"]).any())
    if len(columns) > 1:
        whole = figure_or_new(figure, height=9.0)
        panels = whole.subplots(4, len(columns), sharex="col", sharey="row", squeeze=False).T
    else:
        whole = figure_or_new(figure, height=8.0 if predicted else 5.6)
        panels = whole.subplots(3 if predicted else 2, 2).ravel()[None]
    for column, axes in zip(columns, panels, strict=True):
        for axis in axes[1:4]:  # also where none of a figure's pairs has a value
            axis.sharex(axes[0])
        _draw_column(axes, column, rows, published, survey.verdict)
    for axes in panels[1:]:
        axes[0].set_title("")
        for axis in axes:
            axis.set_ylabel("")
    if len(columns) > 1:
        for axis in panels[:, :-1].ravel():
            axis.set_xlabel("")
    names = panels[0][1].get_legend_handles_labels()
    own = any(setting.is_ones_own for setting in survey.settings)
    if len(columns) == 1 and (own or len(names[1]) > 1):
        _legend(whole, panels[0][5] if predicted else None, *names)
    elif predicted:
        panels[0][5].set_axis_off()
    if predicted:
        _prediction(survey, panels[0][4])
    whole.align_ylabels(panels.ravel())
    return drawn(figure, list(panels.ravel()))


def _legend(figure: Any, room: Any, handles: Any, labels: list[str]) -> None:
    """Name the curves in a panel that is free, or beneath all panels."""
    if room is not None:
        room.set_axis_off()
        room.legend(handles, labels, frameon=False, fontsize="small", loc="center")
        return
    columns = 4 if sum(map(len, labels)) < 40 else 2
    figure.legend(
        handles, labels, frameon=False, fontsize="small", loc="outside lower center",
        ncols=min(columns, len(labels)),
    )  # fmt: skip


def _draw_column(
    axes: Any, column: Column, rows: np.ndarray, published: Sequence[Published], verdict: str
) -> None:
    """Draw the panels of all settings whose axis has one unit."""
    x, kept = column.x, column.settings
    for (label, members), style in zip(
        column.curves.items(), itertools.cycle(STYLES), strict=False
    ):
        members = sorted((k for k in members if rows["pairs"][k]), key=lambda k: x[k])
        at = np.array([x[k] for k in members])
        _draw_curve(axes, at, rows[np.array(members, int)], label, style)
    _draw_published(axes, published)
    _label(axes, rows[np.array(kept, int)], published, verdict)
    for axis in axes[:4]:
        axis.set_xlabel(column.label)
        if not column.label.startswith(ALPHA):
            axis.set_xscale("log")
            name_few(axis.xaxis, [x[k] for k in kept])


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
    for axis, points in ((axes[1], beads), (axes[2], lengths)):
        values, bars = np.transpose(points)
        axis.errorbar(
            at, values, bars, color=ink(), marker="*", ms=7.0, ls="", capsize=2.0,
            elinewidth=0.9, label="published (beads: less 2)",
        )  # fmt: skip


def _label(axes: Any, rows: np.ndarray, published: Sequence[Published], verdict: str) -> None:
    """Set the vertical axes, so that all means can be seen."""
    share, beads, length, work = axes[:4]
    pairs = rows["pairs"]
    count = str(pairs.max()) if pairs.min() == pairs.max() else f"{pairs.min()} to {pairs.max()}"
    share.set(ylim=(-0.04, 1.04), ylabel=f"share of {count} pairs")
    share.set_title(
        f"lines: {verdict}; failures:\n" r"$\times$ bead, $+$ depth, $-$ end", fontsize="small"
    )
    ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200]
    beads.set_yscale("symlog", linthresh=1.0)
    beads.set_yticks(ticks, map(str, ticks))
    beads.set_yticks([], minor=True)
    beads.set_ylim(*_room([*rows["beads"], *(p.inserted for p in published)], 1.5, 0.0))
    beads.set(ylabel="beads")
    lengths = [*rows["normalized_length"], *(p.normalized_length for p in published)]
    length.set_ylim(*_room(lengths, 1.05, 0.97))
    length.set(ylabel="normalized length")
    work.set(ylabel="gradient evaluations")
    if (rows["search_steps"] > 0.0).any():
        work.set_yscale("log")


def _room(values: Sequence[float], margin: float, lowest: float) -> tuple[float, float]:
    """Limits of an axis that shows all means; wide intervals of a few pairs may leave it."""
    known = [float(value) for value in values if np.isfinite(value)]
    if not known:
        return lowest, lowest + 1.0
    low, high = min(known) / margin, max(known) * margin
    return (low if low > 1.0 else lowest), max(high, lowest + 0.1)


def _columns(survey: Survey) -> list[Column]:
    """What is on the horizontal axis, and the curves; a column for each unit that it has."""
    settings = survey.settings
    axes: dict[str, tuple[str, Callable[[Setting], Any]]] = {
        "$L_0$": ("$L_0$", lambda setting: setting.L0),
        ALPHA: (rf"{ALPHA}: beads are trained to $\alpha L_0$", lambda setting: setting.alpha),
        "h": ("hidden units a layer, h", lambda setting: (*setting.hidden, math.nan)[0]),
    }
    name = max(axes, key=lambda axis: len({axes[axis][1](setting) for setting in settings}))
    digits = settings[0].task == "mnist"
    losses = list(dict.fromkeys(setting.loss for setting in settings))
    if len(losses) > 1 and np.isfinite([setting.residual for setting in settings]).all():
        name = "$L_0$"
        label = "rms residual that $L_0$ stands for"
        axes[name] = (label, lambda setting: setting.residual)
    label, value = axes.pop(name)
    x = [float(value(setting)) for setting in settings]
    units = digits and name == "$L_0$"
    groups = losses if units else [None]
    columns = []
    for loss in groups:
        kept = [k for k in range(len(settings)) if loss is None or settings[k].loss == loss]
        unit = f": {METRICS[loss]}" if loss is not None else ""
        columns.append(Column(label + unit, kept, x, _curves(settings, kept, axes)))
    return columns


def _curves(
    settings: Sequence[Setting],
    kept: Sequence[int],
    axes: dict[str, tuple[str, Callable[[Setting], Any]]],
) -> dict[str, list[int]]:
    """The settings of each curve by its label: what varies besides the horizontal axis."""
    others: dict[str, Callable[[Setting], Any]] = {
        **{label: of for label, (_, of) in axes.items()},
        "task": lambda setting: setting.task,
        "activation": lambda setting: setting.activation,
        "loss": lambda setting: setting.loss,
        "sampler": lambda setting: setting.sampler,
        "depth": lambda setting: setting.depth,
        "accepted / $L_0$": lambda setting: setting.accept,
    }
    those = [settings[k] for k in kept]
    varying = {label: of for label, of in others.items() if len({of(each) for each in those}) > 1}
    if "sampler" in varying:  # what each sampler has its own value of need not be said
        samplers = {setting.sampler for setting in those}
        for label in (ALPHA, "depth"):
            of = varying.get(label)
            if of and len({(s.sampler, of(s)) for s in those}) == len(samplers):
                del varying[label]
    curves: dict[str, list[int]] = {}
    for k in kept:
        values = [(label, of(settings[k])) for label, of in varying.items()]
        known = [
            f"{value}" if label in TOLD else f"{label} {value}"
            for label, value in values
            if value not in ("", math.nan)
        ]
        curves.setdefault(", ".join(known) or settings[k].task, []).append(k)
    return curves


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
            label=rf"{ALPHA} = {alpha:g}",
        )  # fmt: skip
    ends = np.array([1.0, max(2.0, float(enough.max(initial=2.0)))])
    axes.plot(ends, ends, color=ink(), lw=0.9, ls=":")
    axes.set(
        xscale="log", yscale="log", ylabel="beads",
        xlabel=r"beads that suffice: $\ell\Lambda/(2(1-\alpha)L_0)$",
    )  # fmt: skip
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.set_title("theory (dotted: as many)", fontsize="medium")
    if len(alphas):
        axes.legend(frameon=False, fontsize="small", markerscale=2.0, handletextpad=0.0)
