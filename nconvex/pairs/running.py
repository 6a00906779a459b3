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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
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
from nconvex.pairs.setting import Setting, grid
from nconvex.pairs.source import Given, Source, differing
from nconvex.pairs.store import Store

#: Pairs that a survey may have: their order alone takes 36 MB.
MOST_PAIRS = 10**6


def run(
    problem: Given | Setting | Iterable[Setting],
    *,
    pairs: int | np.integer[Any] = 20,
    seed: Seed = 0,
    store: str | os.PathLike[str] | None = None,
    workers: int | np.integer[Any] | None = None,
    executor: Any = None,
    keep_strings: bool = False,
    progress: Callable[[int, int, np.ndarray], object] | None = None,
    name: str | None = None,
    **search: Any,
) -> Survey:
    """Train and connect many pairs under each setting.

    >>> import nconvex as nc
    >>> nc.survey.run(nc.survey.grid(L0=(0.1, 0.05)), pairs=3, workers=1)
    Survey(2 settings, 3 pairs each, seed=(0,): 6 of 6 finished, 6 connected)
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> mine = nc.Problem(nc.MLP((1, 3, 1)), "mse", x, x**2, x, x**2)
    >>> nc.survey.run(mine, L0=[0.1, 0.05], pairs=3, workers=1)
    Survey(2 settings, 3 pairs each, seed=(0,): 6 of 6 finished, 6 connected)

    A store grows: pairs and settings that it has are kept as they are, those that it has not are
    added, and settings that are not asked for this time stay in it. It knows a problem of one's own
    by its name and by digests of its data and settings (of pair 0's, where a function makes it),
    and does not go on with others.

    Args:
        problem: What to survey: settings, e.g. from `grid`; or a landscape of one's own; or a
            function that makes one from a pair's seed (integers, as `np.random.default_rng` takes
            them), so that data may differ between pairs. Threads share a landscape; executors need
            one that can be pickled.
        pairs: Pairs of each setting.
        seed: Names all randomness; pair k has child k of it.
        store: File that keeps each pair as soon as it is finished. One that exists must have the
            same seed.
        workers: Threads; the kernels release Python's lock. All cores by default.
        executor: What to work with instead of threads: `workers.Processes`, Dask's `Client`, or any
            `concurrent.futures.Executor`, e.g. `mpi4py.futures.MPIPoolExecutor`. Its workers only
            return records, this process stores them; pairs of workers that die are done again,
            where the executor survives that.
        keep_strings: Keep each path's beads in the store.
        progress: Called after each pair with the pairs finished, of how many, and its record.
        name: Of a problem of one's own, in tables, figures and the store; by default the name of
            its class or function.
        search: How a problem of one's own is searched: L0, and if wanted alpha, depth, sampler,
            accept and insert; as in `Setting`, one value of each or several in a list.

    Raises:
        NconvexError: A value is out of its range; the store is damaged, of another survey or of
            other versions, or cannot be written; or workers died too often.
        KeyboardInterrupt: Ctrl-C; finished pairs are in the store, if there is one.
    """
    source = None
    if not isinstance(problem, Setting | Iterable):
        source = Source(problem)
        if "L0" not in search:
            raise NconvexError("a problem of one's own needs a threshold or several: L0=[0.1, 0.2]")
        problem = grid(Setting.of_ones_own(source.name if name is None else name), **search)
    elif name is not None or search:
        given = ", ".join(["name"] if name is not None else search)
        raise NconvexError(f"{given} belongs into the settings, e.g. nc.survey.grid(L0=[1e-2])")
    settings = tuple(problem) if isinstance(problem, Iterable) else (problem,)
    require_integer("pairs", pairs, 1, MOST_PAIRS)
    plan = _Plan(settings, int(pairs), child(seed), keep_strings)
    if keep_strings and store is None:
        raise NconvexError("strings are kept in a store; name one with store=")
    connect: Callable[..., Any] = connect_pair
    if source is not None:
        if executor is not None:
            source.pickled()  # what cannot be sent is refused here
        parts = {} if store is None else source.parts(plan.seed)
        plan = replace(plan, problems={setting.task: parts for setting in settings})
        connect = partial(connect_pair, source=source)
    else:
        plan.require_no_source(store)
    threads = pool.workers_or_all(workers)
    with Store(store, FIELDS, plan.to_json(), versions()) as kept:
        numbers = _continue(kept, plan)
        done = len(plan.survey(kept.records(), numbers).records)
        jobs = _jobs(plan, numbers, kept, threads)
        try:
            with closing(pool.results(connect, jobs, threads, executor)) as results:
                for (number, *record), beads in results:
                    done += kept.add((number, *record), beads)
                    if progress is not None:
                        row = np.array((numbers.index(number), *record), dtype=list(FIELDS))
                        progress(done, plan.pairs * len(settings), row)
        except pool.WorkersLost as error:
            advice = f"what was finished is in {store}: resume it"
            if store is None:
                advice = "nothing keeps what was finished: name a store"
            raise NconvexError(f"{error}; {advice}") from error
        return plan.survey(kept.records(), numbers)


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
    """Continue the survey in a store; see `run`, which alone can continue one's own problem's.

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
    """What is surveyed; a store keeps it as `to_json` gives it."""

    settings: tuple[Setting, ...]
    pairs: int
    seed: tuple[int, ...]
    keep_strings: bool
    #: By the name of a problem of one's own: digests of its parts.
    problems: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for setting in self.settings:
            require_kind("a setting", setting, Setting, "Setting(L0=1e-3)")
        if not self.settings:
            raise NconvexError("a survey needs one setting at least, e.g. Setting(L0=1e-3)")
        if len(set(self.settings)) < len(self.settings):
            raise NconvexError("a setting occurs twice; the same pairs would be counted twice")

    def to_json(self) -> dict[str, Any]:
        """Return the values by name, for JSON."""
        values = asdict(self)
        return values if self.problems else {k: v for k, v in values.items() if k != "problems"}

    def require_no_source(self, store: str | os.PathLike[str] | None) -> None:
        """Raise NconvexError if a setting is of a problem of one's own, which no setting holds."""
        for name in (setting.task for setting in self.settings if setting.is_ones_own):
            levels = sorted({setting.L0 for setting in self.settings if setting.task == name})
            raise NconvexError(
                f"settings of {name!r} need the problem, which no file holds; go on from Python: "
                f"nc.survey.run(problem, name={name!r}, L0={levels}, pairs={self.pairs}, "
                f"seed={self.seed}, store={store and os.fspath(store)!r})"
            )

    def survey(self, records: np.ndarray, numbers: Sequence[int]) -> Survey:
        """Return the records of these pairs and settings, which have these numbers in the file."""
        found = []
        for own, number in enumerate(numbers):
            found.append(records[(records["setting"] == number) & (records["pair"] < self.pairs)])
            found[-1]["setting"] = own
        return Survey(self.settings, self.pairs, self.seed, np.concatenate(found))


def _plan(kept: Store) -> _Plan:
    """Return what a store says that it surveys."""
    found = kept.configuration
    try:
        settings = tuple(Setting.from_json(values) for values in found["settings"])
        require_integer("pairs", found["pairs"], 1, MOST_PAIRS)
        seed, keep_strings = child(tuple(found["seed"])), bool(found["keep_strings"])
        problems = {
            name: {str(part): str(of) for part, of in parts.items()}
            for name, parts in found.get("problems", {}).items()
        }
        plan = _Plan(settings, found["pairs"], seed, keep_strings, problems)
        if found != json.loads(json.dumps(plan.to_json())):
            raise ValueError("it has more than a survey has")
        if problems.keys() != {setting.task for setting in settings if setting.is_ones_own}:
            raise ValueError("its problems are not those of its settings")
    except KeyError as error:
        kept.damaged(f"its configuration lacks {error}")
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
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
    return plan.survey(records, range(len(plan.settings)))


def _continue(kept: Store, plan: _Plan) -> list[int]:
    """Let a store grow to what is asked for, or refuse it; return its settings' numbers there."""
    if kept.versions != versions():
        made = ", ".join(f"{name} {version}" for name, version in kept.versions.items())
        raise NconvexError(
            f"{kept.path} was made by {made}; continue it with these, or start a new file, so "
            "that one survey is not computed in two ways"
        )
    _read(kept)
    kept.revise(lambda: _together(kept, plan).to_json())
    settings = _plan(kept).settings
    return [settings.index(setting) for setting in plan.settings]


def _together(kept: Store, plan: _Plan) -> _Plan:
    """Return what a store has and what is asked for, in one plan; settings keep their numbers."""
    found = _plan(kept)
    for name in ("seed", "keep_strings"):
        if (there := getattr(found, name)) != (asked := getattr(plan, name)):
            raise NconvexError(
                f"{kept.path} holds another survey, with {name}={there}, not {asked}; choose "
                "another file, or ask for the same"
            )
    for name, parts in plan.problems.items():
        if wrong := differing(found.problems.get(name, parts), parts):
            raise NconvexError(
                f"{kept.path} holds another {name}: it differs in {wrong}; give this one a name= "
                "of its own, or choose another file"
            )
    new = tuple(setting for setting in plan.settings if setting not in found.settings)
    return replace(
        found,
        settings=found.settings + new,
        pairs=max(found.pairs, plan.pairs),
        problems=found.problems | plan.problems,
    )


def _jobs(plan: _Plan, numbers: Sequence[int], kept: Store, workers: int) -> Iterator[pool.Job]:
    """Yield the jobs that are left; their order plays no role for the records.

    Pairs come at random, so that two processes on one file share the work, and the pairs finished
    so far tell how long the others take. A pair is tried at high thresholds first: a start that
    stays above one is then not tried for the lower ones (see `job`). A few pairs go together, so
    that workers do not train the same end side by side.
    """
    pairs = list(range(plan.pairs))
    random.SystemRandom().shuffle(pairs)
    easiest_first = sorted(zip(numbers, plan.settings, strict=True), key=lambda each: -each[1].L0)
    together = 4 * workers
    for start in range(0, len(pairs), together):
        for number, setting in easiest_first:
            for pair in pairs[start : start + together]:
                if (number, pair) not in kept:
                    yield number, pair, setting, child(plan.seed, pair), plan.keep_strings
