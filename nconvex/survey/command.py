"""Many pairs, from the command line; `nc.survey.run(...)` is `pairs.survey`.

    python -m nconvex.survey run --preset quadratic --store quadratic.sqlite

trains and connects them, and keeps each finished pair in a file, from which `resume` goes on.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from nconvex.commands import outputs
from nconvex.commands.arguments import OPTIONS, Parser, make_parser, option, switch
from nconvex.definitions import NconvexError, RMSProp, child
from nconvex.files import STDOUT, write_whole
from nconvex.kernels import jit
from nconvex.survey import presets
from nconvex.survey.pairs import (
    ACTIVATIONS,
    OUTCOMES,
    TASKS,
    Setting,
    Survey,
    grid,
    load,
    resume,
    survey,
)
from nconvex.survey.workers import Processes, workers_or_all

#: Seconds between two updates of the line of progress.
PATIENCE = 0.5
PATIENCE_WITHOUT_TERMINAL = 10.0


def main(argv: Sequence[str] | None = None, prog: str = "python -m nconvex.survey") -> int:
    """Run the command line; returns the exit status."""
    parser = _parser(prog)
    args = argparse.Namespace(store=None, quiet=True)

    def command() -> int:
        parser.parse_args(argv, args)
        progress = outputs.Progress(args.quiet)
        with jit.announcing(progress.line):
            return int(args.command(args, progress, parser.prog))

    def hint() -> str:
        return f"; go on with: {parser.prog} resume {args.store}" if args.store else ""

    return outputs.guarded(parser.prog, command, hint)


# -- Commands -------------------------------------------------------------------------------------


def _run(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    settings, pairs = _settings(args)
    line = _Line(progress)

    def work(executor: Any) -> Survey:
        keep = args.keep_strings
        return survey(settings, pairs, args.seed, args.store, args.workers, executor, keep, line)

    try:
        return _work_and_finish(work, args, prog)
    except (KeyboardInterrupt, NconvexError) as error:
        if args.store or not line.records:
            raise
        # What was finished is nowhere else.
        records = np.sort(np.array(line.records), order=["setting", "pair"])
        outputs.say(_tables(Survey(settings, pairs, child(args.seed), records)))
        if isinstance(error, KeyboardInterrupt):
            raise
        outputs.complain(f"{prog}: error: {error}")
        return outputs.OUTPUT_FAILED


def _resume(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    return _work_and_finish(
        lambda executor: resume(args.store, args.workers, executor, _Line(progress)), args, prog
    )


def _work_and_finish(work: Callable[[Any], Survey], args: argparse.Namespace, prog: str) -> int:
    if args.out is not None:
        outputs.require_output("--out", args.out, _files(args.store))
    with ExitStack() as stack:
        result = work(_executor(args, stack))
    figure = None if args.out is None else lambda: _draw(result, args.out)
    return outputs.deliver(prog, _tables(result), figure=figure)


def _status(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    result = load(args.store)
    total = result.pairs * len(result.settings)
    finished = f"{args.store}: {len(result.records)} of {total} pairs finished"
    return outputs.deliver(prog, f"{finished}\n{_tables(result)}")


def _export(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    result = load(args.store)
    taken = _files(args.store)
    for name in ("csv", "aggregates", "markdown"):
        if (path := getattr(args, name)) is not None:
            outputs.require_output(f"--{name}", path, taken)
            taken.append(path)
    if taken == _files(args.store):
        raise NconvexError("name what to write: --csv FILE, --aggregates FILE or --markdown FILE")

    def save() -> None:
        if args.csv is not None:
            result.to_csv(args.csv)
        if args.aggregates is not None:
            result.aggregates_to_csv(args.aggregates)
        if args.markdown is not None:
            document = (_tables(result) + "\n").encode()
            write_whole(args.markdown, lambda file: file.write(document))

    return outputs.deliver(prog, None, save)


def _plot(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    result = load(args.store)
    outputs.require_output("--out", args.out, _files(args.store))
    return outputs.deliver(prog, None, figure=lambda: _draw(result, args.out))


def _files(store: Path | None) -> list[Path]:
    """Return a store's file and those that SQLite keeps beside it."""
    ends = ("", "-journal", "-wal", "-shm")
    return [] if store is None else [Path(f"{store}{end}") for end in ends]


def _tables(result: Survey) -> str:
    comparison = presets.comparison(result)
    return result.table() + (
        f"\n\nbeside the published figure:\n\n{comparison}" if comparison else ""
    )


def _draw(result: Survey, out: Path) -> None:
    def make() -> Any:
        from nconvex import plots  # matplotlib takes longer to import than many a survey to run

        return plots.survey(result, presets.published(result.settings))

    outputs.draw(out, make, 110)


# -- Arguments ------------------------------------------------------------------------------------


def _parser(prog: str) -> Parser:
    parser = make_parser(
        prog,
        "Statistics over many pairs: trains and connects many pairs of networks under\n"
        "each of several settings, counts every outcome, and keeps each finished pair in one file.",
        "run --preset alpha --store alpha.sqlite --out alpha.png",
        "run --activation tanh --L0 1e-2 1e-3 --pairs 50",
        "resume alpha.sqlite --workers 2",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, about: str, run: Callable[..., int]) -> argparse.ArgumentParser:
        result = commands.add_parser(name, help=about)
        result.set_defaults(command=run)
        if name != "run":
            result.add_argument(
                "store", type=_store, metavar="FILE", help="the store of the survey"
            )
        return result

    run = command("run", "start a survey, or go on with it", _run)
    _what(run)
    run.add_argument(
        "--store",
        type=_store,
        metavar="FILE",
        help="keep each finished pair in this SQLite file, from which `resume` goes on (default: "
        "nowhere; e.g. --store quadratic.sqlite)",
    )
    run.add_argument(
        "--keep-strings", action="store_true", help="keep every path's beads in the store, too"
    )
    _work(run)
    _work(command("resume", "go on with a survey", _resume))
    command("status", "print how far a survey is, and its table", _status)
    export = command("export", "write records or aggregates", _export)
    export.add_argument("--csv", type=Path, metavar="FILE", help="one line a pair")
    export.add_argument("--aggregates", type=Path, metavar="FILE", help="CSV, one line a setting")
    export.add_argument("--markdown", type=Path, metavar="FILE", help="the table that is printed")
    plot = command("plot", "draw the figure", _plot)
    plot.add_argument(
        "--out",
        type=Path,
        default=Path("survey.png"),
        metavar="FILE",
        help="the PNG to write (default survey.png; e.g. --out alpha.png)",
    )
    return parser


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        choices=tuple(presets.PRESETS),
        metavar="NAME",
        help="a survey that is ready to run, instead of the options below: "
        + "; ".join(f"{name}, {preset.about}" for name, preset in presets.PRESETS.items()),
    )
    parser.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help="pairs a setting (default the preset's, or 20; e.g. --pairs 100)",
    )
    option(parser, "seed", 0, 7)
    options = parser.add_argument_group("the grid: several values of an option are all combined")

    def several(name: str, shown: object, example: str, **settings: Any) -> None:
        option(options, name, shown, example, default=None, nargs="+", **settings)

    task = "the polynomial to regress on [0, 1], or mnist"
    several("task", "quadratic", "cubic", choices=TASKS, help=task)
    several("activation", "relu", "tanh sigmoid", choices=ACTIVATIONS)
    loss = f"{OPTIONS['loss']['help']}; for mnist loss or error"
    several("loss", "mse", "mae", metavar="NAME", help=loss)
    several("hidden", "4-4", "4-4 8-8")
    several("L0", "0.001", "1e-2 1e-3")
    several("alpha", 0.8, "0.5 0.8")
    several("depth", 10, "10 14")
    several("sampler", "plain", "plain revive --alpha 0.9 --depth 14")
    option(options, "budget", RMSProp.budget, 50000, default=None)


def _work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads to work with (default all cores; e.g. --workers 2)",
    )
    parser.add_argument(
        "--processes",
        action="store_true",
        help="let the workers be processes: a second to start, and faster than threads where a "
        "pair takes milliseconds",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="work on the Dask cluster of this scheduler instead; needs nconvex[dask] (e.g. --dask "
        "tcp://127.0.0.1:8786)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="draw a figure (e.g. --out alpha.png)"
    )
    switch(parser, "quiet", "no progress on stderr")


def _store(text: str) -> Path:
    if text in ("", STDOUT):
        raise argparse.ArgumentTypeError(f"{text!r} is no file; name one, e.g. survey.sqlite")
    return Path(text)


def _settings(args: argparse.Namespace) -> tuple[tuple[Setting, ...], int]:
    names = ("task", "activation", "loss", "hidden", "L0", "alpha", "depth", "sampler")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    for name, values in given.items():
        if twice := [value for value in values if values.count(value) > 1]:
            shown, layers = twice[0], ""
            if name == "hidden":
                shown = "-".join(map(str, shown))
                layers = "; the layers of one network are joined by dashes, e.g. --hidden 4-4"
            raise NconvexError(f"--{name} names {shown} twice; name it once{layers}")
    polynomials = [task for task in given.get("task", ()) if task != "mnist"]
    if polynomials and polynomials != given["task"]:
        raise NconvexError(
            "--task mnist has losses, layers and thresholds of its own; survey it apart from "
            + " and ".join(polynomials)
        )
    if args.preset is not None:
        if given or args.budget is not None:
            raise NconvexError("--preset says what is surveyed; drop the other options of the grid")
        preset = presets.preset(args.preset)
        return preset.settings, preset.pairs if args.pairs is None else args.pairs
    if args.budget is not None:
        given["rmsprop"] = RMSProp(budget=args.budget)
    if given.get("task") == ["mnist"]:
        given = {"loss": "loss", "hidden": (256,), "L0": 0.4, **given}
    return grid(**given), 20 if args.pairs is None else args.pairs


def _executor(args: argparse.Namespace, stack: ExitStack) -> Any:
    if args.dask is None:
        if not args.processes:
            return None
        quiet = {jit.QUIET: "1"} if args.quiet else {}
        return stack.enter_context(Processes(workers_or_all(args.workers), quiet))
    if args.workers is not None or args.processes:
        raise NconvexError("--dask brings its own workers; drop --workers and --processes")
    try:
        from distributed import Client
    except ImportError:
        raise NconvexError("--dask needs Dask; install nconvex[dask]") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by us
    try:
        return stack.enter_context(Client(args.dask, timeout="10s"))
    except Exception as error:  # of many kinds: of addresses, of protocols, of sockets
        raise NconvexError(
            f"no Dask scheduler answers at --dask {args.dask} ({error!s:.200}); name a running "
            "one, e.g. tcp://127.0.0.1:8786"
        ) from None


# -- Progress -------------------------------------------------------------------------------------


class _Line:
    """Pairs finished, outcomes so far, time left."""

    def __init__(self, progress: outputs.Progress):
        self._progress = progress
        self._began = time.monotonic()
        self._shown = -np.inf
        self._every = PATIENCE if sys.stderr and sys.stderr.isatty() else PATIENCE_WITHOUT_TERMINAL
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self.records: list[np.ndarray] = []

    def __call__(self, done: int, total: int, record: np.ndarray) -> None:
        self.records.append(record)
        self._counts[str(record["outcome"])] += 1
        now = time.monotonic()
        if now - self._shown < self._every and done < total:
            return
        self._shown = now
        here = sum(self._counts.values())
        left = (now - self._began) / here * (total - done)
        outcomes = ", ".join(
            f"{count} {outcome.replace('_', ' ')}"
            for outcome, count in self._counts.items()
            if count
        )
        self._progress.live(f"{done} of {total} pairs, {_duration(left)} left: {outcomes}")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
