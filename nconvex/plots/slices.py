"""Slices of the loss surface: planes through models, random directions, descents.

Axes are in weight distance. What does not lie in a plane is projected on it at right angles, and
the legend says how far off it is: there, the colours are not its losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from numpy.typing import ArrayLike

from nconvex.definitions import (
    Seed,
    child,
    require_choice,
    require_integer,
    require_models,
    require_positive,
    require_theta,
)
from nconvex.geometry.planes import Plane, filter_normalized, plane_through, principal_plane
from nconvex.landscape import Landscape
from nconvex.plots.style import (
    BLUE,
    GREEN,
    ORANGE,
    axes_or_new,
    colour_bar,
    drawn,
    is_wide,
    norm_of,
    quantity,
)  # fmt: skip
from nconvex.reductions import norm
from nconvex.string import String

#: Points of a grid along each side.
POINTS = 61

#: How far a grid reaches beyond what is drawn on it, as a part of that.
MARGIN = 0.25


def plane(
    landscape: Landscape,
    a: ArrayLike,
    b: ArrayLike,
    c: ArrayLike,
    string: String | None = None,
    L0: float | None = None,
    points: int = POINTS,
    ax: Axes | None = None,
) -> Any:
    """Draw the loss on the plane through three models, the line from a to b, and a string.

    Args:
        landscape: The loss surface; γ is computed along each row of the grid.
        a: (P,) one model.
        b: (P,) another.
        c: (P,) a third, off their line, e.g. a bead.
        string: What is projected on the plane.
        L0: The threshold whose contour is drawn; the string's by default.
        points: Points of the grid along each side.
        ax: Where to draw; a new figure by default.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> figure = nc.plots.plane(bowl, [1, 0, 0], [0, 1, 0], [0, 0, 1], L0=2.0, points=9)
        >>> figure.axes[0].get_xlabel()
        'weight distance along a to b'
    """
    models = np.array(require_models("a, b, c", [a, b, c]))
    through = plane_through(*models)
    shown = models if string is None else np.concatenate([models, string.beads])
    axes = axes_or_new(ax)
    level = string.L0 if L0 is None and string is not None else L0
    draw_surface(axes, landscape, through, through.coordinates(shown), level, points)
    at = through.coordinates(models)
    axes.plot(*at[:2].T, color=ORANGE, ls="--", lw=1.6, label="straight line")
    if string is not None:
        draw_projected(axes, through, string.beads, BLUE, "string")
    axes.plot(*at.T, ls="", marker="s", ms=5.0, color="white", mec="black", zorder=4)
    for place, name in zip(at, "abc", strict=True):
        axes.annotate(
            name, place, xytext=(5, 5), textcoords="offset points", color="black", zorder=5,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )  # fmt: skip
    if models.shape[1] == 2:
        axes.set(xlabel="first parameter", ylabel="second parameter")
    else:
        axes.set(xlabel="weight distance along a to b", ylabel="weight distance towards c")
    _legend(axes)
    return drawn(ax, [axes])


def slice(
    landscape: Landscape,
    theta: ArrayLike,
    dimensions: int = 2,
    span: float = 1.0,
    seed: Seed = 0,
    L0: float | None = None,
    points: int = POINTS,
    ax: Axes | None = None,
) -> Any:
    """Draw the loss around a model, along one or two random directions.

    Directions are normalized filter by filter, as Li et al. define it (Visualizing the loss
    landscape of neural nets, 2018): here, by units. At 1 on an axis the incoming weights of each
    unit have moved as far as they are long; biases stay. A surface without layers has directions
    of length 1.

    Args:
        landscape: The loss surface.
        theta: (P,) the model in the middle.
        dimensions: 1 or 2.
        span: The slice reaches from -span to span.
        seed: Names the directions.
        L0: A threshold to be drawn.
        points: Points along each side.
        ax: Where to draw; a new figure by default.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> figure = nc.plots.slice(bowl, [0.0, 0.0, 0.0], dimensions=1, points=5)
        >>> [round(y, 12) for y in figure.axes[0].lines[0].get_ydata().tolist()]
        [2.0, 1.25, 1.0, 1.25, 2.0]
    """
    theta = require_theta("theta", theta)
    require_choice("dimensions", str(dimensions), "12")
    require_positive("span", span)
    require_integer("points", points, 2)
    axes = axes_or_new(ax)
    u = filter_normalized(landscape, theta, child(seed, 0))
    kind = "filter-normalized" if hasattr(landscape, "model") else "normalized"
    if dimensions == 1:
        t = np.linspace(0.0, 1.0, points)
        losses = landscape.gamma(theta - span * u, theta + span * u, t)
        axes.plot(span * (2.0 * t - 1.0), losses, color=BLUE, lw=1.8)
        if L0 is not None:
            axes.axhline(L0, color=GREEN, lw=1.0, ls=":")
        if is_wide(losses):
            axes.set_yscale("log")
        axes.set(xlabel=f"along a {kind} random direction", ylabel=quantity(landscape))
        return drawn(ax, [axes])
    v = filter_normalized(landscape, theta, child(seed, 1))
    corners = span * np.array([[-1.0, -1.0], [1.0, 1.0]])
    draw_surface(axes, landscape, Plane(theta, u, v), corners, L0, points, margin=0.0)
    axes.plot(0.0, 0.0, marker="s", ms=5.0, color="white", mec="black")
    axes.set(xlabel=f"along a {kind} direction", ylabel="along another")
    if L0 is not None:
        _legend(axes)
    return drawn(ax, [axes])


def trajectory(
    landscape: Landscape,
    thetas: Sequence[ArrayLike],
    L0: float | None = None,
    points: int = POINTS,
    ax: Axes | None = None,
) -> Any:
    """Draw a descent's iterates on the plane of their two principal components.

    The plane passes through the last iterate, as in Li et al. 2018; each axis says which share of
    the squared distances from there it shows.

    Args:
        landscape: The loss surface.
        thetas: (n, P) iterates in order, n ≥ 3.
        L0: The threshold whose contour is drawn.
        points: Points of the grid along each side.
        ax: Where to draw; a new figure by default.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> figure = nc.plots.trajectory(bowl, [[2, 1, 0], [1, 0.2, 0], [0, 0, 0]], points=9)
        >>> figure.axes[0].get_ylabel()
        'weight distance, 2nd component (0.00997)'
    """
    models = np.array(require_models("thetas", thetas))
    through, shares = principal_plane(models, models[-1])
    axes = axes_or_new(ax)
    draw_surface(axes, landscape, through, through.coordinates(models), L0, points)
    draw_projected(axes, through, models, ORANGE, "descent")
    start, end = through.coordinates(models[[0, -1]])
    axes.plot(*start, marker="s", ms=6.0, color="white", mec="black", ls="", label="start")
    axes.plot(*end, marker="*", ms=10.0, color="white", mec="black", ls="", label="end")
    for axis, name, share in zip("xy", ("1st", "2nd"), shares, strict=True):
        axes.set(**{f"{axis}label": f"weight distance, {name} component ({share:.3g})"})
    _legend(axes)
    return drawn(ax, [axes])


def draw_surface(
    axes: Any, landscape: Landscape, through: Plane, shown: np.ndarray, L0: float | None,
    points: int, margin: float = MARGIN, bar: bool = True,
) -> None:  # fmt: skip
    """Fill axes with the loss on a plane around what is shown on it (n, 2), and draw L₀."""
    require_integer("points", points, 2)
    room = margin * float(np.ptp(shown, axis=0).max())
    x, y = np.linspace(shown.min(axis=0) - room, shown.max(axis=0) + room, points).T
    losses = np.ma.masked_invalid(through.losses(landscape, x, y))
    known = norm_of(losses)
    low, high = float(known.vmin or 0.0), float(known.vmax or 1.0)
    levels = np.geomspace(low, high, 25) if is_wide(losses.compressed()) else 25
    axes.contourf(x, y, losses, levels, cmap="viridis", norm=known)
    if L0 is not None:
        require_positive("L0", L0)
        if low < L0 < high:
            axes.contour(x, y, losses, [L0], colors="white", linewidths=2.0)
        axes.plot([], [], color=(1.0, 1.0, 1.0), lw=2.0, label=f"$L_0$ = {L0:g}")
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(nbins=5)
    if bar:
        colours = ScalarMappable(known, "viridis")
        colour_bar(axes, colours, quantity(landscape), location="bottom", shrink=0.7, aspect=30)


def draw_projected(axes: Any, through: Plane, models: np.ndarray, colour: str, name: str) -> None:
    """Draw models as a path on a plane, and say how far off it they are."""
    off = float(through.distances(models).max())
    if off > 1e-9 * float(norm(models).max()):
        name += f", projected: up to {off:.3g} off the plane"
    axes.plot(
        *through.coordinates(models).T, "o-", color=colour, ms=4.0, lw=1.8, mec="white", mew=0.5,
        label=name,
    )  # fmt: skip


def _legend(axes: Any) -> None:
    """Name what is drawn above the panel, on the colour that makes L₀'s white line visible."""
    axes.legend(
        fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.01), borderaxespad=0.0, ncols=2,
        facecolor="#8a8a8a", framealpha=1.0, labelcolor="white", edgecolor="none",
    )  # fmt: skip
