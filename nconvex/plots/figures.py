"""Figures of strings and of surveys. The only file that knows matplotlib.

Nothing here trains or searches.

Each function returns a `matplotlib.figure.Figure` that is ready to be shown or saved, or draws on
the `figure` that it is given. `landscape` gives γ, `measure` says what its values are. Colours are
Okabe and Ito's, which the colour-blind tell apart; line styles differ too, for print.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot  # noqa: F401 - registers how notebooks show a Figure
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure, SubFigure
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from mpl_toolkits.mplot3d.axes3d import Axes3D

from nconvex.definitions import beside
from nconvex.landscape import Landscape
from nconvex.network.classification import Classification
from nconvex.network.problem import Problem
from nconvex.string import String

if TYPE_CHECKING:
    from nconvex.samplers.merging import Connectivity, Merge
    from nconvex.survey.published import Published
    from nconvex.survey.records import Setting, Survey

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
GREY = "#777777"
PINK = "#CC79A7"
YELLOW = "#E69F00"
SKY = "#56B4E9"

#: Of the curves of one figure, in their order: colour, marker, line style.
STYLES = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "--"),
    (GREEN, "^", "-."),
    (PINK, "D", ":"),
    (YELLOW, "v", "-"),
    (SKY, "P", "--"),
)

#: Places on an axis that are each named.
FEW = 6

#: Points a curve is drawn with.
POINTS = 400


def summary(
    landscape: Landscape,
    string: String,
    draw_models: Callable[[SubFigure], object],
    measure: str = "loss",
) -> Figure:
    """Draw three figures side by side: losses, the string in space, and what the models do.

    The third is drawn by `draw_models`, e.g. `predictions` or `digits`.
    """
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    parts: Any = figure.subfigures(1, 3, width_ratios=(1.1, 1.0, 1.0))
    left, middle, right = parts
    loss_along(landscape, string, left, measure)
    string_in_space(landscape, string, middle, measure)
    draw_models(right)
    return figure


def loss_along(
    landscape: Landscape,
    string: String,
    figure: Figure | SubFigure | None = None,
    measure: str = "loss",
) -> Any:
    """Draw γ on the straight line between the ends, and along the string, against L₀.

    The horizontal axis is the fraction of each path's own length; every bead is marked.
    """
    figure = _figure(figure)
    axes = figure.subplots()
    t = np.linspace(0.0, 1.0, POINTS)
    line = landscape.gamma(string.beads[0], string.beads[-1], t)
    s, along = _along(landscape, string)
    axes.plot(t, line, color=ORANGE, ls="--", lw=1.6, label="straight line")
    axes.plot(s, along, color=BLUE, lw=1.8, label=f"string, {_beads(string)}")
    axes.plot(
        _bead_positions(string), string.losses, "o", color=BLUE, ms=5.0, mec="white", mew=0.6,
        clip_on=False, zorder=3,
    )  # fmt: skip
    axes.axhline(string.L0, color="black", lw=1.0, ls=":")
    if min(line.min(), along.min()) > 0.0:
        axes.set_yscale("log")
    axes.annotate(
        "$L_0$",
        (1.0, string.L0),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )
    axes.set(xlabel="fraction of the path's length", ylabel=f"test {measure}", xlim=(0.0, 1.0))
    verdict = "connected" if string.connected else "not connected"
    lower, upper = string.max_error_bounds
    axes.set_title(
        rf"{verdict}: $\tilde\Gamma$ in [{beside(lower, string.L0)}, "
        rf"{beside(upper, string.L0)}] ({string.evidence}), $L_0$ = {string.L0!r}",
        fontsize=10,
    )
    axes.legend(frameon=False)
    return _open(figure)


def string_in_space(
    landscape: Landscape,
    string: String,
    figure: Figure | SubFigure | None = None,
    measure: str = "loss",
) -> Any:
    """Draw the string on its beads' first three principal components, coloured by log loss.

    Its shadows are on the walls. Directions of no spread stay flat: two beads span a line only.
    """
    figure = _figure(figure)
    with rc_context({"grid.color": "#e6e6e6"}):  # faint, so that the shadows stand out
        axes = figure.add_subplot(projection="3d", computed_zorder=False)
    assert isinstance(axes, Axes3D)
    beads = string.principal_coordinates(3)
    s, loss = _along(landscape, string)
    path = np.array([np.interp(s, _bead_positions(string), axis) for axis in beads.T]).T
    margin = 0.15 * max(float(np.ptp(path, axis=0).max()), 1e-9)
    low, high = path.min(axis=0) - margin, path.max(axis=0) + margin
    walls = (low[0], high[1], low[2])
    for axis, wall in enumerate(walls):
        for points, style in ((path, {"lw": 1.2}), (beads, {"ls": "", "marker": ".", "ms": 3.5})):
            shadow = points.copy()
            shadow[:, axis] = wall
            axes.plot(*shadow.T, color="#999999", zorder=1, **style)
    log_loss = np.log10(np.maximum(loss, np.finfo(float).tiny))
    pieces = Line3DCollection(
        np.stack([path[:-1], path[1:]], axis=1), cmap="viridis", linewidths=3.0, zorder=2
    )
    pieces.set_array(0.5 * (log_loss[:-1] + log_loss[1:]))
    axes.add_collection3d(pieces)
    axes.plot(
        *beads[1:-1].T, ls="", marker="o", ms=4.0, color="white", mec="black", mew=0.7, zorder=3
    )
    for end, name in ((beads[0], "$θ_1$"), (beads[-1], "$θ_2$")):
        axes.plot(
            *end[:, None], ls="", marker="s", ms=6.0, color=ORANGE, mec="black", mew=0.7, zorder=3
        )
        axes.text(*end, f"  {name}", fontsize=11, zorder=4)
    axes.set(
        xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]),
        xlabel="1st component", ylabel="2nd", zlabel="3rd",
    )  # fmt: skip
    axes.tick_params(labelsize=7, pad=-1)
    axes.view_init(elev=24, azim=-58)
    axes.set_box_aspect(None, zoom=1.05)
    axes.set_title(f"in weight space: normalized length {string.normalized_length:.3g}")
    bar = figure.colorbar(
        pieces, ax=axes, orientation="horizontal", shrink=0.6, aspect=30, pad=0.08
    )
    bar.set_label(rf"$\log_{{10}}$ of the test {measure}")
    return figure


def predictions(
    problem: Problem,
    string: String,
    polynomial: Callable[[np.ndarray], np.ndarray],
    figure: Figure | SubFigure | None = None,
) -> Any:
    """Draw both ends' predictions and a middle model's against the polynomial.

    The middle model is the bead nearest to half way, or without beads the point half way.
    Its network must map one input to one output.
    """
    figure = _figure(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    x = np.linspace(0.0, 1.0, POINTS)[:, None]
    truth = polynomial(x)
    if string.n_beads:
        bead = 1 + int(np.argmin(np.abs(_bead_positions(string)[1:-1] - 0.5)))
        middle, name = string.beads[bead], f"bead {bead} of {string.n_beads}"
    else:
        middle, name = string.at(0.5), "half way"
    above.plot(x, truth, color="#bbbbbb", lw=6.0, solid_capstyle="round", label="polynomial")
    for theta, label, colour, style in (
        (string.beads[0], "$θ_1$", BLUE, "-"),
        (string.beads[-1], "$θ_2$", ORANGE, "--"),
        (middle, name, GREEN, "-."),
    ):
        y = problem.model.predict(theta, x)
        above.plot(x, y, color=colour, ls=style, lw=1.6, label=label)
        below.plot(x, y - truth, color=colour, ls=style, lw=1.4)
    below.axhline(0.0, color=GREY, lw=0.8)
    above.set(ylabel="f(x)", xlim=(0.0, 1.0))
    below.set(xlabel="x", ylabel="error")
    above.set_title("what the networks compute")
    above.legend(frameon=False)
    figure.align_ylabels([above, below])
    return _open(figure)


def digits(
    problem: Classification,
    string: String,
    figure: Figure | SubFigure | None = None,
    images: int = 4,
) -> Any:
    """Draw what the models on the path make of some test images: class probabilities.

    Those images are chosen whose label is taken for more and for less likely along the path, most
    of all, each of another label.
    Its inputs must be square.
    """
    figure = _figure(figure)
    chosen = _doubtful(problem, string, images)
    s = np.linspace(0.0, 1.0, 61)
    models = [string.at(float(u)) for u in s]
    likely = np.array([_probabilities(problem, theta, chosen) for theta in models])  # (S, n, C)
    side = int(np.sqrt(problem.X_test.shape[1]))
    axes = figure.subplots(images, 2, width_ratios=(1, 5), squeeze=False)
    for row, (image, (picture, curves)) in enumerate(zip(chosen, axes, strict=False)):
        label = int(problem.labels_test[image])
        others = likely[:, row].copy()
        others[:, label] = -1.0
        rival = int(np.argmax(others.max(axis=0)))
        picture.imshow(problem.X_test[image].reshape(side, side), cmap="gray_r", aspect="equal")
        picture.set(xticks=(), yticks=())
        for c in range(likely.shape[2]):
            if c not in (label, rival):
                curves.plot(s, likely[:, row, c], color="#cccccc", lw=0.8)
        curves.plot(s, likely[:, row, label], color=BLUE, lw=1.8, label=f"{label} (its label)")
        curves.plot(s, likely[:, row, rival], color=ORANGE, lw=1.6, ls="--", label=f"{rival}")
        curves.set(xlim=(0.0, 1.0), ylim=(-0.03, 1.03), yticks=(0.0, 1.0))
        curves.tick_params(labelbottom=row == images - 1, labelsize=8)
        curves.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[0, 1].set_title("how likely the networks find each label", fontsize=11)
    axes[-1, 1].set_xlabel("fraction of the path's length")
    return _open(figure)


def survey(survey: Survey, published: Sequence[Published] = ()) -> Figure:
    """Draw a survey: connected share, beads, normalized length and work, with 95 % intervals.

    Against the setting's attribute that takes the most values of L₀, α and width, or against the
    accuracy that L₀ stands for where losses are compared; one curve for each combination of what
    else varies. Failures are drawn as open symbols beside the connected share. Where both α and
    beads vary, a fifth figure compares the beads with the number that theory says suffices.
    Points of the published figure are drawn beside ours.
    """
    x, xlabel, curves = _curves(survey)
    rows = survey.aggregates()
    predicted = xlabel.startswith("α") and bool(np.isfinite(survey.records["steepest"]).any())
    figure = Figure(figsize=(20.0 if predicted else 16.4, 4.6), layout="constrained")
    axes = figure.subplots(1, 5 if predicted else 4)
    share, beads, length, work = axes[:4]
    for axis in (beads, length, work):  # also where none of a figure's pairs has a value
        axis.sharex(share)
    for (label, members), (colour, marker, line) in zip(
        curves.items(), itertools.cycle(STYLES), strict=False
    ):
        members = sorted((k for k in members if rows["pairs"][k]), key=lambda k: x[k])
        at = np.array([x[k] for k in members])
        style = {"color": colour, "marker": marker, "ls": line, "ms": 4.5, "lw": 1.4}
        for axis, name in (
            (share, "share"),
            (beads, "beads"),
            (length, "normalized_length"),
            (work, "search_steps"),
        ):
            middle, low, high = (rows[f"{name}{end}"][members] for end in ("", "_low", "_high"))
            error = np.abs(np.nan_to_num([middle - low, high - middle]))
            axis.errorbar(at, middle, error, capsize=2.0, elinewidth=0.9, label=label, **style)
        for failure, symbol in (
            ("bead_untrainable", "x"),
            ("depth_exhausted", "+"),
            ("end_untrainable", "_"),
        ):
            shares = rows[failure][members] / rows["pairs"][members]
            kept = shares > 0.0
            share.plot(at[kept], shares[kept], ls="", marker=symbol, color=colour, ms=6.0)
    if published:
        at = np.array([point.L0 for point in published])
        for axis, values, bars in (
            (beads, [p.inserted for p in published], [p.beads_bar for p in published]),
            (
                length,
                [p.normalized_length for p in published],
                [p.normalized_length_bar for p in published],
            ),
        ):
            axis.errorbar(
                at, values, bars, color="black", marker="*", ms=7.0, ls="", capsize=2.0,
                elinewidth=0.9, label="published" + (" less 2" if axis is beads else ""),
            )  # fmt: skip
    pairs = rows["pairs"]
    count = str(pairs.max()) if pairs.min() == pairs.max() else f"{pairs.min()} to {pairs.max()}"
    share.set(ylim=(-0.04, 1.04), ylabel="share of all pairs")
    share.set_title(f"connected, and failures:\n× bead, + depth, – end; {count} pairs", fontsize=10)
    extra = np.array([(p.inserted, p.normalized_length) for p in published]).reshape(-1, 2)
    many = np.concatenate((rows["beads"], extra[:, 0]))
    long = np.concatenate((rows["normalized_length"], extra[:, 1]))
    ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200]
    beads.set_yscale("symlog", linthresh=1.0)
    beads.set_yticks(ticks, map(str, ticks))
    beads.set_ylim(*_room(many, 1.5, 0.0))
    beads.set(ylabel="beads, of connected pairs")
    length.set_ylim(*_room(long, 1.05, 0.97))
    length.set(ylabel="normalized length, of connected pairs")
    work.set(ylabel="gradient evaluations of the search", yscale="log")
    beads.legend(frameon=False, fontsize=8)
    for axis in axes[:4]:
        axis.set(xlabel=xlabel)
        if xlabel.startswith("α"):
            continue
        axis.set_xscale("log")
        if len(places := sorted({float(f"{value:.3g}") for value in x})) <= FEW:
            axis.set_xticks(places, [f"{value:g}" for value in places])
            axis.set_xticks([], minor=True)
    if predicted:
        _prediction(survey, axes[4])
    return _open(figure)


def disconnectivity(connectivity: Connectivity, levels: Sequence[float] = ()) -> Figure:
    """Draw the merge tree of models as a disconnectivity graph, and components against L₀.

    A leaf ends at its model's loss; branches meet at the lowest loss at which their models are
    known to be connected: an upper bound, since paths may have been missed.
    Of thresholds, `levels` are marked.
    """
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    tree, count = figure.subplots(1, 2)
    merges = connectivity.merges()
    tops: dict[tuple[int, ...], float] = {
        (k,): float(loss) for k, loss in enumerate(connectivity.losses)
    }
    place = {k: n for n, k in enumerate(_leaves(len(tops), merges))}
    for merge in merges:
        left, right = (
            float(np.mean([place[k] for k in group])) for group in (merge.left, merge.right)
        )
        for group, at in ((merge.left, left), (merge.right, right)):
            tree.plot([at, at], [tops[group], merge.height], color=BLUE, lw=1.4)
        tree.plot([left, right], [merge.height] * 2, color=BLUE, lw=1.4)
        tops[tuple(sorted(merge.left + merge.right))] = merge.height
    tree.set(
        yscale="log", xticks=list(place.values()), xticklabels=list(place), xlabel="model",
        ylabel="loss", title="merge tree (an upper bound)",
    )  # fmt: skip
    heights = np.sort([*connectivity.losses, *(merge.height for merge in merges), *levels])
    known = np.array([connectivity.components(float(height)) for height in heights])
    count.step(heights, known, where="post", color=BLUE, lw=1.6)
    for level in levels:
        for axis in (tree.axhline, count.axvline):
            axis(level, color="#bbbbbb", lw=0.8, ls=":")
    lowest, highest = float(min(connectivity.losses)), float(heights[-1])
    tree.set(ylim=(lowest / 1.3, 1.3 * (merges[-1].height if merges else highest)))
    count.set(
        xscale="log", xlabel="$L_0$", ylabel="components known, at most",
        title=f"{len(connectivity.losses)} models, {connectivity.searches} searches",
    )  # fmt: skip
    count.yaxis.get_major_locator().set_params(integer=True)
    return _open(figure)


def _curves(survey: Survey) -> tuple[list[float], str, dict[str, list[int]]]:
    """Where each setting stands, what that is, and the settings of each curve by its label."""
    settings = survey.settings
    axes: dict[str, tuple[str, Callable[[Setting], Any]]] = {
        "L0": ("$L_0$", lambda setting: setting.L0),
        "alpha": ("α: beads are trained to α$L_0$", lambda setting: setting.alpha),
        "hidden": ("hidden units a layer, h", lambda setting: setting.hidden[0]),
    }
    others: dict[str, Callable[[Setting], Any]] = {
        "task": lambda setting: setting.task,
        "activation": lambda setting: setting.activation,
        "loss": lambda setting: setting.loss,
        "sampler": lambda setting: setting.sampler,
        "depth": lambda setting: setting.depth,
        "accepted / $L_0$": lambda setting: setting.accept,
    }
    if len({setting.loss for setting in settings}) > 1 and settings[0].task != "mnist":
        name = "L0"
        axes[name] = (
            "root mean square residual that $L_0$ stands for",
            lambda setting: setting.residual,
        )
    else:
        name = max(axes, key=lambda axis: len({axes[axis][1](setting) for setting in settings}))
    xlabel, value = axes.pop(name)
    described = {
        **{"α" if key == "alpha" else label: of for key, (label, of) in axes.items()},
        **others,
    }
    varying = {
        label: of
        for label, of in described.items()
        if len({of(setting) for setting in settings}) > 1
    }
    if "sampler" in varying:  # what each sampler has its own value of need not be said
        samplers = {setting.sampler for setting in settings}
        for label in ("α", "depth"):
            of = varying.get(label)
            if of and len({(s.sampler, of(s)) for s in settings}) == len(samplers):
                del varying[label]
    curves: dict[str, list[int]] = {}
    for k, setting in enumerate(settings):
        label = ", ".join(f"{label} {of(setting)}" for label, of in varying.items()) or "ours"
        curves.setdefault(label, []).append(k)
    return [float(value(setting)) for setting in settings], xlabel, curves


def _room(values: np.ndarray, margin: float, lowest: float) -> tuple[float, float]:
    """Limits of an axis that shows all means; wide intervals of a few pairs may leave it."""
    known = values[np.isfinite(values)]
    if not known.size:
        return lowest, lowest + 1.0
    low, high = float(known.min()) / margin, float(known.max()) * margin
    return (low if low > 1.0 else lowest), max(high, lowest + 0.1)


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


def _leaves(models: int, merges: Sequence[Merge]) -> list[int]:
    """Models in an order in which no two branches cross."""
    order: dict[tuple[int, ...], list[int]] = {(k,): [k] for k in range(models)}
    for merge in merges:
        whole = tuple(sorted(merge.left + merge.right))
        order[whole] = order.pop(merge.left) + order.pop(merge.right)
    return [k for group in order.values() for k in group]


def _doubtful(problem: Classification, string: String, images: int) -> np.ndarray:
    everything = np.arange(len(problem.labels_test))
    seen = np.array(
        [
            _probabilities(problem, string.at(float(u)), everything)[
                everything, problem.labels_test
            ]
            for u in np.linspace(0.0, 1.0, 9)
        ]
    )
    order = np.argsort(-seen.std(axis=0), kind="stable")
    _, first = np.unique(problem.labels_test[order], return_index=True)
    return order[np.sort(first)][:images]


def _probabilities(problem: Classification, theta: np.ndarray, images: np.ndarray) -> np.ndarray:
    logits = problem.model.predict(theta, problem.X_test[images])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _open(figure: Any) -> Any:
    """Leave out the frame's upper and right sides, but for pictures."""
    for axes in figure.axes:
        if not axes.images:
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def _figure(figure: Figure | SubFigure | None) -> Any:
    return Figure(figsize=(6.2, 4.6), layout="constrained") if figure is None else figure


def _beads(string: String) -> str:
    return "1 bead" if string.n_beads == 1 else f"{string.n_beads} beads"


def _bead_positions(string: String) -> np.ndarray:
    """(n,) each bead's fraction of the path's length."""
    ends = np.concatenate(([0.0], np.cumsum(string.segment_lengths)))
    return ends / max(ends[-1], np.finfo(float).tiny)


def _along(landscape: Landscape, string: String) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the path's length and the losses there: every bead, every t*, and between."""
    positions = _bead_positions(string)
    fractions, losses = [], []
    per_segment = max(8, POINTS // len(string.segment_upper))
    for k, t_star in enumerate(string.segment_t_star):
        t = np.union1d(np.linspace(0.0, 1.0, per_segment), [t_star])
        fractions.append(positions[k] + t * (positions[k + 1] - positions[k]))
        losses.append(landscape.gamma(string.beads[k], string.beads[k + 1], t))
    return np.clip(np.concatenate(fractions), 0.0, 1.0), np.concatenate(losses)
