"""Random streams: each is a child of one seed, numbered by its place in the computation."""

from __future__ import annotations

from typing import Any

import numpy as np

from nconvex.definitions.checks import NconvexError, require_integer

#: An integer, or the integers of a stream derived from it; see `child`.
Seed = int | np.integer[Any] | tuple[int, ...] | list[int]


def child(seed: Seed, *place: int) -> tuple[int, ...]:
    """Derive the seed of a part from the seed of the whole; the order of work plays no role."""
    whole = tuple(seed) if isinstance(seed, tuple | list) else (seed,)
    if not whole:
        raise NconvexError("the seed is an empty tuple; give an integer, e.g. seed=0")
    for number in whole + place:
        require_integer("seed", number, 0, 2**63 - 1)
    return tuple(int(number) for number in whole + place)


def generator(seed: Seed) -> np.random.Generator:
    """Make the random stream of a seed: `SeedSequence(seed[0], spawn_key=seed[1:])`."""
    numbers = child(seed)
    return np.random.default_rng(np.random.SeedSequence(numbers[0], spawn_key=numbers[1:]))
