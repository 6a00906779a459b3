"""Landscapes of one's own: where a survey and its workers get them from."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from nconvex.definitions import NconvexError, Seed, child, shown
from nconvex.landscape import Trainable, require_landscape
from nconvex.pairs import identity
from nconvex.pairs.setting import LONGEST_NAME

#: What a survey of one's own problem is given.
Given = Trainable | Callable[[tuple[int, ...]], Trainable]

#: The source that this worker unpacked last, by its token: one survey's pairs share it.
_unpacked_last: dict[str, Source] = {}


class Source:
    """A trainable landscape, or a function that makes one from a pair's seed.

    Threads share it. To other processes it goes as a pickle, which is made once, and which each
    unpacks once, so that what a landscape has compiled or traced serves all its pairs.

    Args:
        given: The landscape or the function.
        token: Of the survey; tells its descents from those of others.
    """

    def __init__(self, given: Given, token: str | None = None):
        self._makes = isinstance(given, type) or not callable(getattr(given, "descend", None))
        if self._makes and not callable(given):
            raise NconvexError(
                "a survey takes settings, e.g. nc.survey.grid(L0=[1e-2, 1e-3]), a landscape, or a "
                f"function that makes one from a pair's seed, not {shown(given)}"
            )
        self._given: Any = given
        self._pickle = b""
        self.token = uuid4().hex if token is None else token

    def problem(self, seed: tuple[int, ...]) -> Trainable:
        """Return the landscape of the pair that has this seed."""
        landscape: Trainable = self._given(seed) if self._makes else self._given
        require_landscape(landscape)
        if not callable(getattr(landscape, "initial", None)):
            raise NconvexError(
                f"a survey trains the ends of its pairs; {shown(landscape)} has no `initial`, "
                "which draws a start from a generator"
            )
        return landscape

    @property
    def name(self) -> str:
        """Return what a survey is called by default: the class of a landscape, or the function."""
        word = getattr(self._given, "__name__", type(self._given).__name__)
        return "".join(filter(str.isalnum, word))[:LONGEST_NAME] or "problem"

    def parts(self, seed: Seed) -> dict[str, str]:
        """Return digests of what the landscape of pair 0 consists of; see `identity`."""
        first = child(seed, 0)
        found, again = (identity.parts(self.problem(first)) for _ in range(2))
        if found != again:
            raise NconvexError(
                f"the function makes two landscapes from one seed, with {differing(found, again)} "
                "of their own; draw everything from the seed, by np.random.default_rng(seed)"
            )
        return found

    def pickled(self) -> bytes:
        """Return the pickle for other processes."""
        if not self._pickle:
            try:
                self._pickle = pickle.dumps(self._given)
            except Exception as error:  # of every kind, by every object's own pickling
                raise NconvexError(
                    f"this problem cannot be sent to other processes: {_line(error)}; define its "
                    "functions in a module, without lambda, or work on threads"
                ) from error
        return self._pickle

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self.token, self.pickled())


def differing(one: dict[str, str], other: dict[str, str]) -> str:
    """Name the parts in which two landscapes differ."""
    names = (name for name in {**one, **other} if one.get(name) != other.get(name))
    return ", ".join(name.lstrip("_") for name in names)


def _unpacked(token: str, data: bytes) -> Source:
    source = _unpacked_last.get(token)
    if source is None:
        try:
            source = Source(pickle.loads(data), token)
        except Exception as error:
            raise NconvexError(
                f"a worker cannot unpack the problem: {_line(error)}; define its classes and "
                "functions in a module that workers can import"
            ) from error
        _unpacked_last.clear()
        _unpacked_last[token] = source
    return source


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
