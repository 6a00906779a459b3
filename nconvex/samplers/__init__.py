"""The samplers by name: the draft's, and those that find more."""

from __future__ import annotations

from collections.abc import Callable

from nconvex.definitions import require_choice
from nconvex.dss import connect
from nconvex.samplers.breadth_first import connect_breadth_first
from nconvex.samplers.revival import connect_reviving
from nconvex.samplers.springs import connect_with_springs
from nconvex.string import String

#: Each is called with a landscape, θ₁, θ₂ and L₀, and takes alpha, depth, seed, progress and insert
#: by name; where alpha and depth are left out, it has defaults of its own.
SAMPLERS: dict[str, Callable[..., String]] = {
    "plain": connect,
    "revive": connect_reviving,
    "springs": connect_with_springs,
    "breadth-first": connect_breadth_first,
}


def sampler(name: str) -> Callable[..., String]:
    """Return a sampler by its name."""
    require_choice("sampler", name, SAMPLERS)
    return SAMPLERS[name]
