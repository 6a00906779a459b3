"""One experiment from the command line: train both ends, connect them, tighten, print, save."""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence

from nconvex.commands import interrupts
from nconvex.commands.arguments import AUTO, CHOSEN, Parser, parse
from nconvex.commands.outputs import Progress, deliver, guarded
from nconvex.commands.results import Experiment as Experiment
from nconvex.commands.results import Files, Found, document, printout
from nconvex.definitions import (
    Insertion,
    Interrupted,
    Move,
    NconvexError,
    Training,
    TrainingStatus,
    beside,
    child,
    require_integer,
    require_positive,
)
from nconvex.kernels import jit
from nconvex.pair import run_pair
from nconvex.samplers import connect, sampler_of
from nconvex.samplers.tightening import tighten
from nconvex.training import auto_L0

#: L0 over the higher loss of two given ends: beads at 0.95 L0 need be no better than they are.
MARGIN = 1.1


def run(
    name: str,
    parser: Parser,
    prepare: Callable[[argparse.Namespace, Callable[[str], None]], Experiment],
    argv: Sequence[str] | None,
) -> int:
    """Run one experiment from its command line; returns the exit status.

    Args:
        name: For the figure's default name.
        parser: Of its arguments.
        prepare: Makes the experiment from them; what it takes second is told of downloads.
        argv: The command line, by default the process's.
    """

    def command() -> int:
        args = parse(parser, argv)
        _check(args)
        progress = Progress(args.quiet)
        with Files(name, args) as files:
            experiment = prepare(args, progress.live)
            with jit.announcing(progress.line):
                return _work(parser.prog, experiment, args, progress, files)

    return guarded(parser.prog, command)


def _check(args: argparse.Namespace) -> None:
    """Refuse bad values before any work; messages name the value and the range."""
    if args.L0 not in (None, AUTO):
        require_positive("L0", args.L0)
    args.sampler = sampler_of(args.sampler, args.alpha, args.depth)
    if args.budget is not None:
        require_integer("budget", args.budget, 1)
    child(args.seed)


def _work(
    prog: str, experiment: Experiment, args: argparse.Namespace, progress: Progress, files: Files
) -> int:
    began = time.perf_counter()
    found = Found()
    try:
        _search(experiment, args, progress, found)
        interrupts.disarm()
    except Interrupted as error:
        found.string, found.interrupted = error.string, True
    except KeyboardInterrupt:
        found.interrupted = True
    progress.close()
    for end, training in enumerate(found.trainings, 1):
        if training.status is TrainingStatus.UNTRAINABLE:
            assert found.L0 is not None
            raise NconvexError(
                f"network {end} could not be trained to L0 = {found.L0!r}: {training.starts} "
                f"starts, lowest test {experiment.measure} {beside(training.loss, found.L0)}; "
                "raise --L0 or --budget, or choose another network"
            )
    result = document(experiment, args, found, time.perf_counter() - began)
    text = json.dumps(result, indent=2, allow_nan=False)
    return deliver(
        prog,
        text if args.json else printout(experiment, found, result),
        lambda: files.save(experiment, found, text),
        [files.report(experiment, found, result, text), files.figure(experiment, found.string)],
        None if args.json else files.written,
    )


def _search(
    experiment: Experiment, args: argparse.Namespace, progress: Progress, found: Found
) -> None:
    """Train, connect and tighten; whatever interrupts this, `found` is what was found."""
    problem, measure, number = experiment.problem, experiment.measure, itertools.count(1)
    L0 = found.L0 = _threshold(experiment, args, progress, found)

    def on_training(training: Training) -> None:
        found.trainings.append(training)
        end = len(found.trainings)
        if training.status is TrainingStatus.TRAINED:
            progress.line(f"network {end} {_trained(training, L0, measure)}")
        progress.live("searching for a path" if end == 2 else "training network 2 of 2")

    def on_insertion(insertion: Insertion) -> None:
        where = f"depth {insertion.depth}: gamma(t* = {insertion.t_star:.3f})"
        if insertion.move is Move.REVIVE:
            where = f"network revived: {measure}"
        progress.live(
            f"recursion {next(number)}, {where} = {insertion.gamma_before:.4g}, descended to "
            f"{insertion.loss_after:.4g} in {insertion.steps} steps"
        )

    if experiment.ends is None:
        progress.live("training network 1 of 2")
        found.string = run_pair(
            problem,
            L0=L0,
            sampler=args.sampler,
            seed=args.seed,
            on_training=on_training,
            on_insertion=on_insertion,
        ).string
    else:
        for theta in experiment.ends:
            training = Training(theta, problem.loss(theta), 0, 0, TrainingStatus.TRAINED)
            found.trainings.append(training)
        progress.live("searching for a path")
        found.string = connect(
            problem,
            *experiment.ends,
            L0=L0,
            sampler=args.sampler,
            seed=child(args.seed, 3),  # as in `run_pair`
            progress=on_insertion,
        )
    if args.tighten and found.string is not None and found.string.connected:
        progress.live("tightening the path")
        tight = tighten(problem, found.string).after
        found.string, found.loose = tight, found.string


def _threshold(
    experiment: Experiment, args: argparse.Namespace, progress: Progress, found: Found
) -> float:
    """The threshold that is given, or the one that is chosen, which `found` then tells."""
    L0 = experiment.L0 if args.L0 is None else args.L0
    if not isinstance(L0, str):
        return float(L0)
    if experiment.ends is not None:
        found.chosen = f"a little above the higher test {experiment.measure} of the two ends"
        return float(f"{MARGIN * max(map(experiment.problem.loss, experiment.ends)):.3g}")
    progress.live("training a network to choose L0")
    L0 = auto_L0(experiment.problem, alpha=args.sampler.alpha, seed=args.seed)
    found.chosen = CHOSEN
    progress.line(f"L0 = {L0!r}, chosen {CHOSEN}")
    return L0


def _trained(training: Training, L0: float, measure: str) -> str:
    reached = f"test {measure} {beside(training.loss, L0)}"
    if training.steps == 0:
        return f"needs no training: its random start has {reached}"
    redrawn = "" if training.starts == 1 else f", start drawn {training.starts} times"
    return f"trained to {reached} in {training.steps} steps{redrawn}"
