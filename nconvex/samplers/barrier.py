"""The lowest threshold at which two models are connected: Γ between them, from both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from nconvex.definitions import (
    NconvexError,
    Result,
    Seed,
    child,
    require_ends,
    require_integer,
    require_not_negative,
    require_positive,
)
from nconvex.dss import Plain, Progress
from nconvex.landscape import Landscape, require_landscape
from nconvex.samplers import Name, connect, sampler_of
from nconvex.string import String, string_through


@dataclass(frozen=True, repr=False)
class Barrier(Result):
    """What is known of Γ(θ₁, θ₂): lower ≤ Γ ≤ upper.

    Attributes:
        lower: The larger of the ends' losses and of the bound that was given.
        upper: Γ̃ of `string`; proven if the string is certified.
        failed: The highest level below `upper` at which no path was **found**; this proves
            nothing. Equal to `lower` if no search failed.
        string: The lowest path that was found.
        levels: Each level that was tried, and whether a path was found there.
        gradient_evaluations: Sum over all searches.

    Example: see `barrier`.
    """

    lower: float
    upper: float
    failed: float
    string: String
    levels: tuple[tuple[float, bool], ...]
    gradient_evaluations: int

    @property
    def height(self) -> float:
        """The loss barrier: how far `upper` lies above the larger of the ends' losses, or 0."""
        return max(0.0, self.upper - float(max(self.string.losses[0], self.string.losses[-1])))


def barrier(
    landscape: Landscape,
    theta1: ArrayLike,
    theta2: ArrayLike,
    *,
    lower: float = 0.0,
    precision: float = 0.01,
    sampler: Name | Plain = "revive",
    alpha: float | None = None,
    depth: int | None = None,
    seed: Seed = 0,
    max_searches: int = 40,
    progress: Progress | None = None,
) -> Barrier:
    """Bisect on L₀ for the lowest level at which a path is found.

    Equation (3)'s Γ is at least both ends' losses, and at most the maximum of γ on the straight
    line between them. The level is bisected between the two, in its logarithm, until `upper` and
    the level that failed differ by less than `precision`, relatively. A search that succeeds
    brings the upper bound down to its path's Γ̃, which may be lower than its level.

    Args:
        landscape: The loss surface.
        theta1: (P,) one end.
        theta2: (P,) the other.
        lower: A proven lower bound of Γ, if one is known, e.g. from `separation`.
        precision: Relative gap between `upper` and the failed level at which to stop.
        sampler: As for `connect`.
        alpha: As for `connect`.
        depth: As for `connect`.
        seed: Names the random streams; search k takes child k.
        max_searches: Most searches to run.
        progress: Called after each recursion of each search.

    Raises:
        NconvexError: An argument is out of its range, an end's loss is not a positive finite
            number, or a path was found below `lower`, which is then no lower bound.

    Example:
        >>> import nconvex as nc
        >>> well = nc.FunctionLandscape(
        ...     lambda x: 1 + float((x[0] ** 2 - 1) ** 2 + x[1] ** 2),
        ...     lambda x: np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]]),
        ... )
        >>> found = nc.barrier(well, [-1.0, 0.0], [1.0, 0.0], sampler="plain", alpha=0.99)
        >>> round(found.height, 2)  # of the saddle at the origin
        1.0
    """
    search = sampler_of(sampler, alpha, depth)
    require_positive("precision", precision)
    require_integer("max_searches", max_searches, 1)
    require_landscape(landscape)
    require_not_negative("lower", lower)
    theta1, theta2 = require_ends(theta1, theta2)
    ends = [landscape.loss(theta1), landscape.loss(theta2)]
    for name, loss in zip(("theta1", "theta2"), ends, strict=True):
        require_positive(f"the loss of {name}", loss)
    floor = max(*ends, lower)
    line = string_through(landscape, [theta1, theta2], floor)
    found = Barrier(floor, line.max_error, floor, line, (), 0)
    while found.upper > (1.0 + precision) * found.failed and len(found.levels) < max_searches:
        found = _bisected(found, landscape, search, child(seed, len(found.levels)), progress)
    if found.upper < lower:
        raise NconvexError(
            f"a path was found below lower = {lower!r}: its maximum is {found.upper!r}, so that "
            "lower is no lower bound"
        )
    return found


def _bisected(
    known: Barrier,
    landscape: Landscape,
    sampler: Plain,
    seed: tuple[int, ...],
    progress: Progress | None,
) -> Barrier:
    """Search once more, at the level half way between what failed and what was found."""
    upper, failed = known.upper, known.failed
    level = math.sqrt(failed * upper) if np.isfinite(upper) else 2.0 * failed
    ends = known.string.beads[0], known.string.beads[-1]
    string = connect(landscape, *ends, L0=level, sampler=sampler, seed=seed, progress=progress)
    result = replace(
        known,
        levels=(*known.levels, (level, string.connected)),
        gradient_evaluations=known.gradient_evaluations + string.gradient_evaluations,
    )
    if not string.connected:
        return replace(result, failed=level)
    upper = string.max_error
    return replace(result, upper=upper, failed=min(failed, upper), string=string)
