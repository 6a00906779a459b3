"""What the commands share: arguments, progress, the printout, the files, the exit status.

Exit status 0: finished, connected or not. 2: bad input, with one line on stderr. 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numba
import numpy as np

from nconvex import jit
from nconvex.definitions import (
    VERSION,
    ConnectionStatus,
    Insertion,
    Interrupted,
    Move,
    NconvexError,
    Training,
    TrainingStatus,
    child,
    require_alpha,
    require_integer,
    require_positive,
)
from nconvex.dss import MAX_DEPTH
from nconvex.experiment import run_pair
from nconvex.files import write_arrays, write_whole
from nconvex.problem import Problem
from nconvex.samplers import SAMPLERS
from nconvex.string import String
from nconvex.tightening import tighten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINISHED, BAD_INPUT, INTERRUPTED = 0, 2, 130


@dataclass(frozen=True)
class Experiment:
    """What a command hands over to `main`.

    Attributes:
        problem: The loss surface.
        title: One line that names it.
        settings: What it was made from, for the result.
        draw: Makes the figure of a string.
        L0: The threshold where none is given.
        measure: What the threshold limits, in a word.
        data: One line that names the data, where there is a choice.
    """

    problem: Problem
    title: str
    settings: dict[str, Any]
    draw: Callable[[String], Figure]
    L0: float
    measure: str = "loss"
    data: str = ""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (--help explains every option)\n")


def parser(
    name: str, description: str, example: str, L0: float | None, L0_default: str, budget: int
) -> Parser:
    """Make a parser with the arguments that all experiments share."""
    result = Parser(
        prog=f"python -m nconvex.{name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    search = result.add_argument_group("the search (Dynamic String Sampling)")
    search.add_argument(
        "--L0",
        type=float,
        default=L0,
        metavar="LOSS",
        help="the threshold: both networks are trained to this test loss, and a path is connected "
        f"only if it never exceeds it (default {L0_default})",
    )
    search.add_argument(
        "--sampler",
        choices=tuple(SAMPLERS),
        default="plain",
        help="plain is the paper's algorithm; revive connects many more pairs at low L0, by "
        "giving networks that are stuck new units (default plain; e.g. --sampler revive)",
    )
    search.add_argument(
        "--alpha",
        type=float,
        help="beads are trained down to alpha L0, 0 < alpha <= 1; below 1 leaves room for the "
        f"path between them (default {_default('alpha')}; e.g. --alpha 0.95)",
    )
    search.add_argument(
        "--depth",
        type=int,
        help="d, how often a failing segment may be split in two (default "
        f"{_default('depth')}; e.g. --depth 12)",
    )
    search.add_argument(
        "--tighten",
        action="store_true",
        help="shorten a connected path: drop beads that are not needed and pull the others towards "
        "their neighbours, as far as the loss provably stays at most L0",
    )
    search.add_argument(
        "--budget",
        type=int,
        default=budget,
        metavar="STEPS",
        help="RMSProp steps before a start or a bead counts as untrainable "
        f"(default {budget}; e.g. --budget 50000)",
    )
    search.add_argument(
        "--seed",
        type=int,
        default=0,
        help="names all randomness: the same seed gives the same result bit for bit "
        "(default 0; e.g. --seed 7)",
    )
    output = result.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write result.json, string.npz and figure.png there, also after Ctrl-C (default: "
        f"only the figure, as {name}.png in the current folder; e.g. --out run7)",
    )
    output.add_argument("--no-figure", action="store_true", help="write no figure")
    output.add_argument(
        "--json",
        action="store_true",
        help="print the result as one JSON document on stdout, and write no files unless --out "
        f"is given (e.g. python -m nconvex.{name} --json | python -m json.tool)",
    )
    output.add_argument("--quiet", action="store_true", help="no progress on stderr")
    output.add_argument("--version", action="version", version=f"nconvex {VERSION}")
    return result


def _default(name: str) -> str:
    """The samplers' defaults, told apart where they differ."""
    values = {
        sampler: inspect.signature(search).parameters[name].default
        for sampler, search in SAMPLERS.items()
    }
    plain = values["plain"]
    others = [f"{value} for {sampler}" for sampler, value in values.items() if value != plain]
    return ", ".join([f"{plain}", *others])


def main(
    name: str,
    arguments: argparse.ArgumentParser,
    prepare: Callable[[argparse.Namespace, Callable[[str], None]], Experiment],
    argv: Sequence[str] | None,
) -> int:
    """Run one experiment from its command line; returns the exit status."""
    args = arguments.parse_args(argv)
    progress = Progress(args.quiet)
    files = None
    try:
        _check(args)
        experiment = prepare(args, progress.live)
        args.L0 = experiment.L0 if args.L0 is None else args.L0
        files = Files(name, args.out, figure=not args.no_figure, only_if_asked=args.json)
        with jit.announcing(progress.line):
            return _run(experiment, args, progress, files)
    except NconvexError as error:
        return _refuse(arguments, progress, files, str(error))
    except MemoryError:
        return _refuse(
            arguments, progress, files, "not enough memory; use fewer samples or smaller layers"
        )
    except KeyboardInterrupt:
        progress.close()
        print("interrupted", file=sys.stderr)
        if files is not None:
            files.tidy()
        return INTERRUPTED


def _run(experiment: Experiment, args: argparse.Namespace, progress: Progress, files: Files) -> int:
    began = time.perf_counter()
    trainings: list[Training] = []
    string = None
    interrupted = False

    def on_training(training: Training) -> None:
        trainings.append(training)
        if training.status is TrainingStatus.TRAINED:
            progress.line(_describe_training(len(trainings), training, experiment.measure))
        progress.live("searching for a path" if len(trainings) == 2 else "training network 2 of 2")

    progress.live("training network 1 of 2")
    try:
        pair = run_pair(
            experiment.problem,
            args.L0,
            args.alpha,
            args.depth,
            args.seed,
            on_training,
            InsertionCounter(progress),
            args.sampler,
        )
        string = pair.string
    except Interrupted as error:
        interrupted = True
        string = error.string
    except KeyboardInterrupt:
        interrupted = True
    progress.close()
    for end, training in enumerate(trainings, 1):
        if training.status is TrainingStatus.UNTRAINABLE:
            raise NconvexError(
                f"network {end} could not be trained to L0 = {args.L0:g}: {training.starts} "
                f"starts, lowest test {experiment.measure} {training.loss:.4g}; raise --L0 or "
                "--budget, or "
                "choose another network"
            )
    loose = None
    if args.tighten and string is not None and string.connected:
        progress.live("tightening the path")
        loose, string = string, tighten(experiment.problem, string).after
        progress.close()
    seconds = time.perf_counter() - began
    result = _result(experiment, args, trainings, string, loose, interrupted, seconds)
    files.save(experiment, trainings, string, result)
    if args.json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        print(_summary(experiment, trainings, string, result))
        if written := files.written():
            print(f"  written to      {written}")
    return INTERRUPTED if interrupted else FINISHED


def _check(args: argparse.Namespace) -> None:
    """Refuse bad values before any work; messages name the value and the range."""
    if args.L0 is not None:
        require_positive("L0", args.L0)
    if args.alpha is not None:
        require_alpha(args.alpha)
    if args.depth is not None:
        require_integer("depth", args.depth, 0)
    if args.depth is not None and args.depth > MAX_DEPTH:
        raise NconvexError(f"depth must be at most {MAX_DEPTH}, not {args.depth}")
    require_integer("budget", args.budget, 1)
    child(args.seed)


def _refuse(
    arguments: argparse.ArgumentParser, progress: Progress, files: Files | None, message: str
) -> int:
    progress.close()
    if files is not None:
        files.tidy()
    print(f"{arguments.prog}: error: {message}", file=sys.stderr)
    return BAD_INPUT


# -- Progress, on stderr --------------------------------------------------------------------------


class Progress:
    """One live line on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool):
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._live = False

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            self.close()
            print(text, file=sys.stderr, flush=True)

    def live(self, text: str) -> None:
        """Show what is going on, in place of what was shown before."""
        if self._quiet:
            return
        if not self._terminal:
            print(text, file=sys.stderr, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{text[:width]}", end="", file=sys.stderr, flush=True)
        self._live = True

    def close(self) -> None:
        """Clear the live line."""
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._live = False


class InsertionCounter:
    """Shows each recursion of the search, with a running number."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._recursions = 0

    def __call__(self, insertion: Insertion) -> None:
        """Show one recursion."""
        self._recursions += 1
        where = f"depth {insertion.depth}: gamma(t* = {insertion.t_star:.3f})"
        if insertion.move is Move.REVIVE:
            where = "network revived: loss"
        self._progress.live(
            f"recursion {self._recursions}, {where} = {insertion.gamma_before:.4g}, descended to "
            f"{insertion.loss_after:.4g} in {insertion.steps} steps"
        )


def _describe_training(end: int, training: Training, measure: str) -> str:
    redrawn = "" if training.starts == 1 else f", start drawn {training.starts} times"
    return (
        f"network {end} trained to test {measure} {training.loss:.4g} in {training.steps} "
        f"steps{redrawn}"
    )


# -- The result -----------------------------------------------------------------------------------


def _result(
    experiment: Experiment,
    args: argparse.Namespace,
    trainings: Sequence[Training],
    string: String | None,
    loose: String | None,
    interrupted: bool,
    seconds: float,
) -> dict[str, Any]:
    """The JSON document; null stands for what is not known or not finite."""
    status = ConnectionStatus.INTERRUPTED if string is None or interrupted else string.status
    losses: list[float | None] = [_finite(training.loss) for training in trainings]
    return {
        "status": status.name.lower(),
        "message": status.value,
        "connected": string is not None and string.connected,
        "L0": args.L0,
        "sampler": args.sampler,
        "alpha": args.alpha if string is None else string.alpha,
        "depth": args.depth if string is None else string.depth,
        "max_error": string and _finite(string.max_error),
        "max_error_bounds": string and [_finite(bound) for bound in string.max_error_bounds],
        "certified": string is not None and string.certified,
        "n_beads": string and string.n_beads,
        "path_length": string and _finite(string.path_length),
        "normalized_length": string and _finite(string.normalized_length),
        "before_tightening": loose
        and {
            "n_beads": loose.n_beads,
            "normalized_length": _finite(loose.normalized_length),
        },
        "endpoint_losses": losses + [None] * (2 - len(losses)),
        "line_max_error": string and _finite(string.line_max_error),
        "segments_above_L0": string and len(string.failures),
        "gradient_evaluations": string and string.gradient_evaluations,
        "endpoint_gradient_evaluations": sum(training.steps for training in trainings),
        "endpoint_starts": [training.starts for training in trainings],
        "seed": args.seed,
        "seconds": round(seconds, 3),
        "version": VERSION,
        "settings": {
            **experiment.settings,
            "rmsprop": asdict(experiment.problem.rmsprop),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "processor": platform.machine(),
        },
    }


def _certificate(string: String, measure: str) -> str:
    if not string.certified:
        return "none: the path was only sampled"
    lower, upper = string.max_error_bounds
    return f"proven: the highest {measure} lies between {lower:.7g} and {upper:.7g}"


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _summary(
    experiment: Experiment,
    trainings: Sequence[Training],
    string: String | None,
    result: dict[str, Any],
) -> str:
    lines = [experiment.title]
    measure = experiment.measure
    if experiment.data:
        lines.append(f"  data            {experiment.data}")
    if trainings:
        losses = " and ".join(f"{training.loss:.4g}" for training in trainings)
        lines.append(f"  networks        test {measure} {losses} (L0 = {result['L0']:.4g})")
    if string is not None:
        ratio = string.line_max_error / string.L0
        sign = "<=" if string.connected else ">"
        beads = f"{string.n_beads} bead" + ("" if string.n_beads == 1 else "s")
        lines += [
            f"  straight line   highest {measure} {string.line_max_error:.4g}, {ratio:.3g} "
            "times L0",
            f"  string          highest {measure} {string.max_error:.4g} {sign} L0, {beads}, "
            f"normalized length {string.normalized_length:.4g}",
            f"  certificate     {_certificate(string, measure)}",
        ]
    if (loose := result["before_tightening"]) is not None:
        lines.insert(
            -1,
            f"  tightened from  {loose['n_beads']} beads, normalized length "
            f"{loose['normalized_length']:.4g}",
        )
    lines.append(f"  verdict         {result['message']}")
    if string is not None and string.failures:
        lines.append(
            f"  where it fails  {len(string.failures)} of {len(string.segment_upper)} segments: "
            + ", ".join(
                f"{count} {status.name.lower().replace('_', ' ')}"
                for status in ConnectionStatus
                if (count := string.segment_status.count(status))
                and status is not ConnectionStatus.CONNECTED
            )
        )
    lines.append(
        f"  work            {result['endpoint_gradient_evaluations']} gradient evaluations to "
        f"train, {result['gradient_evaluations'] or 0} to connect; {result['seconds']:.2f} s"
    )
    return "\n".join(lines)


# -- Files ----------------------------------------------------------------------------------------


class Files:
    """Where a run writes to: tried before any work, so that a long run is not lost at its end.

    Args:
        name: The experiment's, for the figure's default name.
        folder: --out, or None.
        figure: Whether a figure is wanted.
        only_if_asked: Write nothing without a folder.

    Raises:
        NconvexError: The folder cannot be made or written to.
    """

    def __init__(self, name: str, folder: Path | None, figure: bool, only_if_asked: bool):
        self._folder = folder
        self._figure: Path | None = None
        if figure and folder is not None:
            self._figure = folder / "figure.png"
        elif figure and not only_if_asked:
            self._figure = Path(f"{name}.png")
        self._made: list[Path] = []
        self._written: list[Path] = []
        if folder is not None:
            self._make(folder)
        if self._figure is not None:
            _try_to_write(self._figure.parent)

    def save(
        self,
        experiment: Experiment,
        trainings: Sequence[Training],
        string: String | None,
        result: dict[str, Any],
    ) -> None:
        """Write what there is; the figure last, since only it can be drawn again from the rest."""
        description = experiment.problem.describe()
        if self._folder is not None:
            if string is not None:
                string.save(self._file("string.npz"), description)
            elif trainings:
                thetas = np.array([training.theta for training in trainings])
                write_arrays(self._file("models.npz"), {"thetas": thetas, **description})
            document = (json.dumps(result, indent=2, allow_nan=False) + "\n").encode()

            def write(file: BinaryIO) -> None:
                file.write(document)

            write_whole(self._file("result.json"), write)
        if self._figure is not None and string is not None:
            figure = experiment.draw(string)
            write_whole(self._figure, lambda file: figure.savefig(file, format="png", dpi=150))
            self._written.append(self._figure)

    def written(self) -> str:
        """Name the files that were written."""
        return ", ".join(str(path) for path in self._written)

    def tidy(self) -> None:
        """Remove the folders that were made for nothing."""
        for folder in reversed(self._made):
            if not any(folder.iterdir()):
                folder.rmdir()

    def _file(self, name: str) -> Path:
        assert self._folder is not None
        self._written.append(self._folder / name)
        return self._written[-1]

    def _make(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            for path in reversed(missing):
                path.mkdir()
                self._made.append(path)
            _try_to_write(folder)
        except (OSError, NconvexError) as error:
            self.tidy()
            if isinstance(error, NconvexError):
                raise
            raise NconvexError(f"cannot make the folder {folder}: {error.strerror}") from error


def _try_to_write(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NconvexError(
            f"cannot write to the folder {folder.resolve()}: {error.strerror}; choose another "
            "with --out DIR, or use --no-figure without --out"
        ) from error
