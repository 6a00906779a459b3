"""What the commands share: arguments, progress, the printout, and the files.

`outputs` lists their exit statuses.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numba
import numpy as np

from nconvex.commands import interrupts
from nconvex.commands.outputs import (
    BAD_INPUT,
    Progress,
    complain,
    deliver,
    draw,
    guarded,
    one_line,
    require_output,
    say,
)
from nconvex.definitions import (
    VERSION,
    ConnectionStatus,
    Insertion,
    Interrupted,
    Move,
    NconvexError,
    Training,
    TrainingStatus,
    beside,
    child,
    require_alpha,
    require_integer,
    require_positive,
)
from nconvex.dss import MAX_DEPTH
from nconvex.files import write_arrays, write_whole
from nconvex.kernels import jit
from nconvex.network.base import NetworkLandscape
from nconvex.pair import run_pair
from nconvex.samplers import SAMPLERS
from nconvex.samplers.tightening import tighten
from nconvex.string import String


@dataclass(frozen=True)
class Experiment:
    """What a command hands over to `main`.

    Attributes:
        problem: The loss surface.
        title: One line that names it.
        settings: What it was made from, for the result.
        draw: Draws with `plots` what the models on a string do, into a part of the figure.
        L0: The threshold where none is given.
        measure: What the threshold limits, in a word.
        data: One line that names the data, where there is a choice.
    """

    problem: NetworkLandscape
    title: str
    settings: dict[str, Any]
    draw: Callable[[Any, String, Any], None]
    L0: float
    measure: str = "loss"
    data: str = ""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        complain(f"{self.prog}: error: {message} (--help explains every option)")
        raise SystemExit(BAD_INPUT)

    def _print_message(self, message: str, file: object = None) -> None:
        say(message.rstrip())  # help and version, to whatever stdout is


def path(text: str) -> Path:
    """Convert an argument that names a file or a folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; name a file or a folder")
    return Path(text)


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
        type=path,
        metavar="DIR",
        help="write result.json, string.npz and figure.png there, also after Ctrl-C (default: "
        f"only the figure, as {name}.png in the current folder; e.g. --out run7)",
    )
    output.add_argument(
        "--force", action="store_true", help="replace the results that the folder holds already"
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


def network_arguments(
    parser: argparse.ArgumentParser, hidden: Sequence[int], about: str
) -> argparse._ArgumentGroup:
    """Add --hidden, in a group for what else a network is made from."""
    group = parser.add_argument_group("the network and its task")
    group.add_argument(
        "--hidden",
        type=int,
        nargs="+",
        default=list(hidden),
        metavar="N",
        help=f"units of each hidden layer ({about})",
    )
    return group


def _default(name: str) -> str:
    """The samplers' defaults, told apart where they differ."""
    values = {sampler: getattr(settings, name) for sampler, settings in SAMPLERS.items()}
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

    def command() -> int:
        args = arguments.parse_args(argv)
        _check(args)
        progress = Progress(args.quiet)
        with Files(name, args) as files:
            experiment = prepare(args, progress.live)
            args.L0 = experiment.L0 if args.L0 is None else args.L0
            with jit.announcing(progress.line):
                return _run(arguments.prog, experiment, args, progress, files)

    return guarded(arguments.prog, command)


@dataclass
class Found:
    """What a run has found so far.

    Attributes:
        trainings: Of the ends.
        string: The path.
        loose: It before it was tightened.
        interrupted: Whether the work was broken off.
    """

    trainings: list[Training] = field(default_factory=list)
    string: String | None = None
    loose: String | None = None
    interrupted: bool = False


def _run(
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
            raise NconvexError(
                f"network {end} could not be trained to L0 = {args.L0!r}: {training.starts} "
                f"starts, lowest test {experiment.measure} {beside(training.loss, args.L0)}; "
                "raise --L0 or --budget, or choose another network"
            )
    result = _result(experiment, args, found, time.perf_counter() - began)
    document = json.dumps(result, indent=2, allow_nan=False)
    return deliver(
        prog,
        document if args.json else _summary(experiment, found, result),
        lambda: files.save(experiment, found, document),
        files.figure(experiment, found.string),
        None if args.json else files.written,
    )


def _search(
    experiment: Experiment, args: argparse.Namespace, progress: Progress, found: Found
) -> None:
    """Train, connect and tighten; whatever interrupts this, `found` is what was found."""

    def on_training(training: Training) -> None:
        found.trainings.append(training)
        if training.status is TrainingStatus.TRAINED:
            progress.line(_describe_training(experiment, len(found.trainings), training, args.L0))
        both = len(found.trainings) == 2
        progress.live("searching for a path" if both else "training network 2 of 2")

    progress.live("training network 1 of 2")
    found.string = run_pair(
        experiment.problem,
        L0=args.L0,
        sampler=args.sampler,
        alpha=args.alpha,
        depth=args.depth,
        seed=args.seed,
        on_training=on_training,
        on_insertion=_shower(progress, experiment.measure),
    ).string
    if args.tighten and found.string is not None and found.string.connected:
        progress.live("tightening the path")
        tight = tighten(experiment.problem, found.string).after
        found.string, found.loose = tight, found.string


def _check(args: argparse.Namespace) -> None:
    """Refuse bad values before any work; messages name the value and the range."""
    if args.L0 is not None:
        require_positive("L0", args.L0)
    if args.alpha is not None:
        require_alpha(args.alpha)
    if args.depth is not None:
        require_integer("depth", args.depth, 0, MAX_DEPTH)
    require_integer("budget", args.budget, 1)
    child(args.seed)


# -- Progress, on stderr --------------------------------------------------------------------------


def _shower(progress: Progress, measure: str) -> Callable[[Insertion], None]:
    """Return what shows each recursion of the search, with a running number."""
    number = itertools.count(1)

    def show(insertion: Insertion) -> None:
        where = f"depth {insertion.depth}: gamma(t* = {insertion.t_star:.3f})"
        if insertion.move is Move.REVIVE:
            where = f"network revived: {measure}"
        progress.live(
            f"recursion {next(number)}, {where} = {insertion.gamma_before:.4g}, descended to "
            f"{insertion.loss_after:.4g} in {insertion.steps} steps"
        )

    return show


def _describe_training(experiment: Experiment, end: int, training: Training, L0: float) -> str:
    reached = f"test {experiment.measure} {beside(training.loss, L0)}"
    if training.steps == 0:
        return f"network {end} needs no training: its random start has {reached}"
    redrawn = "" if training.starts == 1 else f", start drawn {training.starts} times"
    return f"network {end} trained to {reached} in {training.steps} steps{redrawn}"


# -- The result -----------------------------------------------------------------------------------


def _result(
    experiment: Experiment, args: argparse.Namespace, found: Found, seconds: float
) -> dict[str, Any]:
    """The JSON document; null stands for what is not known or not finite."""
    string, loose, trainings = found.string, found.loose, found.trainings
    model = experiment.problem.model
    connected = string is not None and string.connected
    status = ConnectionStatus.INTERRUPTED
    if string is not None and (connected or not found.interrupted):
        status = string.status
    losses: list[float | None] = [_finite(training.loss) for training in trainings]
    return {
        "status": status.name.lower(),
        "message": status.value.replace("loss", experiment.measure),
        "connected": connected,
        "interrupted": found.interrupted,
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
            "sizes": list(model.sizes),
            "activation": model.activation,
            "output_activation": model.output_activation,
            "biases": model.biases,
            "initialisation": model.initialisation,
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
    found: Found,
    result: dict[str, Any],
) -> str:
    lines = [experiment.title]
    measure, string, L0 = experiment.measure, found.string, result["L0"]
    if experiment.data:
        lines.append(f"  data            {one_line(experiment.data)}")
    if found.trainings:
        losses = " and ".join(beside(training.loss, L0) for training in found.trainings)
        lines.append(f"  networks        test {measure} {losses} (L0 = {L0!r})")
    if found.trainings and not any(training.steps for training in found.trainings):
        lines.append(
            "  note            random starts lie below L0 already, so that this shows little; "
            "lower --L0"
        )
    if string is not None:
        ratio = string.line_max_error / string.L0
        sign = "<=" if string.connected else ">"
        beads = f"{string.n_beads} bead" + ("" if string.n_beads == 1 else "s")
        lines += [
            f"  straight line   highest {measure} {beside(string.line_max_error, L0)}, "
            f"{ratio:.3g} times L0",
            f"  string          highest {measure} {beside(string.max_error, L0)} {sign} L0, "
            f"{beads}, normalized length {string.normalized_length:.4g}",
            f"  certificate     {_certificate(string, measure)}",
        ]
    if (loose := result["before_tightening"]) is not None:
        lines.insert(
            -1,
            f"  tightened from  {loose['n_beads']} beads, normalized length "
            f"{loose['normalized_length']:.4g}",
        )
    lines.append(f"  verdict         {result['message']}")
    if found.interrupted and result["connected"]:
        lines.append("  interrupted     while the path was tightened; it is left as it was found")
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
        args: Its `out`, `force`, `no_figure` and `json` count.

    Raises:
        NconvexError: The folder cannot be made or written to, or holds a result already.
    """

    NAMES = ("result.json", "string.npz", "models.npz", "figure.png")

    def __init__(self, name: str, args: argparse.Namespace):
        self._folder: Path | None = args.out
        self._force: bool = args.force
        self._figure: Path | None = None
        if not args.no_figure and self._folder is not None:
            self._figure = self._folder / "figure.png"
        elif not args.no_figure and not args.json:
            self._figure = Path(f"{name}.png")
        self._made: list[Path] = []
        self._written: list[Path] = []

    def __enter__(self) -> Files:
        try:
            if self._folder is not None:
                self._make(self._folder)
            elif self._figure is not None:
                require_output("the figure (--no-figure leaves it out)", self._figure)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folders that were made for nothing."""
        for folder in reversed(self._made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()

    def save(self, experiment: Experiment, found: Found, document: str) -> None:
        """Write what there is, but for the figure."""
        if self._folder is None:
            return
        for name in self.NAMES:  # of another run, they would not belong to this one's
            (self._folder / name).unlink(missing_ok=True)
        result = (document + "\n").encode()
        write_whole(self._folder / "result.json", lambda file: file.write(result))
        self._written.append(self._folder / "result.json")
        if found.string is not None:
            found.string.save(self._folder / "string.npz", experiment.problem)
            self._written.append(self._folder / "string.npz")
        elif found.trainings:
            thetas = np.array([training.theta for training in found.trainings])
            description = experiment.problem.describe()
            write_arrays(self._folder / "models.npz", {"thetas": thetas, **description})
            self._written.append(self._folder / "models.npz")

    def figure(self, experiment: Experiment, string: String | None) -> Callable[[], None] | None:
        """Return what draws and writes the figure, if one is wanted and there is a string."""
        path = self._figure
        if path is None or string is None:
            return None

        def make() -> Any:
            from nconvex import plots  # matplotlib takes longer to import than the search to run

            return plots.summary(
                experiment.problem,
                string,
                lambda part: experiment.draw(plots, string, part),
                experiment.measure,
            )

        def write() -> None:
            draw(path, make, 150)
            self._written.append(path)

        return write

    def written(self) -> str:
        """Name the files that were written."""
        paths = ", ".join(one_line(path) for path in self._written)
        return f"  written to      {paths}" if paths else ""

    def _make(self, folder: Path) -> None:
        try:
            for path in (*reversed(folder.parents), folder):
                if not os.path.exists(path):
                    path.mkdir()
                    self._made.append(path)
            there = sorted({*os.listdir(folder)} & {*self.NAMES})
        except OSError as error:
            raise NconvexError(
                f"cannot use the folder {folder}: {error.strerror}; choose another with --out"
            ) from error
        if there and not self._force:
            raise NconvexError(
                f"the folder {folder} holds {' and '.join(there)} already; choose another with "
                "--out, or add --force to replace what is there"
            )
        for name in self.NAMES:
            require_output("--out", folder / name)
