"""The job of a worker: train and connect one pair, and make its record.

Each process remembers the descents of the ends, so that settings that differ in the search alone
train each end once.
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
    RMSProp,
    Training,
    TrainingStatus,
    child,
)
from nconvex.landscape import Trainable, quantity
from nconvex.network import Problem
from nconvex.pairs.records import SETTING_FIELDS
from nconvex.pairs.setting import Setting
from nconvex.pairs.source import Source
from nconvex.reductions import norm
from nconvex.string import String
from nconvex.training import train

#: Descents of ends that a process remembers, and bytes that their θ may take.
REMEMBERED, MEMORY = 4096, 2**28

#: Points of a segment at which its steepest slope is sought.
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)

#: By end and start: the target of the last descent from there, and the descent.
_descents: dict[tuple[str, Setting, tuple[int, ...], bytes], tuple[float, Descent]] = {}
_lock = threading.Lock()


def connect_pair(
    number: int,
    pair: int,
    setting: Setting,
    seed: tuple[int, ...],
    keep_beads: bool,
    check_cancelled: Callable[..., None] = lambda *_: None,
    source: Source | None = None,
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
        source: Of the landscape, where the setting is of a problem of one's own.
    """
    problem = setting.problem(seed) if source is None else source.problem(seed)
    token = "" if source is None else source.token
    trainings = []
    for end in (1, 2):
        trainings.append(train_end(setting, problem, child(seed, end), check_cancelled, token))
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


def train_end(
    setting: Setting,
    problem: Trainable,
    seed: tuple[int, ...],
    check_cancelled: Callable[..., None],
    token: str = "",
) -> Training:
    """Train an end to L₀, with the descents that are remembered."""
    alike = replace(
        setting, L0=1.0, alpha=1.0, depth=0, accept=1.0, insert="peak", sampler="plain",
        bead_rmsprop=None,
    )  # fmt: skip
    return train(_Remembering(problem, (token, alike, seed), check_cancelled), setting.L0, seed)


def forget() -> None:
    """Forget all descents; they are done anew."""
    with _lock:
        _descents.clear()


class _Remembering:
    """A landscape on which no descent of an end is done twice.

    The target of a descent only says where it stops: what spends its budget above one target would
    spend it above every lower one, on the same way. Two threads may do the same descent side by
    side; it is the same to the last bit.
    """

    def __init__(
        self,
        problem: Trainable,
        end: tuple[str, Setting, tuple[int, ...]],
        check_cancelled: Callable[..., None],
    ):
        self._problem, self._end, self._check_cancelled = problem, end, check_cancelled
        self.initial, self.loss, self.gamma = problem.initial, problem.loss, problem.gamma
        self.highest, self.quantity = getattr(problem, "highest", math.inf), quantity(problem)

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Descend as the problem does, or return the descent that is known."""
        self._check_cancelled()
        start = (*self._end, theta.tobytes())
        before, known = _descents.get(start, (math.nan, None))
        if known is not None and (target == before or (target < before and self._spent(known))):
            return known
        descent = self._problem.descend(theta, target, rng)
        with _lock:
            _descents[start] = target, descent
            while len(_descents) > min(REMEMBERED, MEMORY // (2 * theta.nbytes)):  # key and result
                del _descents[next(iter(_descents))]  # the oldest
        return descent

    def _spent(self, descent: Descent) -> bool:
        all_steps = descent.steps == getattr(self._problem, "rmsprop", RMSProp).budget
        return all_steps and descent.status is DescentStatus.BUDGET_SPENT


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
    gradients = [
        problem.loss_and_gradient(left * (1.0 - t) + right * t)[1]
        for left, right in itertools.pairwise(string.beads)
        for t in SLOPES
    ]
    return float(np.max(norm(np.array(gradients))))
