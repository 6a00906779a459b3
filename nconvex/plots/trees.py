"""The merge tree of several models, as a disconnectivity graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from numpy.typing import ArrayLike

from nconvex.definitions import NconvexError, numbers
from nconvex.plots.style import (
    BLUE,
    LIGHT,
    Part,
    colour_bar,
    drawn,
    figure_or_new,
    is_wide,
    name_few,
    norm_of,
)

if TYPE_CHECKING:
    from nconvex.samplers.merging import Connectivity, Merge


def disconnectivity(
    connectivity: Connectivity,
    levels: Sequence[float] = (),
    values: ArrayLike | None = None,
    label: str = "",
    figure: Part = None,
) -> Any:
    """Draw the merge tree of models as a disconnectivity graph, and components against L₀.

    A leaf ends at its model's loss; branches meet at the lowest loss at which their models are
    known to be connected: an upper bound, since paths may have been missed. Components are counted
    from the loss up at which all models are there.

    Args:
        connectivity: What `connectivity` found.
        levels: Thresholds to be marked.
        values: (K,) a number of each model, which colours its branch; a branch of several has the
            mean of theirs.
        label: What the numbers are, with their unit.
        figure: Where to draw; a new figure by default.

    Example: `examples/components.py`.
    """
    K, merges = len(connectivity.losses), connectivity.merges()
    given = None if values is None else numbers("values", values)
    if given is not None and given.shape != (K,):
        raise NconvexError(f"values must be {K} numbers, one a model, not of shape {given.shape}")
    whole = figure_or_new(figure, height=3.4)
    tree, count = whole.subplots(1, 2)
    _draw_tree(tree, connectivity, merges, given, label)
    heights = [merge.height for merge in merges]
    start = float(np.max(connectivity.losses))
    known = np.unique([start, *(each for each in (*heights, *levels) if each > start)])
    known = np.append(known, known[-1] + 0.1 * (known[-1] - connectivity.losses.min()))
    components = [connectivity.components(float(height)) for height in known]
    count.step(known, components, where="post", color=BLUE, lw=1.6)
    if is_wide(known):
        count.set_xscale("log")
    else:
        count.locator_params(axis="x", nbins=3)
    for level in levels:
        for axis in (tree.axhline, count.axvline):
            axis(level, color=LIGHT, lw=0.8, ls=":", zorder=0)
    count.set(xlabel="$L_0$", ylabel="components known, at most", ylim=(0, max(components) + 0.5))
    count.set_title(f"{K} models, {connectivity.searches} searches", fontsize="medium")
    count.yaxis.get_major_locator().set_params(integer=True)
    return drawn(figure, [tree, count])


def _draw_tree(
    axes: Any,
    connectivity: Connectivity,
    merges: Sequence[Merge],
    values: np.ndarray | None,
    label: str,
) -> None:
    """Draw leaves and branches, each at its height."""
    losses = connectivity.losses
    tops: dict[tuple[int, ...], float] = {(k,): float(loss) for k, loss in enumerate(losses)}
    position = {k: n for n, k in enumerate(_leaves(len(tops), merges))}
    colours = None
    if values is not None:
        colours = ScalarMappable(norm_of(values), colormaps["viridis"])

    def colour(group: Sequence[int]) -> Any:
        if colours is None or values is None:
            return BLUE
        return colours.to_rgba(np.mean(values[list(group)]))

    for merge in merges:
        whole = tuple(sorted(merge.left + merge.right))
        ends = [float(np.mean([position[k] for k in group])) for group in (merge.left, merge.right)]
        for group, at in zip((merge.left, merge.right), ends, strict=True):
            axes.plot([at, at], [tops[group], merge.height], color=colour(group), lw=1.6)
        axes.plot(ends, [merge.height] * 2, color=colour(whole), lw=1.6)
        tops[whole] = merge.height
    parts = set(tops) - {group for merge in merges for group in (merge.left, merge.right)}
    for group in (
        parts if len(parts) > 1 else ()
    ):  # of these it is not known that they meet anything
        at = float(np.mean([position[k] for k in group]))
        axes.plot(at, tops[group], marker="^", ms=5.0, color=colour(group))
    heights = np.array([*losses, *(merge.height for merge in merges)])
    if is_wide(heights) or (heights.min() > 0.0 and heights.max() / heights.min() > 3.0):
        axes.set_yscale("log")
        if heights.max() / heights.min() < 10.0:
            name_few(
                axes.yaxis,
                [float(f"{h:.2g}") for h in np.geomspace(heights.min(), heights.max(), 4)],
            )
    axes.margins(y=0.08)
    axes.set_ylim(axes.get_ylim())  # levels far above do not flatten the tree
    axes.set(xlabel="model", ylabel="loss")
    axes.set_xticks(list(position.values()), list(map(str, position)))
    axes.set_title("merge tree (an upper bound)", fontsize="medium")
    if colours is not None:
        colour_bar(axes, colours, label, location="top", shrink=0.8, pad=0.02)


def _leaves(models: int, merges: Sequence[Merge]) -> list[int]:
    """Models in an order in which no two branches cross."""
    order: dict[tuple[int, ...], list[int]] = {(k,): [k] for k in range(models)}
    for merge in merges:
        whole = tuple(sorted(merge.left + merge.right))
        order[whole] = order.pop(merge.left) + order.pop(merge.right)
    return [k for group in order.values() for k in group]
