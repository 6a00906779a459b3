"""The merge tree of several models, as a disconnectivity graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from nconvex.plots.style import BLUE, LIGHT, without_frame

if TYPE_CHECKING:
    from nconvex.samplers.merging import Connectivity, Merge


def disconnectivity(connectivity: Connectivity, levels: Sequence[float] = ()) -> Figure:
    """Draw the merge tree of models as a disconnectivity graph, and components against L₀.

    A leaf ends at its model's loss; branches meet at the lowest loss at which their models are
    known to be connected: an upper bound, since paths may have been missed. The thresholds
    `levels` are marked.

    Example: `examples/components.py`.
    """
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    tree, count = figure.subplots(1, 2)
    merges = connectivity.merges()
    tops: dict[tuple[int, ...], float] = {
        (k,): float(loss) for k, loss in enumerate(connectivity.losses)
    }
    position = {k: n for n, k in enumerate(_leaves(len(tops), merges))}
    for merge in merges:
        left, right = (
            float(np.mean([position[k] for k in group])) for group in (merge.left, merge.right)
        )
        for group, at in ((merge.left, left), (merge.right, right)):
            tree.plot([at, at], [tops[group], merge.height], color=BLUE, lw=1.4)
        tree.plot([left, right], [merge.height] * 2, color=BLUE, lw=1.4)
        tops[tuple(sorted(merge.left + merge.right))] = merge.height
    tree.set(
        yscale="log", xticks=list(position.values()), xticklabels=list(position), xlabel="model",
        ylabel="loss", title="merge tree (an upper bound)",
    )  # fmt: skip
    heights = np.sort([*connectivity.losses, *(merge.height for merge in merges), *levels])
    known = np.array([connectivity.components(float(height)) for height in heights])
    count.step(heights, known, where="post", color=BLUE, lw=1.6)
    for level in levels:
        for axis in (tree.axhline, count.axvline):
            axis(level, color=LIGHT, lw=0.8, ls=":")
    lowest, highest = float(min(connectivity.losses)), float(heights[-1])
    tree.set(ylim=(lowest / 1.3, 1.3 * (merges[-1].height if merges else highest)))
    count.set(
        xscale="log", xlabel="$L_0$", ylabel="components known, at most",
        title=f"{len(connectivity.losses)} models, {connectivity.searches} searches",
    )  # fmt: skip
    count.yaxis.get_major_locator().set_params(integer=True)
    return without_frame(figure)


def _leaves(models: int, merges: Sequence[Merge]) -> list[int]:
    """Models in an order in which no two branches cross."""
    order: dict[tuple[int, ...], list[int]] = {(k,): [k] for k in range(models)}
    for merge in merges:
        whole = tuple(sorted(merge.left + merge.right))
        order[whole] = order.pop(merge.left) + order.pop(merge.right)
    return [k for group in order.values() for k in group]
