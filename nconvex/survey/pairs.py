"""Many pairs: a grid of settings, the record of each pair, and what they say together.

Pair k of a survey has the seed child(survey's seed, k), under every setting: so a record depends on
its setting, its pair and the survey's seed alone, whatever the order, the number and kind of
workers, or interruptions; and settings are compared on the same draws. Points of one figure are
therefore not independent of each other, while the pairs behind each point are.

Every pair has an outcome, and none is dropped:

===================  ==============================================================================
``connected``        the loss is at most L₀ (or the accepted multiple of it) all along the path
``bead_untrainable`` a bead stayed above α L₀ until its budget was spent
``depth_exhausted``  segments above L₀ are left at the full depth
``end_untrainable``  every start that was drawn for one of the ends stayed above L₀
===================  ==============================================================================

`OUTCOMES` has these and all others that a status may name.

Shares are of all pairs. Beads and lengths are known of finished paths only, so their means are over
the connected pairs, and the shares stand beside them: where few pairs connect, the means are those
of the easy ones.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import platform
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from nconvex.data import digits
from nconvex.data.polynomials import POLYNOMIALS
from nconvex.definitions import (
    VERSION,
    ConnectionStatus,
    Descent,
    DescentStatus,
    NconvexError,
    RMSProp,
    Seed,
    Training,
    TrainingStatus,
    child,
    require_alpha,
    require_choice,
    require_integer,
    require_positive,
)
from nconvex.dss import INSERTIONS, MAX_DEPTH
from nconvex.files import write_whole
from nconvex.kernels.parts import LOSSES, NONLINEAR
from nconvex.network.base import NetworkLandscape
from nconvex.network.classification import METRICS
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem
from nconvex.reductions import norm
from nconvex.samplers import SAMPLERS, connect
from nconvex.string import String
from nconvex.survey import intervals
from nconvex.survey import workers as work
from nconvex.survey.store import Store
from nconvex.tasks import mnist, quad
from nconvex.training import train

TASKS = (*POLYNOMIALS, "mnist")
ACTIVATIONS = (*NONLINEAR, "authors")

#: How a pair may end: every status of a search but for an interrupted one, which is no result, and
#: every one of a training that failed.
OUTCOMES = (
    *(
        status.name.lower()
        for status in ConnectionStatus
        if status is not ConnectionStatus.INTERRUPTED
    ),
    *(
        f"end_{status.name.lower()}"
        for status in TrainingStatus
        if status is not TrainingStatus.TRAINED
    ),
)

#: Letters of the hidden layers in a record, as in "4-4".
LONGEST_SHAPE = 64

#: Of a record: names and NumPy types. What is not known of a pair is not a number.
FIELDS = (
    ("setting", "i8"), ("pair", "i8"), ("task", "U16"), ("activation", "U10"), ("loss", "U8"),
    ("hidden", f"U{LONGEST_SHAPE}"), ("L0", "f8"), ("alpha", "f8"), ("depth", "i8"),
    ("accept", "f8"), ("sampler", "U16"), ("outcome", f"U{max(map(len, OUTCOMES))}"),
    ("connected", "?"), ("certified", "?"), ("beads", "f8"), ("normalized_length", "f8"),
    ("path_length", "f8"), ("max_error_lower", "f8"), ("max_error", "f8"),
    ("line_max_error", "f8"), ("loss_1", "f8"), ("loss_2", "f8"), ("starts", "i8"),
    ("training_steps", "i8"), ("search_steps", "f8"), ("segments_above", "f8"),
    ("steepest", "f8"),
)  # fmt: skip

#: Of the aggregates: one row a setting.
AGGREGATES = (
    ("setting", "i8"),
    ("pairs", "i8"),
    *((outcome, "i8") for outcome in OUTCOMES),
    *(
        (f"{name}{end}", "f8")
        for name in ("share", "beads", "normalized_length", "search_steps", "training_steps")
        for end in ("", "_low", "_high")
    ),
    ("strict", "i8"),
)

#: Trained ends that a process keeps for other settings of the same pairs: 70 MB at width 64.
REMEMBERED = 2048

#: Starts above L₀ that a process keeps likewise: 8 MB at width 4, and wider networks have few.
STARTS_REMEMBERED = 8192

#: Pairs that a survey may have: their order alone takes 36 MB.
MOST_PAIRS = 10**6

#: Points of a segment at which its steepest slope is looked for.
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Setting:
    """What one pair is made from, but for its seed.

    Attributes:
        task: "quadratic", "cubic", "authors-cubic" or "mnist" (the subset that ships).
        activation: One of `parts.NONLINEAR`, or "authors" for `MLP.of_the_authors`.
        loss: As for `Problem`; "loss" or "error" for MNIST, see `Classification`.
        hidden: Units of each hidden layer.
        L0: The threshold.
        alpha: Beads are trained to alpha L0.
        depth: Recursions allowed.
        accept: Multiple of L0 that the path may rise to. Departs from the draft above 1: the
            authors' published code accepts 1.1.
        insert: As for `connect`.
        sampler: A name in `SAMPLERS`; "revive" is at its best with alpha 0.9 and depth 14.
        samples: Points of the polynomials' training set, and of their test set.
        rmsprop: Settings of the ends' descents.
        bead_rmsprop: Settings of the beads' descents; those of the ends by default.
    """

    task: str = "quadratic"
    activation: str = "relu"
    loss: str = "mse"
    hidden: tuple[int, ...] = (4, 4)
    L0: float = 1e-3
    alpha: float = 0.8
    depth: int = 10
    accept: float = 1.0
    insert: str = "peak"
    sampler: str = "plain"
    samples: int = 1000
    rmsprop: RMSProp = field(default_factory=RMSProp)
    bead_rmsprop: RMSProp | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        losses = METRICS if self.task == "mnist" else tuple(LOSSES)
        for name, choices in (
            ("task", TASKS),
            ("activation", NONLINEAR if self.task == "mnist" else ACTIVATIONS),
            ("loss", losses),
            ("insert", INSERTIONS),
            ("sampler", tuple(SAMPLERS)),
        ):
            require_choice(name, getattr(self, name), choices)
        if not self.hidden:
            raise NconvexError("hidden must name one layer at least, e.g. (4, 4)")
        for units in self.hidden:
            require_integer("a layer's size", units, 1)
        object.__setattr__(self, "hidden", tuple(map(int, self.hidden)))
        require_positive("L0", self.L0)
        require_alpha(self.alpha)
        require_integer("depth", self.depth, 0, MAX_DEPTH)
        require_positive("accept", self.accept)
        if self.accept < 1.0:
            raise NconvexError(f"accept must be at least 1, not {self.accept!r}")
        require_integer("samples", self.samples, 1)
        if len(shape := _described(self)["hidden"]) > LONGEST_SHAPE:
            raise NconvexError(f"hidden {shape:.20}... has too many layers for a record's column")
        for kind, names in ((float, ("L0", "alpha", "accept")), (int, ("depth", "samples"))):
            for name in names:
                object.__setattr__(self, name, kind(getattr(self, name)))  # NumPy's are no JSON

    @property
    def residual(self) -> float:
        """The root mean square residual σ that L₀ stands for, if residuals are normal.

        L₀ is σ² for ``mse``, σ √(2/π) for ``mae``; where residuals stay well below Huber's corner
        and 1, σ²/2 for ``huber`` and ``log-cosh``. Not a number for a classifier.
        """
        if self.loss == "mse":
            return math.sqrt(self.L0)
        if self.loss == "mae":
            return self.L0 * math.sqrt(math.pi / 2.0)
        return math.nan if self.task == "mnist" else math.sqrt(2.0 * self.L0)

    def problem(self, seed: Seed, for_beads: bool = False) -> NetworkLandscape:
        """Make the landscape, with the ends' descents or the beads'."""
        rmsprop = self.bead_rmsprop if for_beads and self.bead_rmsprop else self.rmsprop
        if self.task == "mnist":
            return _mnist(self.hidden, self.activation, self.loss, rmsprop)
        sizes = (1, *self.hidden, 1)
        authors = self.activation == "authors"
        model = MLP.of_the_authors(sizes) if authors else MLP(sizes, self.activation)
        return quad.problem(seed, self.task, model, self.loss, self.samples, rmsprop)


def grid(settings: Setting | None = None, **values: Any) -> tuple[Setting, ...]:
    """Make all combinations of values: grid(L0=(1e-2, 1e-3), alpha=(0.8, 0.95)) are four settings.

    Args:
        settings: Gives what is not named.
        values: By attribute of `Setting`: one value, or several in a list or tuple. Hidden layers
            are tuples, so several of them are a list of tuples.
    """
    base = Setting() if settings is None else settings
    known = {attribute.name for attribute in fields(Setting)}
    if unknown := sorted(values.keys() - known):
        raise NconvexError(
            f"a setting has no {', '.join(unknown)}; choose from {', '.join(sorted(known))}"
        )
    choices = [
        list(value) if isinstance(value, list | tuple) and not _one_shape(name, value) else [value]
        for name, value in values.items()
    ]
    return tuple(
        replace(base, **dict(zip(values, chosen, strict=True)))
        for chosen in itertools.product(*choices)
    )


@dataclass(frozen=True)
class Survey:
    """Records of many pairs.

    Attributes:
        settings: What was surveyed.
        pairs: Pairs a setting.
        seed: Of the survey.
        records: Structured array with `FIELDS`, in the order of setting and pair; a pair that is
            not finished has no record.
    """

    settings: tuple[Setting, ...]
    pairs: int
    seed: tuple[int, ...]
    records: np.ndarray

    @property
    def complete(self) -> bool:
        """Whether every pair is finished."""
        return len(self.records) == self.pairs * len(self.settings)

    def of(self, setting: int) -> np.ndarray:
        """Return one setting's records."""
        return np.asarray(self.records[self.records["setting"] == setting])

    def aggregates(self) -> np.ndarray:
        """Return one row a setting: counts of outcomes, shares and means with 95 % intervals.

        ``share`` is the connected share of all pairs, with Wilson's interval; ``beads`` and
        ``normalized_length`` are means over the connected pairs, ``search_steps`` over those whose
        ends were trained, ``training_steps`` over all, each with Student's t interval; ``strict``
        counts the paths that stay below L₀ itself. See `intervals`.
        """
        rows = []
        for setting in range(len(self.settings)):
            records = self.of(setting)
            connected = records[records["connected"]]
            searched = records[records["outcome"] != "end_untrainable"]
            count = len(connected)
            share = count / len(records) if len(records) else math.nan
            rows.append(
                (
                    setting,
                    len(records),
                    *(int(np.sum(records["outcome"] == outcome)) for outcome in OUTCOMES),
                    share,
                    *intervals.wilson(count, len(records)),
                    *intervals.mean(connected["beads"]),
                    *intervals.mean(connected["normalized_length"]),
                    *intervals.mean(searched["search_steps"]),
                    *intervals.mean(records["training_steps"]),
                    int(np.sum(records["max_error"] <= records["L0"])),
                )
            )
        return np.array(rows, dtype=list(AGGREGATES))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the records, one line a pair; numbers that are not known are empty."""
        _write_csv(path, self.records)

    def aggregates_to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the aggregates, one line a setting, after what varies between them."""
        _write_csv(path, self.aggregates(), [self._label(k) for k in range(len(self.settings))])

    def table(self) -> str:
        """Return the aggregates as a Markdown table, aligned for reading as plain text."""
        names = [*self._label(0), "pairs", "connected (Wilson 95 %)", "beads (t 95 %)"]
        names += ["normalized length (t 95 %)", "steps of search", "of training", "failures"]
        rows = [names]
        for setting, row in enumerate(self.aggregates()):
            failures = ", ".join(
                f"{row[outcome]} {outcome.replace('_', ' ')}"
                for outcome in OUTCOMES[1:]
                if row[outcome]
            )
            share = f"{row['share']:.2f} [{row['share_low']:.2f}, {row['share_high']:.2f}]"
            rows.append(
                [
                    *(_short(value) for value in self._label(setting).values()),
                    str(row["pairs"]),
                    share if row["pairs"] else "",
                    _mean(row, "beads", ".2f"),
                    _mean(row, "normalized_length", ".3f"),
                    _mean(row, "search_steps", ".0f"),
                    _mean(row, "training_steps", ".0f"),
                    failures or "none",
                ]
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
            for row in rows
        ]
        lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        return "\n".join(lines)

    def _label(self, setting: int) -> dict[str, Any]:
        """What tells a setting from the others."""
        described = [_described(each) for each in self.settings]
        varying = [
            name
            for name in described[0]
            if len({repr(each[name]) for each in described}) > 1 or name == "L0"
        ]
        return {name: described[setting][name] for name in varying}


# -- Running --------------------------------------------------------------------------------------


def survey(
    settings: Setting | Sequence[Setting],
    pairs: int = 20,
    seed: Seed = 0,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Any = None,
    keep_strings: bool = False,
    progress: Callable[[int, int, np.ndarray], None] | None = None,
) -> Survey:
    """Train and connect many pairs under each setting.

    Args:
        settings: What to survey, e.g. from `grid`.
        pairs: Pairs a setting.
        seed: Names all randomness; pair k has child k of it.
        store: A file that keeps each pair as soon as it is finished. One that exists must be of
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
    settings = (settings,) if isinstance(settings, Setting) else tuple(settings)
    _require_settings(settings)
    require_integer("pairs", pairs, 1, MOST_PAIRS)
    workers = work.workers_or_all(workers)
    if keep_strings and store is None:
        raise NconvexError("strings are kept in a store; name one with store=")
    seed = child(seed)
    with ExitStack() as stack:
        kept: Store | _Memory = _Memory()
        if store is not None:
            kept = stack.enter_context(
                Store(
                    store, FIELDS, _configuration(settings, pairs, seed, keep_strings), versions()
                )
            )
            _continue(kept, pairs)
        total = pairs * len(settings)
        done = len(kept.records())
        jobs = (
            (setting, pair, settings[setting], child(seed, pair), keep_strings)
            for setting, pair in _order(settings, pairs, workers)
            if (setting, pair) not in kept
        )
        try:
            with closing(work.results(run, jobs, workers, executor)) as results:
                for record, beads in results:
                    done += kept.add(record, beads)
                    if progress is not None:
                        progress(done, total, np.array(record, dtype=list(FIELDS)))
        except work.WorkersLost as error:
            advice = f"what was finished is in {store}: resume it"
            if store is None:
                advice = "nothing keeps what was finished: name a store"
            raise NconvexError(f"{error}; {advice}") from error
        records = kept.records() if isinstance(kept, _Memory) else _read(kept).records
        # Another process may have let the store grow.
        return Survey(settings, pairs, seed, records[records["pair"] < pairs])


def load(store: str | os.PathLike[str]) -> Survey:
    """Read the survey in a store, finished or not; the file is not written to.

    Raises:
        NconvexError: The file does not exist, is damaged, or of another version.
    """
    with Store(store, FIELDS) as kept:
        return _read(kept)


def resume(
    store: str | os.PathLike[str],
    workers: int | None = None,
    executor: Any = None,
    progress: Callable[[int, int, np.ndarray], None] | None = None,
) -> Survey:
    """Continue the survey in a store.

    Raises:
        NconvexError: As for `survey`, or the file does not exist.
        KeyboardInterrupt: As for `survey`.
    """
    with Store(store, FIELDS) as kept:
        settings, pairs, seed, keep_strings = configured(kept)
    return survey(settings, pairs, seed, store, workers, executor, keep_strings, progress)


def run(
    setting: int,
    pair: int,
    what: Setting,
    seed: tuple[int, ...],
    keep: bool,
    alive: Callable[..., None] | None = None,
) -> tuple[tuple[Any, ...], np.ndarray | None]:
    """Train and connect one pair: its record, in plain numbers and text, and its beads if wanted.

    Streams are those of `run_pair`: with accept = 1, insertion at the peak and one optimizer, it is
    the same pair.

    Args:
        setting: Place of the setting in the survey.
        pair: Place of the pair.
        what: The setting.
        seed: Of the pair.
        keep: Whether the beads are wanted.
        alive: Called between descents; may raise to stop.
    """
    alive = alive or (lambda *_: None)
    problem = what.problem(seed)
    trainings = []
    for end in (1, 2):
        trainings.append(_trained(what, problem, child(seed, end), alive))
        if trainings[-1].status is not TrainingStatus.TRAINED:
            break
    trained = all(training.status is TrainingStatus.TRAINED for training in trainings)
    losses = [training.loss for training in trainings] + [math.nan]
    string, outcome = None, f"end_{trainings[-1].status.name.lower()}"
    if trained:
        for_beads = what.problem(seed, for_beads=True) if what.bead_rmsprop else problem
        string = connect(
            for_beads,
            trainings[0].theta,
            trainings[1].theta,
            L0=what.accept * what.L0,
            sampler=replace(SAMPLERS[what.sampler], insert=what.insert),  # type: ignore[arg-type]
            alpha=what.alpha / what.accept,
            depth=what.depth,
            seed=child(seed, 3),
            progress=alive,
        )
        if string.status is ConnectionStatus.INTERRUPTED:
            raise CancelledError
        outcome = string.status.name.lower()
    described = _described(what)
    record = (
        setting,
        pair,
        *(described[name] for name, _ in FIELDS[2:11]),
        outcome,
        string is not None and string.connected,
        string is not None and string.certified,
        *_measured(string),
        *losses[:2],
        sum(training.starts for training in trainings),
        sum(training.steps for training in trainings),
        math.nan if string is None else float(string.gradient_evaluations),
        math.nan if string is None else float(len(string.failures)),
        _steepest(problem, string) if string and isinstance(problem, Problem) else math.nan,
    )
    return record, string.beads if keep and string is not None else None


def versions() -> dict[str, str]:
    """Return what a record depends on besides its seed."""
    return {
        "nconvex": VERSION,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
    }


def configured(kept: Store) -> tuple[tuple[Setting, ...], int, tuple[int, ...], bool]:
    """Return settings, pairs, seed and whether strings are kept, of a store."""
    found = kept.configuration
    try:
        settings = tuple(_from_json(values) for values in found["settings"])
        pairs, seed = found["pairs"], child(tuple(found["seed"]))
        _require_settings(settings)
        require_integer("pairs", pairs, 1, MOST_PAIRS)
        keep_strings = bool(found["keep_strings"])
        if found != json.loads(json.dumps(_configuration(settings, pairs, seed, keep_strings))):
            raise ValueError("it has more than a survey has")
    except KeyError as error:
        kept.damaged(f"its configuration lacks {error}")
    except (TypeError, ValueError, OverflowError) as error:
        kept.damaged(f"its configuration: {str(error)[:80]}")
    return settings, pairs, seed, keep_strings


def _require_settings(settings: tuple[Setting, ...]) -> None:
    if not settings:
        raise NconvexError("a survey needs one setting at least, e.g. Setting(L0=1e-3)")
    if len(set(settings)) < len(settings):
        raise NconvexError("a setting occurs twice; the same pairs would be counted twice")


def _continue(kept: Store, pairs: int) -> None:
    """Make sure that a store of the same survey can be continued, up to a number of pairs."""
    if kept.versions != versions():
        made = ", ".join(f"{name} {version}" for name, version in kept.versions.items())
        raise NconvexError(
            f"{kept.path} was made by {made}; continue it with these, or start a new file, so "
            "that one survey is not computed in two ways"
        )
    before = _read(kept).pairs
    if pairs < before:
        raise NconvexError(
            f"{kept.path} is a survey of {before} pairs a setting, which can grow but not shrink; "
            f"ask for {before} or more"
        )
    if pairs > before:
        kept.grow(pairs)


def _read(kept: Store) -> Survey:
    """Return the survey in a store; records are believed only as far as one could make them."""
    records = kept.records()
    settings, pairs, seed, _ = configured(kept)  # after the records: it may grow meanwhile
    names = records.dtype.names or ()
    for row in records.tolist():
        record = dict(zip(names, row, strict=True))
        place = f"setting {record['setting']}, pair {record['pair']}"
        if not (0 <= record["setting"] < len(settings) and 0 <= record["pair"] < pairs):
            kept.damaged(f"{place} is not surveyed")
        if wrong := _contradictions(record, settings[record["setting"]]):
            kept.damaged(f"{wrong[0]} of {place} is {record[wrong[0]]!r}, which cannot be")
    return Survey(settings, pairs, seed, records)


def _contradictions(record: dict[str, Any], setting: Setting) -> list[str]:
    """Name the fields that do not go with the setting or with each other."""
    described = _described(setting)
    searched = not record["outcome"].startswith("end_")
    low = record["max_error"] <= setting.accept * setting.L0
    counts = {name: record[name] for name in ("starts", "training_steps")}
    if searched:
        counts |= {name: record[name] for name in ("beads", "search_steps", "segments_above")}
    holds = {
        **{name: record[name] == described[name] for name, _ in FIELDS[2:11]},
        "outcome": record["outcome"] in OUTCOMES,
        "connected": record["connected"] == low == (record["outcome"] == "connected"),
        "certified": searched or not record["certified"],
        **{name: count == min(max(count, 0), 2**53) // 1 for name, count in counts.items()},
        "normalized_length": not record["normalized_length"] < 1.0,
        "path_length": not record["path_length"] < 0.0,
        "max_error_lower": not record["max_error_lower"] > record["max_error"],
        "steepest": not record["steepest"] < 0.0,
    }
    return [name for name, true in holds.items() if not true]


def _order(settings: Sequence[Setting], pairs: int, workers: int) -> Iterator[tuple[int, int]]:
    """Settings and pairs in the order in which they are run; it plays no role for the records.

    Pairs come at random, so that two processes on one file share the work, and the time left can
    be told from what is finished. A pair is tried at high thresholds first: a start that stays
    above one is then not tried for the lower ones (see `_Starts`). A few pairs go together, so that
    workers do not train the same end side by side.
    """
    shuffled = list(range(pairs))
    random.SystemRandom().shuffle(shuffled)
    easiest_first = sorted(range(len(settings)), key=lambda setting: -settings[setting].L0)
    together = 4 * workers
    for start in range(0, pairs, together):
        for setting in easiest_first:
            for pair in shuffled[start : start + together]:
                yield setting, pair


class _Memory:
    """A store that forgets."""

    def __init__(self) -> None:
        self._records: dict[tuple[int, int], tuple[Any, ...]] = {}

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._records

    def add(self, record: tuple[Any, ...], beads: np.ndarray | None) -> bool:
        self._records[record[0], record[1]] = record
        return True

    def records(self) -> np.ndarray:
        return np.array([self._records[key] for key in sorted(self._records)], dtype=list(FIELDS))


# -- Records --------------------------------------------------------------------------------------


def _measured(string: String | None) -> tuple[float, ...]:
    if string is None:
        return (math.nan,) * 6
    return (
        float(string.n_beads),
        string.normalized_length,
        string.path_length,
        *string.max_error_bounds,
        string.line_max_error,
    )


def _steepest(problem: Problem, string: String) -> float:
    """The largest norm of the gradient (of the training loss) at some points of each segment."""
    return max(
        float(norm(problem.loss_and_gradient(left * (1.0 - t) + right * t)[1]))
        for left, right in itertools.pairwise(string.beads)
        for t in SLOPES
    )


def _trained(
    what: Setting, problem: NetworkLandscape, seed: tuple[int, ...], alive: Callable[..., None]
) -> Training:
    """Train an end, or remember it: settings that differ in the search alone share their ends.

    Those that differ in L₀ as well share their starts; see `_Starts`. Two threads may train the
    same one side by side; it is the same to the last bit.
    """
    if what.task == "mnist":  # 1.6 MB a model, and no preset of these shares ends
        alive()
        return train(problem, what.L0, seed)
    alike = replace(
        what, alpha=1.0, depth=0, accept=1.0, insert="peak", sampler="plain", bead_rmsprop=None
    )
    if (known := _ends.get((alike, seed))) is not None:
        return known
    training = train(_Starts(problem, (replace(alike, L0=1.0), seed), alive), what.L0, seed)
    _remember(_ends, (alike, seed), training, REMEMBERED)
    return training


class _Starts:
    """A landscape on which a start that stayed above some L₀ is not tried again for a lower one.

    The target of a descent only says where it stops: what spends its budget above one target would
    spend it above every lower one, on the same way.
    """

    def __init__(
        self,
        problem: NetworkLandscape,
        end: tuple[Setting, tuple[int, ...]],
        alive: Callable[..., None],
    ):
        self._problem, self._end, self._alive = problem, end, alive
        self.initial, self.loss, self.gamma = problem.initial, problem.loss, problem.gamma

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Descend as the problem does, or remember that it is in vain."""
        self._alive()
        key = (*self._end, theta.tobytes())
        highest, failed = _failed.get(key, (-math.inf, None))
        if failed is not None and target <= highest:
            return failed
        descent = self._problem.descend(theta, target, rng)
        spent = descent.steps == self._problem.rmsprop.budget
        if spent and descent.status is DescentStatus.BUDGET_SPENT:
            _remember(_failed, key, (target, descent), STARTS_REMEMBERED)
        return descent


def _remember(known: dict[Any, Any], key: object, value: object, most: int) -> None:
    """Keep a value, and drop the oldest one where there are too many."""
    with _lock:
        if len(known) >= most:
            del known[next(iter(known))]
        known[key] = value


_lock = threading.Lock()
_ends: dict[tuple[Setting, tuple[int, ...]], Training] = {}
#: By end and start: the highest target it failed at, and the descent.
_failed: dict[tuple[Setting, tuple[int, ...], bytes], tuple[float, Descent]] = {}


@lru_cache(maxsize=4)
def _mnist(
    hidden: tuple[int, ...], activation: str, metric: str, rmsprop: RMSProp
) -> NetworkLandscape:
    """One landscape serves all pairs: the data are the same."""
    model = MLP((digits.SIDE**2, *hidden, digits.CLASSES), activation)
    return mnist.problem("subset", model, metric, rmsprop=rmsprop)


def _one_shape(name: str, value: Sequence[Any]) -> bool:
    return name == "hidden" and all(isinstance(units, int) for units in value)


def _described(setting: Setting) -> dict[str, Any]:
    values = {attribute.name: getattr(setting, attribute.name) for attribute in fields(setting)}
    return {**values, "hidden": "-".join(map(str, setting.hidden))}


def _configuration(
    settings: Sequence[Setting], pairs: int, seed: tuple[int, ...], keep_strings: bool
) -> Mapping[str, Any]:
    return {
        "settings": [asdict(setting) for setting in settings],
        "pairs": pairs,
        "seed": list(seed),
        "keep_strings": keep_strings,
    }


def _from_json(values: dict[str, Any]) -> Setting:
    values = dict(values)
    for name in ("rmsprop", "bead_rmsprop"):
        if values[name] is not None:
            values[name] = RMSProp(**values[name])
    return Setting(**values)


# -- Text -----------------------------------------------------------------------------------------


def _write_csv(
    path: str | os.PathLike[str],
    rows: np.ndarray,
    labels: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    labels = [{}] * len(rows) if labels is None else labels
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(labels[0] if labels else ()), *(rows.dtype.names or ())])
    for label, row in zip(labels, rows.tolist(), strict=True):
        writer.writerow([*map(_short, label.values()), *map(_short, row)])
    document = text.getvalue().encode()
    write_whole(path, lambda file: file.write(document))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)


def _mean(row: np.void, name: str, spec: str) -> str:
    if math.isnan(row[name]):
        return "-"
    if math.isnan(row[f"{name}_low"]):
        return format(row[name], spec)
    return f"{row[name]:{spec}} [{row[f'{name}_low']:{spec}}, {row[f'{name}_high']:{spec}}]"
