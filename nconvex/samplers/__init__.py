"""The samplers: the draft's algorithm and its variants; `connect` runs one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nconvex.definitions import NconvexError, Seed, require_choice, shown
from nconvex.dss import Plain, Progress
from nconvex.landscape import Landscape, accepted
from nconvex.samplers.breadth_first import BreadthFirst
from nconvex.samplers.revival import Revive
from nconvex.samplers.springs import Springs
from nconvex.string import String

#: The names that stand for samplers with their default settings.
Name = Literal["plain", "revive", "springs", "breadth-first"]

#: The samplers by name.
SAMPLERS: dict[str, Plain] = {
    each.name: each for each in (Plain(), Revive(), Springs(), BreadthFirst())
}


def sampler_of(
    sampler: Name | Plain, alpha: float | None = None, depth: int | None = None
) -> Plain:
    """Return a sampler that is given by its name or itself, with other settings if they are given.

    Raises:
        NconvexError: The name is unknown, or a setting is out of its range.
    """
    if not isinstance(sampler, Plain):
        if not isinstance(sampler, str):
            raise NconvexError(
                f'sampler must be a name, e.g. "revive", or a sampler, e.g. Revive(), not '
                f"{shown(sampler)}"
            )
        require_choice("sampler", sampler, SAMPLERS)
        sampler = SAMPLERS[sampler]
    given: dict[str, Any] = {"alpha": alpha, "depth": depth}
    return replace(sampler, **{name: value for name, value in given.items() if value is not None})


def connect(
    landscape: Landscape,
    theta1: ArrayLike,
    theta2: ArrayLike,
    *,
    L0: float,
    sampler: Name | Plain = "plain",
    alpha: float | None = None,
    depth: int | None = None,
    seed: Seed = 0,
    progress: Progress | None = None,
) -> String:
    """Search for a path from θ₁ to θ₂ on which the loss never exceeds L₀ (steps 2 to 5).

    Args:
        landscape: The loss surface.
        theta1: (P,) one end, with loss ≤ L₀.
        theta2: (P,) the other.
        L0: The threshold, in the loss's units.
        sampler: "plain", the draft's algorithm, "revive", "springs" or "breadth-first"; or one with
            settings of its own, e.g. `nc.Revive(rounds=5)`.
        alpha: Beads are trained to alpha L0; by default the sampler's own alpha (0.8 for "plain").
        depth: Recursions allowed; by default the sampler's own (10 for "plain").
        seed: Names the random streams; a bead's derives from its place in the recursion, not
            from the order of work.
        progress: Called after each recursion with its trace.

    Returns:
        The string; `status` tells whether it is connected.

    Raises:
        NconvexError: An argument is out of its range or an end has the wrong shape.
        EndpointAboveL0: An end's loss exceeds L₀; nothing was computed.
        Interrupted: Ctrl-C; the exception's `string` holds what was found.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> nc.connect(bowl, [1.0, 0.0], [0.0, 1.0], L0=2.5)
        String(CONNECTED: 0 beads, max error 2 <= L0 = 2.5 (sampled), normalized length 1, plain)
    """
    chosen = sampler_of(sampler, alpha, depth)
    theta1, theta2, seed = accepted(landscape, theta1, theta2, L0, seed)
    return chosen.search(landscape, float(L0), chosen, seed, progress).run(theta1, theta2)
