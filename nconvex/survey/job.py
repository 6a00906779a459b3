"""The job of a worker: train and connect one pair, and make its record.

Settings that differ in the search alone share their trained ends, which each process remembers.
Those that differ in L₀ as well share the starts that failed.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np

from nconvex.definitions import (
    ConnectionStatus,
    Descent,
    DescentStatus,
    Training,
    TrainingStatus,
    child,
)
from nconvex.network.base import NetworkLandscape
from nconvex.network.problem import Problem
from nconvex.reductions import norm
from nconvex.string import String
from nconvex.survey.records import SETTING_FIELDS
from nconvex.survey.setting import Setting
from nconvex.train import train

#: Trained ends that a process keeps for other settings of the same pairs: 70 MB at width 64.
ENDS_REMEMBERED = 2048

#: Starts above L₀ that a process keeps likewise: 8 MB at width 4, and wider networks have few.
STARTS_REMEMBERED = 8192

#: Points of a segment at which its steepest slope is sought.
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)

_lock = threading.Lock()
_ends: dict[tuple[Setting, tuple[int, ...]], Training] = {}
#: By end and start: the highest target it failed at, and the descent.
_failed: dict[tuple[Setting, tuple[int, ...], bytes], tuple[float, Descent]] = {}


def connect_pair(
    number: int,
    pair: int,
    setting: Setting,
    seed: tuple[int, ...],
    keep_beads: bool,
    check_cancelled: Callable[..., None] = lambda *_: None,
) -> tuple[tuple[Any, ...], np.ndarray | None]:
    """Train and connect one pair: its record, in plain numbers and text, and its beads if wanted.

    Streams are those of `run_pair`: with accept = 1, insertion at the peak and one optimizer, it is
    the same pair.

    Args:
        number: Of the setting in the survey.
        pair: Number of the pair.
        setting: What the pair is made from.
        seed: Of the pair.
        keep_beads: Whether the beads are wanted.
        check_cancelled: Called between descents; may raise to stop.
    """
    problem = setting.problem(seed)
    trainings = []
    for end in (1, 2):
        trainings.append(_trained(setting, problem, child(seed, end), check_cancelled))
        if trainings[-1].status is not TrainingStatus.TRAINED:
            break
    string, outcome = None, f"end_{trainings[-1].status.name.lower()}"
    if trainings[-1].status is TrainingStatus.TRAINED:
        for_beads = setting.problem(seed, for_beads=True) if setting.bead_rmsprop else problem
        first, second = (training.theta for training in trainings)
        string = setting.connect(for_beads, first, second, child(seed, 3), check_cancelled)
        if string.status is ConnectionStatus.INTERRUPTED:
            raise CancelledError
        outcome = string.status.name.lower()
    described = setting.described()
    record = (
        number,
        pair,
        *(described[name] for name, _ in SETTING_FIELDS),
        outcome,
        *_of_path(string),
        *([training.loss for training in trainings] + [math.nan])[:2],
        sum(training.starts for training in trainings),
        sum(training.steps for training in trainings),
        math.nan if string is None else float(string.gradient_evaluations),
        math.nan if string is None else float(len(string.failures)),
        _steepest(problem, string) if string and isinstance(problem, Problem) else math.nan,
    )
    return record, string.beads if keep_beads and string is not None else None


def forget() -> None:
    """Forget the ends and starts that this process remembers; they are trained anew."""
    with _lock:
        _ends.clear()
        _failed.clear()


def _of_path(string: String | None) -> tuple[float, ...]:
    """The fields from "connected" to "line_max_error"."""
    if string is None:
        return (False, False, *(math.nan,) * 6)
    return (
        string.connected,
        string.certified,
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
    setting: Setting,
    problem: NetworkLandscape,
    seed: tuple[int, ...],
    check_cancelled: Callable[..., None],
) -> Training:
    """Train an end, or remember it.

    Two threads may train the same one side by side; it is the same to the last bit.
    """
    if setting.task == "mnist":  # 1.6 MB a model, and no preset of these shares ends
        check_cancelled()
        return train(problem, setting.L0, seed)
    alike = replace(
        setting, alpha=1.0, depth=0, accept=1.0, insert="peak", sampler="plain", bead_rmsprop=None
    )
    if (known := _ends.get((alike, seed))) is not None:
        return known
    starts = _Starts(problem, (replace(alike, L0=1.0), seed), check_cancelled)
    training = train(starts, setting.L0, seed)
    _remember(_ends, (alike, seed), training, ENDS_REMEMBERED)
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
        check_cancelled: Callable[..., None],
    ):
        self._problem, self._end, self._check_cancelled = problem, end, check_cancelled
        self.initial, self.loss, self.gamma = problem.initial, problem.loss, problem.gamma

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Descend as the problem does, or return the descent that failed before."""
        self._check_cancelled()
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
