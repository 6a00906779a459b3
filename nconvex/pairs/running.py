"""Run, resume and load surveys.

Pair k of a survey has the seed child(survey's seed, k) under every setting. So a record depends on
its setting, its pair and the survey's seed alone; the order, the number and kind of workers, and
interruptions play no role. Settings are compared on the same draws: the points of one figure are
not independent of each other, while the pairs behind each point are.
"""

from __future__ import annotations

import json
import os
import platform
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np

from nconvex.definitions import (
    VERSION,
    NconvexError,
    Seed,
    child,
    require_integer,
    require_kind,
)
from nconvex.pairs import workers as pool
from nconvex.pairs.job import connect_pair
from nconvex.pairs.records import FIELDS, Survey, fault
from nconvex.pairs.setting import Setting
from nconvex.pairs.store import Store

#: Pairs that a survey may have: their order alone takes 36 MB.
MOST_PAIRS = 10**6


def run(
    settings: Setting | Iterable[Setting],
    *,
    pairs: int | np.integer[Any] = 20,
    seed: Seed = 0,
    store: str | os.PathLike[str] | None = None,
    workers: int | np.integer[Any] | None = None,
    executor: Any = None,
    keep_strings: bool = False,
    progress: Callable[[int, int, np.ndarray], object] | None = None,
) -> Survey:
    """Train and connect many pairs under each setting.

    >>> import nconvex as nc
    >>> nc.survey.run(nc.survey.grid(L0=(0.1, 0.05)), pairs=3, workers=1)
    Survey(2 settings, 3 pairs each, seed=(0,): 6 of 6 finished, 6 connected)

    Args:
        settings: What to survey, e.g. from `grid`.
        pairs: Pairs of each setting.
        seed: Names all randomness; pair k has child k of it.
        store: File that keeps each pair as soon as it is finished. One that exists must be of
            the same survey, which is then continued, and grows if it has fewer pairs.
        workers: Threads; the kernels release Python's lock. All cores by default.
        executor: What to work with instead of threads: `workers.Processes`, Dask's `Client`, or any
            `concurrent.futures.Executor`, e.g. `mpi4py.futures.MPIPoolExecutor`. Its workers only
            return records, this process stores them; pairs of workers that die are done again,
            where the executor survives that.
        keep_strings: Keep each path's beads in the store.
        progress: Called after each pair with the pairs finished, of how many, and its record.

    Raises:
        NconvexError: A value is out of its range; the store is damaged, of another survey or of
            other versions, or cannot be written; or workers died too often.
        KeyboardInterrupt: Ctrl-C; finished pairs are in the store, if there is one.
    """
    several = tuple(settings) if isinstance(settings, Iterable) else (settings,)
    require_integer("pairs", pairs, 1, MOST_PAIRS)
    plan = _Plan(several, int(pairs), child(seed), keep_strings)
    if keep_strings and store is None:
        raise NconvexError("strings are kept in a store; name one with store=")
    threads = pool.workers_or_all(workers)
    with Store(store, FIELDS, asdict(plan), versions()) as kept:
        _continue(kept, plan)
        done = len(kept.records())
        jobs = _jobs(plan, kept, threads)
        try:
            with closing(pool.results(connect_pair, jobs, threads, executor)) as results:
                for record, beads in results:
                    done += kept.add(record, beads)
                    if progress is not None:
                        total = plan.pairs * len(several)
                        progress(done, total, np.array(record, dtype=list(FIELDS)))
        except pool.WorkersLost as error:
            advice = f"what was finished is in {store}: resume it"
            if store is None:
                advice = "nothing keeps what was finished: name a store"
            raise NconvexError(f"{error}; {advice}") from error
        return plan.survey(kept.records())


def load(store: str | os.PathLike[str]) -> Survey:
    """Read the survey in a store, finished or not; the file is not written to.

    Raises:
        NconvexError: The file does not exist, is damaged, or of another version.

    Example: see `resume`.
    """
    with Store(store, FIELDS) as kept:
        return _read(kept)


def resume(
    store: str | os.PathLike[str],
    *,
    workers: int | np.integer[Any] | None = None,
    executor: Any = None,
    progress: Callable[[int, int, np.ndarray], object] | None = None,
) -> Survey:
    """Continue the survey in a store; see `run`.

    Raises:
        NconvexError: As for `run`, or the file does not exist.
        KeyboardInterrupt: As for `run`.

    Example: README, "Many pairs".
    """
    with Store(store, FIELDS) as kept:
        plan = _plan(kept)
    return run(
        plan.settings,
        pairs=plan.pairs,
        seed=plan.seed,
        store=store,
        workers=workers,
        executor=executor,
        keep_strings=plan.keep_strings,
        progress=progress,
    )


def versions() -> dict[str, str]:
    """Return what a record depends on besides its seed."""
    return {
        "nconvex": VERSION,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
    }


@dataclass(frozen=True)
class _Plan:
    """What is surveyed; a store keeps it as `asdict` gives it."""

    settings: tuple[Setting, ...]
    pairs: int
    seed: tuple[int, ...]
    keep_strings: bool

    def __post_init__(self) -> None:
        for setting in self.settings:
            require_kind("a setting", setting, Setting, "Setting(L0=1e-3)")
        if not self.settings:
            raise NconvexError("a survey needs one setting at least, e.g. Setting(L0=1e-3)")
        if len(set(self.settings)) < len(self.settings):
            raise NconvexError("a setting occurs twice; the same pairs would be counted twice")

    def survey(self, records: np.ndarray) -> Survey:
        """Return the records of these pairs; another process may have let the store grow."""
        return Survey(self.settings, self.pairs, self.seed, records[records["pair"] < self.pairs])


def _plan(kept: Store) -> _Plan:
    """Return what a store says that it surveys."""
    found = kept.configuration
    try:
        settings = tuple(Setting.from_json(values) for values in found["settings"])
        require_integer("pairs", found["pairs"], 1, MOST_PAIRS)
        seed, keep_strings = child(tuple(found["seed"])), bool(found["keep_strings"])
        plan = _Plan(settings, found["pairs"], seed, keep_strings)
        if found != json.loads(json.dumps(asdict(plan))):
            raise ValueError("it has more than a survey has")
    except KeyError as error:
        kept.damaged(f"its configuration lacks {error}")
    except (TypeError, ValueError, OverflowError) as error:
        kept.damaged(f"its configuration: {str(error)[:80]}")
    return plan


def _read(kept: Store) -> Survey:
    """Return the survey in a store; refuse records that no survey makes."""
    records = kept.records()
    plan = _plan(kept)  # after the records: it may grow meanwhile
    for row in records.tolist():
        record = dict(zip(records.dtype.names or (), row, strict=True))
        if wrong := fault(record, plan.settings, plan.pairs):
            kept.damaged(wrong)
    return plan.survey(records)


def _continue(kept: Store, plan: _Plan) -> None:
    """Refuse a store that cannot be continued; let one with fewer pairs grow."""
    if kept.versions != versions():
        made = ", ".join(f"{name} {version}" for name, version in kept.versions.items())
        raise NconvexError(
            f"{kept.path} was made by {made}; continue it with these, or start a new file, so "
            "that one survey is not computed in two ways"
        )
    before = _read(kept).pairs
    if plan.pairs < before:
        raise NconvexError(
            f"{kept.path} is a survey of {before} pairs a setting, which can grow but not shrink; "
            f"ask for {before} or more"
        )
    if plan.pairs > before:
        kept.grow(plan.pairs)


def _jobs(plan: _Plan, kept: Store, workers: int) -> Iterator[pool.Job]:
    """Yield the jobs that are left; their order plays no role for the records.

    Pairs come at random, so that two processes on one file share the work, and the pairs finished
    so far tell how long the others take. A pair is tried at high thresholds first: a start that
    stays above one is then not tried for the lower ones (see `job`). A few pairs go together, so
    that workers do not train the same end side by side.
    """
    pairs = list(range(plan.pairs))
    random.SystemRandom().shuffle(pairs)
    easiest_first = sorted(enumerate(plan.settings), key=lambda each: -each[1].L0)
    together = 4 * workers
    for start in range(0, len(pairs), together):
        for number, setting in easiest_first:
            for pair in pairs[start : start + together]:
                if (number, pair) not in kept:
                    yield number, pair, setting, child(plan.seed, pair), plan.keep_strings
