"""Which of several models are connected: components at each L₀, and the merge tree.

Two models are connected at L₀ if a path between them stays at or below it. The sampler proves that
some pairs are connected, at the height Γ̃ of the path it found; it cannot prove that others are not.
So what is computed here is an **upper bound**: of the number of components at each L₀, and of the
heights at which models merge, since paths that the sampler misses could only lower them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nconvex.definitions import (
    NconvexError,
    Result,
    Seed,
    child,
    numbers,
    require_models,
    require_positive,
    shown,
)
from nconvex.dss import Plain
from nconvex.landscape import Landscape, require_landscape
from nconvex.reductions import norm
from nconvex.samplers import Name, connect


@dataclass(frozen=True)
class Merge:
    """Two groups of models become one.

    Attributes:
        height: The lowest loss at which they are known to be connected.
        left: Models of the first group, ascending.
        right: Models of the second.
    """

    height: float
    left: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Connectivity(Result):
    """What is known of the paths among K models.

    Attributes:
        losses: (K,) each model's loss, the height at which it appears.
        heights: (K, K) the lowest height at which a path was found between two models directly,
            infinite where no search was made; symmetric, with the losses on its diagonal.
        searches: Calls of `connect`.

    Example: see `connectivity`.
    """

    losses: np.ndarray
    heights: np.ndarray
    searches: int

    def merges(self) -> tuple[Merge, ...]:
        """The merge tree, lowest merge first: single linkage on the heights, by union-find."""
        groups = _Groups(len(self.losses))
        result = []
        for height, i, j in _edges(self.heights):
            left, right = groups.members(i), groups.members(j)
            if groups.join(i, j):
                result.append(Merge(height, left, right))
        return tuple(result)

    def persistence(self) -> np.ndarray:
        """Return how far each of `merges` lies above its groups' lowest models, (merges,).

        By the elder rule: a merge ends the group whose lowest loss is the higher one; its
        persistence is the merge's height less that loss. Long ones are valleys of their own.
        """
        lowest = [
            max(self.losses[list(merge.left)].min(), self.losses[list(merge.right)].min())
            for merge in self.merges()
        ]
        return np.array([merge.height for merge in self.merges()]) - np.array(lowest)

    def components(self, L0: float) -> int:
        """Count the groups of models that are known to be connected at L₀, an upper bound.

        Models whose own loss exceeds L₀ are not counted.
        """
        present = int(np.sum(self.losses <= L0))
        return present - sum(merge.height <= L0 for merge in self.merges())


def connectivity(
    landscape: Landscape,
    thetas: Sequence[ArrayLike],
    *,
    L0: Sequence[float],
    sampler: Name | Plain = "plain",
    alpha: float | None = None,
    depth: int | None = None,
    seed: Seed = 0,
    progress: Callable[[float, int, int], None] | None = None,
) -> Connectivity:
    """Connect models at each L₀, from the lowest up, closest pairs first.

    A pair is skipped once both are in one component: another path between them would not change
    the number of components. A string that fails at L₀ still is a path, of height Γ̃, and counts
    as that.

    Args:
        landscape: The loss surface.
        thetas: K models (P,), each with a loss of at most the lowest L₀.
        L0: Thresholds.
        sampler: As for `connect`.
        alpha: As for `connect`.
        depth: As for `connect`.
        seed: Names the random streams; that of pair (i, j) at threshold k derives from i, j and k.
        progress: Called after each search with L₀, i and j.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> nc.connectivity(bowl, [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], L0=[2.5]).components(2.5)
        1
    """
    require_landscape(landscape)
    thetas = require_models("thetas", thetas)
    K = len(thetas)
    levels = numbers("L0", L0)
    if levels.ndim != 1 or levels.size == 0:
        raise NconvexError(f"L0 must be a list, e.g. (1e-3, 1e-2), not {shown(L0)}")
    for level in levels.tolist():
        require_positive("L0", level)
    losses = np.array([landscape.loss(theta) for theta in thetas])
    heights = np.full((K, K), np.inf)
    np.fill_diagonal(heights, losses)
    distances = {(i, j): float(norm(thetas[i] - thetas[j])) for i in range(K) for j in range(i)}
    searches = 0
    for k, level in enumerate(sorted(levels.tolist())):
        groups = _Groups(K)
        for height, i, j in _edges(heights):
            if height <= level:
                groups.join(i, j)
        for i, j in sorted(distances, key=lambda pair: (distances[pair], pair)):
            if groups.members(i) == groups.members(j):
                continue
            string = connect(
                landscape,
                thetas[i],
                thetas[j],
                L0=level,
                sampler=sampler,
                alpha=alpha,
                depth=depth,
                seed=child(seed, i, j, k),
            )
            searches += 1
            heights[i, j] = heights[j, i] = min(heights[i, j], string.max_error)
            if string.connected:
                groups.join(i, j)
            if progress is not None:
                progress(level, i, j)
    return Connectivity(losses, heights, searches)


class _Groups:
    """Union-find."""

    def __init__(self, K: int):
        self._root = list(range(K))

    def find(self, i: int) -> int:
        while self._root[i] != i:
            self._root[i] = self._root[self._root[i]]
            i = self._root[i]
        return i

    def members(self, i: int) -> tuple[int, ...]:
        root = self.find(i)
        return tuple(j for j in range(len(self._root)) if self.find(j) == root)

    def join(self, i: int, j: int) -> bool:
        i, j = self.find(i), self.find(j)
        self._root[max(i, j)] = min(i, j)
        return i != j


def _edges(heights: np.ndarray) -> list[tuple[float, int, int]]:
    """Known paths, lowest first."""
    K = len(heights)
    return sorted(
        (float(heights[i, j]), i, j) for i in range(K) for j in range(i) if heights[i, j] < np.inf
    )
