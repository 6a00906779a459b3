"""The command line of surveys: `nconvex survey`, or `python -m nconvex.survey`.

    python -m nconvex.survey run --preset quadratic --store quadratic.sqlite

trains and connects them, and keeps each finished pair in a file, from which `resume` continues.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nconvex.commands import outputs
from nconvex.commands.arguments import OPTIONS, Parser, make_parser, option, switch
from nconvex.definitions import NconvexError, RMSProp, child
from nconvex.files import STDOUT, write_whole
from nconvex.kernels import jit
from nconvex.pairs import presets, published, running
from nconvex.pairs.records import OUTCOMES, Survey, counted
from nconvex.pairs.setting import ACTIVATIONS, TASKS, Setting, grid
from nconvex.pairs.workers import Processes, workers_or_all

#: Seconds between two updates of the line of progress.
REFRESH = 0.5
REFRESH_WITHOUT_TERMINAL = 10.0

FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}


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
    line = Line(progress)
    plan = {"pairs": pairs, "seed": args.seed, "store": args.store}
    work = partial(running.run, settings, **plan, keep_strings=args.keep_strings, progress=line)
    try:
        return _finish(work, args, prog)
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
    return _finish(partial(running.resume, args.store, progress=Line(progress)), args, prog)


def _finish(work: Callable[..., Survey], args: argparse.Namespace, prog: str) -> int:
    """Finish a survey, print its table and draw its figure."""
    if args.out is not None:
        outputs.require_output("--out", args.out, _files(args.store))
    with ExitStack() as stack:
        result = work(workers=args.workers, executor=_executor(args, stack))
    figure = None if args.out is None else lambda: _draw(result, args.out)
    return outputs.deliver(prog, _tables(result), pictures=[figure])


def _status(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    result = running.load(args.store)
    total = result.pairs * len(result.settings)
    finished = f"{args.store}: {len(result.records)} of {total} pairs finished"
    return outputs.deliver(prog, f"{finished}\n{_tables(result)}")


def _export(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    result = running.load(args.store)
    writers = {
        "csv": result.to_csv,
        "aggregates": result.aggregates_to_csv,
        "markdown": lambda path: write_whole(
            path, lambda file: file.write(f"{_tables(result)}\n".encode())
        ),
    }
    asked = {name: path for name in writers if (path := getattr(args, name)) is not None}
    taken = _files(args.store)
    for name, path in asked.items():
        outputs.require_output(f"--{name}", path, taken)
        taken.append(path)
    if not asked:
        raise NconvexError("name what to write: --csv FILE, --aggregates FILE or --markdown FILE")

    def save() -> None:
        for name, path in asked.items():
            writers[name](path)

    return outputs.deliver(prog, None, save)


def _plot(args: argparse.Namespace, progress: outputs.Progress, prog: str) -> int:
    result = running.load(args.store)
    outputs.require_output("--out", args.out, _files(args.store))
    return outputs.deliver(prog, None, pictures=[lambda: _draw(result, args.out)])


def _files(store: Path | None) -> list[Path]:
    """Return a store's file and those that SQLite keeps beside it."""
    ends = ("", "-journal", "-wal", "-shm")
    return [] if store is None else [Path(f"{store}{end}") for end in ends]


def _tables(result: Survey) -> str:
    comparison = published.comparison(result)
    return result.table() + (
        f"\n\nbeside the published figure:\n\n{comparison}" if comparison else ""
    )


def _draw(result: Survey, out: Path) -> None:
    def render() -> bytes:
        from nconvex import plots  # matplotlib takes longer to import than many a survey to run

        return outputs.png(plots.survey(result, published.published(result.settings)))

    outputs.draw(out, render)


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

    run = command("run", "start a survey, or continue it", _run)
    _add_grid(run)
    about = "keep each finished pair in this SQLite file, from which `resume` continues"
    _add(run, "store", "nowhere", "quadratic.sqlite", about, type=_store, metavar="FILE")
    switch(run, "keep-strings", "keep every path's beads in the store, too")
    _add_workers(run)
    _add_workers(command("resume", "continue a survey", _resume))
    command("status", "print how far a survey is, and its table", _status)
    export = command("export", "write records or aggregates", _export)
    _add(export, "csv", "nowhere", "records.csv", "write one line a pair", **FILE)
    _add(export, "aggregates", "nowhere", "means.csv", "write CSV, one line a setting", **FILE)
    _add(export, "markdown", "nowhere", "table.md", "write the table that is printed", **FILE)
    plot = command("plot", "draw the figure", _plot)
    option(plot, "out", Path("survey.png"), "alpha.png", help="the PNG to write", **FILE)
    return parser


def _add(
    parser: argparse.ArgumentParser, name: str, shown: str, example: object, about: str,
    **settings: Any,
) -> None:  # fmt: skip
    """Add an option that is None by default; `shown` says what that means."""
    option(parser, name, shown, example, default=None, help=about, **settings)


def _add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is surveyed."""
    ready = "; ".join(f"{name}, {preset.about}" for name, preset in presets.PRESETS.items())
    about = f"a survey that is ready to run, instead of the options below: {ready}"
    _add(parser, "preset", "none", "alpha", about, choices=tuple(presets.PRESETS))
    shown = "the preset's, or 20"
    _add(parser, "pairs", shown, 100, "pairs of each setting", type=int, metavar="N")
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


def _add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the options of the workers and of the output."""
    _add(parser, "workers", "all cores", 2, "threads to work with", type=int, metavar="N")
    about = (
        "let the workers be processes: a second to start, and faster than threads where a pair "
        "takes milliseconds"
    )
    switch(parser, "processes", about)
    about = "work on the Dask cluster of this scheduler instead; needs nconvex[dask]"
    _add(parser, "dask", "none", "tcp://127.0.0.1:8786", about, metavar="ADDRESS")
    _add(parser, "out", "none", "alpha.png", "draw a figure", **FILE)
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
            layers = "; the layers of one network are joined by dashes, e.g. --hidden 4-4"
            shown = "-".join(map(str, twice[0])) if name == "hidden" else twice[0]
            raise NconvexError(
                f"--{name} names {shown} twice; name it once{layers if name == 'hidden' else ''}"
            )
    polynomials = [task for task in given.get("task", ()) if task != "mnist"]
    if polynomials and polynomials != given["task"]:
        raise NconvexError(
            "--task mnist has losses, layers and thresholds of its own; survey it apart from "
            + " and ".join(polynomials)
        )
    if args.preset is not None:
        if given or args.budget is not None:
            raise NconvexError("--preset says what is surveyed; drop the other options of the grid")
        preset = presets.PRESETS[args.preset]
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


class Line:
    """A line of progress: pairs finished, outcomes so far, time left."""

    def __init__(self, progress: outputs.Progress):
        self._progress = progress
        self._began = time.monotonic()
        self._shown = -np.inf
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._every = REFRESH if terminal else REFRESH_WITHOUT_TERMINAL
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self.records: list[np.ndarray] = []

    def __call__(self, done: int, total: int, record: np.ndarray) -> None:
        """Count a finished pair; see `running.run`."""
        self.records.append(record)
        self._counts[str(record["outcome"])] += 1
        now = time.monotonic()
        if now - self._shown < self._every and done < total:
            return
        self._shown = now
        here = sum(self._counts.values())
        left = timedelta(seconds=round((now - self._began) / here * (total - done)))
        self._progress.live(f"{done} of {total} pairs, {left} left: {counted(self._counts)}")
