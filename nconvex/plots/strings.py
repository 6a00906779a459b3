"""Figures of one string: its losses, the string in weight space, and its models' outputs.

Functions with one panel draw on the axes `ax`, those with several on the `figure`, if one is given,
and return it; else they make a figure, which is ready to be shown or saved, and return that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from nconvex.definitions import NconvexError, beside
from nconvex.landscape import Landscape
from nconvex.network.classification import Classification
from nconvex.network.problem import Problem
from nconvex.plots.style import (
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    Part,
    axes_or_new,
    colour_bar,
    drawn,
    figure_or_new,
    ink,
    is_wide,
    norm_of,
    quantity,
)
from nconvex.string import String

#: Points a curve is drawn with.
POINTS = 400

#: Which of the components.
ORDINALS = ("1st", "2nd", "3rd")


def summary(
    landscape: Landscape,
    string: String,
    draw_models: Callable[[SubFigure], object],
    figure: Part = None,
) -> Any:
    """Draw losses above, the string in space below, and the models' outputs at their right.

    The outputs are drawn by `draw_models`, e.g. `predictions` or `digits`.

    Example: `python -m nconvex.quad` draws it.
    """
    whole = figure_or_new(figure, height=5.6)
    left, right = whole.subfigures(1, 2, width_ratios=(1.06, 1.0), wspace=0.03)
    above, below = left.subfigures(2, 1, height_ratios=(1.0, 1.3))
    loss_along(landscape, string, above.add_subplot())
    string_in_space(landscape, string, below.add_subplot(projection="3d"))
    draw_models(right)
    return whole


def loss_along(landscape: Landscape, string: String, ax: Axes | None = None) -> Any:
    """Draw γ on the straight line between the ends, and along the string, against L₀.

    The horizontal axis is the fraction of each path's own length; every bead is marked.

    Example: README, "From Python".
    """
    axes = axes_or_new(ax)
    t = np.linspace(0.0, 1.0, POINTS)
    line = landscape.gamma(string.beads[0], string.beads[-1], t)
    s, losses = losses_along(landscape, string, POINTS)
    axes.plot(t, line, color=ORANGE, ls="--", lw=1.6, label="straight line")
    axes.plot(s, losses, color=BLUE, lw=1.8, label=f"string, {_beads(string)}")
    axes.plot(
        string.positions, string.losses, "o", color=BLUE, ms=5.0, mec="white", mew=0.6,
        clip_on=False, zorder=3,
    )  # fmt: skip
    axes.axhline(string.L0, color=ink(), lw=1.0, ls=":")
    if is_wide(line, losses):
        axes.set_yscale("log")
    axes.annotate(
        "$L_0$", (1.0, string.L0), xytext=(4, 0), textcoords="offset points", va="center",
        annotation_clip=False,
    )  # fmt: skip
    axes.set(xlabel="fraction of the path's length", ylabel=quantity(landscape), xlim=(0.0, 1.0))
    verdict = "connected" if string.connected else "not connected"
    bounds = ", ".join(beside(bound, string.L0) for bound in string.max_error_bounds)
    axes.set_title(
        f"{verdict} ({string.evidence})\n"
        rf"$\tilde\Gamma$ in [{bounds}], $L_0$ = {string.L0:.7g}",
        fontsize="medium",
    )
    axes.legend(frameon=False, fontsize="small")
    return drawn(ax, [axes])


def string_in_space(landscape: Landscape, string: String, ax: Axes | None = None) -> Any:
    """Draw the string on its beads' first three principal components, coloured by the loss.

    Its shadows are on the walls. A direction without spread stays flat: two beads span a line.
    Axes that are given must be three-dimensional: `figure.add_subplot(projection="3d")`.

    Example: see `summary`.
    """
    axes = axes_or_new(ax, 4.8, projection="3d")
    if axes.name != "3d":
        raise NconvexError('ax must be three-dimensional: figure.add_subplot(projection="3d")')
    axes.computed_zorder = False
    beads = string.principal_coordinates(3)
    s, loss = losses_along(landscape, string, POINTS)
    path = np.array([np.interp(s, string.positions, axis) for axis in beads.T]).T
    margin = 0.15 * max(float(np.ptp(path, axis=0).max()), 1e-9)
    low, high = path.min(axis=0) - margin, path.max(axis=0) + margin
    walls = (low[0], high[1], low[2])
    for axis, wall in enumerate(walls):
        for points, style in ((path, {"lw": 1.2}), (beads, {"ls": "", "marker": ".", "ms": 3.5})):
            shadow = points.copy()
            shadow[:, axis] = wall
            axes.plot(*shadow.T, color="#999999", zorder=1, **style)
    losses = 0.5 * (loss[:-1] + loss[1:])
    segments: Any = Line3DCollection(
        np.stack([path[:-1], path[1:]], axis=1), cmap="viridis", norm=norm_of(losses),
        linewidths=3.0, zorder=2,
    )  # fmt: skip
    segments.set_array(losses)
    axes.add_collection3d(segments)
    mark: Any = {"ls": "", "mec": "black", "mew": 0.7, "zorder": 3}
    axes.plot(*beads[1:-1].T, marker="o", ms=4.0, color="white", **mark)
    for end, name in ((beads[0], r"$\theta_1$"), (beads[-1], r"$\theta_2$")):
        axes.plot(*end[:, None], marker="s", ms=6.0, color=ORANGE, **mark)
        axes.text(*end, f"  {name}", zorder=4)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    for axis, name in zip((axes.xaxis, axes.yaxis, axes.zaxis), ORDINALS, strict=True):
        axis.set_label_text(name, fontsize="small")
        axis.labelpad = -4.0
        axis.set_major_locator(MaxNLocator(3))
        axis._axinfo["grid"]["color"] = "#e6e6e6"  # faint, so that the shadows stand out
    axes.tick_params(labelsize="small", pad=-2)
    axes.view_init(elev=24, azim=-58)
    axes.set_box_aspect((1.25, 1.25, 1.0), zoom=1.15)
    axes.set_title(
        "principal components, in weight distance\n"
        f"normalized length {string.normalized_length:.3g}",
        fontsize="medium",
    )
    where: Any = {"orientation": "horizontal", "shrink": 0.7, "aspect": 30, "pad": 0.02}
    colour_bar(axes, segments, quantity(landscape), **where)
    return drawn(ax, [axes])


def predictions(
    problem: Problem,
    string: String,
    polynomial: Callable[[np.ndarray], np.ndarray],
    figure: Part = None,
) -> Any:
    """Draw both ends' predictions and a middle model's against the polynomial.

    The middle model is the bead nearest to half way, or without beads the point half way.
    Its network must map one input to one output.

    Example: see `summary`.
    """
    whole = figure_or_new(figure)
    above, below = whole.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    x = np.linspace(0.0, 1.0, POINTS)[:, None]
    truth = polynomial(x)
    middle, name = middle_model(string)
    above.plot(x, truth, color=LIGHT, lw=6.0, solid_capstyle="round", label="polynomial")
    for theta, label, colour, style in (
        (string.beads[0], r"$\theta_1$", BLUE, "-"),
        (string.beads[-1], r"$\theta_2$", ORANGE, "--"),
        (middle, name, GREEN, "-."),
    ):
        y = problem.model.predict(theta, x)
        above.plot(x, y, color=colour, ls=style, lw=1.6, label=label)
        below.plot(x, y - truth, color=colour, ls=style, lw=1.4)
    below.axhline(0.0, color=GREY, lw=0.8)
    above.set(ylabel="f(x)", xlim=(0.0, 1.0))
    below.set(xlabel="x", ylabel="error")
    above.set_title("what the networks compute", fontsize="medium")
    above.legend(frameon=False, fontsize="small")
    whole.align_ylabels([above, below])
    return drawn(figure, [above, below])


def middle_model(string: String) -> tuple[np.ndarray, str]:
    """The bead nearest to half way, or without beads the point half way; and its name."""
    if not string.n_beads:
        return string.at(0.5), "half way"
    bead = 1 + int(np.argmin(np.abs(string.positions[1:-1] - 0.5)))
    return string.beads[bead], f"bead {bead} of {string.n_beads}"


def digits(problem: Classification, string: String, figure: Part = None, images: int = 4) -> Any:
    """Draw the class probabilities that the models on the path give to some test images.

    For each label, the test image is chosen whose label's probability varies most along the path.
    Of these, the `images` that vary most are drawn. The inputs must be square.

    Example: see `summary`.
    """
    whole = figure_or_new(figure)
    chosen = problem.doubtful([string.at(float(u)) for u in np.linspace(0.0, 1.0, 9)], images)
    s = np.linspace(0.0, 1.0, 61)
    models = [string.at(float(u)) for u in s]
    likely = np.array([problem.probabilities(theta, chosen) for theta in models])  # (S, n, C)
    side = int(np.sqrt(problem.X_test.shape[1]))
    axes = whole.subplots(len(chosen), 2, width_ratios=(1, 3), squeeze=False)
    for row, (image, (picture, curves)) in enumerate(zip(chosen, axes, strict=True)):
        label = int(problem.labels_test[image])
        highest = likely[:, row].max(axis=0)
        highest[label] = -1.0
        other = int(np.argmax(highest))
        picture.imshow(problem.X_test[image].reshape(side, side), cmap="gray_r", aspect="equal")
        picture.set(xticks=(), yticks=())
        for c in range(likely.shape[2]):
            if c not in (label, other):
                curves.plot(s, likely[:, row, c], color="#cccccc", lw=0.8)
        curves.plot(s, likely[:, row, label], color=BLUE, lw=1.8, label=f"{label} (its label)")
        curves.plot(s, likely[:, row, other], color=ORANGE, lw=1.6, ls="--", label=f"{other}")
        curves.set(xlim=(0.0, 1.0), ylim=(-0.03, 1.03), yticks=(0.0, 1.0))
        curves.tick_params(labelbottom=row == len(chosen) - 1, labelsize="small")
        curves.legend(frameon=False, fontsize="small", loc="lower left", ncols=2,
                      bbox_to_anchor=(0.0, 0.98), borderaxespad=0.0)  # fmt: skip
    axes[0, 1].set_title("probability of each label", fontsize="medium", pad=20.0)
    axes[-1, 1].set_xlabel("fraction of the path's length")
    return drawn(figure, list(axes.ravel()))


def _beads(string: String) -> str:
    return "1 bead" if string.n_beads == 1 else f"{string.n_beads} beads"


def losses_along(
    landscape: Landscape, string: String, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the path's length and the losses there: every bead, every t*, and between."""
    where = string.positions
    fractions, losses = [], []
    for k, t_star in enumerate(string.segment_t_star):
        t = np.union1d(np.linspace(0.0, 1.0, max(8, points // len(string.peaks))), [t_star])
        fractions.append(where[k] + t * (where[k + 1] - where[k]))
        losses.append(landscape.gamma(string.beads[k], string.beads[k + 1], t))
    return np.clip(np.concatenate(fractions), 0.0, 1.0), np.concatenate(losses)
