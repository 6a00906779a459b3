"""Arguments of the commands: a parser with errors of one line, and the options they share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from nconvex.commands.outputs import BAD_INPUT, complain, say
from nconvex.definitions import VERSION
from nconvex.kernels.parts import LOSSES
from nconvex.samplers import SAMPLERS

#: Stands for a threshold that is chosen; and what that is, for the help.
AUTO = "auto"
CHOSEN = "a little above what three trained networks reach"


def path(text: str) -> Path:
    """Convert the name of a file or a folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; name a file or a folder")
    return Path(text)


def layers(text: str) -> tuple[int, ...]:
    """Convert the units of a network's hidden layers, e.g. "16-4" to (16, 4)."""
    try:
        return tuple(int(units) for units in text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be units joined by dashes; give --hidden 4-4 for two layers of four"
        ) from None


def threshold(text: str) -> float | str:
    """Convert L0: a number, or "auto"."""
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number nor auto; give e.g. --L0 0.1"
        ) from None


#: What argparse is told of the options that several commands have.
OPTIONS: dict[str, dict[str, Any]] = {
    "hidden": {
        "type": layers, "metavar": "N-N", "help": "units of the hidden layers, joined by dashes",
    },
    "activation": {"help": "of the hidden units"},
    "task": {"help": "the polynomial to regress on [0, 1]"},
    "loss": {
        "help": "of one residual r, averaged over the samples: mse r^2, mae |r|, huber quadratic "
        "to |r| = 0.1 and linear beyond, log-cosh log cosh r",
    },
    "L0": {
        "type": float, "metavar": "LOSS", "help": "the threshold: both networks are trained to "
        "this test loss, and a path is connected only if it never exceeds it",
    },
    "sampler": {
        "choices": tuple(SAMPLERS), "help": "the search; plain is the paper's algorithm, revive "
        "connects many more pairs at low L0, by giving networks that are stuck new units",
    },
    "alpha": {
        "type": float, "help": "beads are trained down to alpha L0, 0 < alpha <= 1; below 1 leaves "
        "room for the path between them",
    },
    "depth": {"type": int, "help": "d, how often a failing segment may be split in two"},
    "budget": {
        "type": int, "metavar": "STEPS", "help": "RMSProp steps before a start or a bead counts as "
        "untrainable",
    },
    "seed": {
        "type": int, "help": "names all randomness: the same seed gives the same result bit for "
        "bit",
    },
}  # fmt: skip


def option(
    group: argparse._ActionsContainer, name: str, shown: object, example: object, **settings: Any
) -> None:
    """Add an option, with the settings that it has in all commands and those of this one.

    Args:
        group: Of a parser, or the parser.
        name: Without its dashes.
        shown: Its default; or what the help says of the default that `settings` hold.
        example: A value, for the help.
        settings: What else argparse is told.
    """
    settings = {"default": shown, **OPTIONS.get(name, {}), **settings}
    if choices := settings.get("choices"):
        settings["metavar"] = "NAME"
        if not all(choice in settings["help"] for choice in choices):
            settings["help"] += f"; one of {', '.join(choices)}"
    if isinstance(shown, tuple):
        shown = "-".join(map(str, shown))
    settings["help"] += f" (default {shown}; e.g. --{name} {example})"
    group.add_argument(f"--{name}", **settings)


def switch(group: argparse._ActionsContainer, name: str, about: str) -> None:
    """Add an option without a value."""
    group.add_argument(f"--{name}", action="store_true", help=about)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        complain(f"{self.prog}: error: {message} (--help explains every option)")
        raise SystemExit(BAD_INPUT)

    def _print_message(self, message: str, file: object = None) -> None:
        say(message.rstrip())  # help and version, to whatever stdout is


def make_parser(prog: str, description: str, *examples: str) -> Parser:
    """Make a parser without options; each example is what follows the command's name."""
    lines = [f"\n  {prog} {example}" for example in examples]
    result = Parser(
        prog=prog,
        description=description,
        epilog=f"example{'s' * (len(lines) > 1)}:{''.join(lines)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--version", action="version", version=f"nconvex {VERSION}")
    return result


def add_loss(group: argparse._ActionsContainer, shown: str) -> None:
    """Add the loss where the task may be of either kind; `shown` tells its default."""
    about = (
        f"{OPTIONS['loss']['help']}; of classes, cross-entropy, or error, the share of wrong labels"
    )
    choices = (*LOSSES, "cross-entropy", "error")
    option(group, "loss", shown, "mae", default=None, choices=choices, help=about)


def add_search(
    parser: Parser, L0: str, lower: float, budget: int | str, alpha: float | None = None
) -> None:
    """Add the options of a search for one path.

    Args:
        parser: Gets them.
        L0: Tells the threshold's default.
        lower: An example of it.
        budget: Its default, or what the help says of it.
        alpha: Its default, if not the sampler's own.
    """
    search = parser.add_argument_group("the search (Dynamic String Sampling)")
    option(search, "L0", L0, lower, default=None, type=threshold)
    option(search, "sampler", "plain", "revive")
    option(search, "alpha", alpha or _default("alpha"), 0.9, default=alpha)
    option(search, "depth", _default("depth"), 12, default=None)
    about = (
        "shorten a connected path: drop beads that are not needed and pull the others towards "
        "their neighbours, as far as the loss provably stays at most L0"
    )
    switch(search, "tighten", about)
    option(search, "budget", budget, 50000, default=budget if isinstance(budget, int) else None)
    option(search, "seed", 0, 7)


def add_outputs(parser: Parser, name: str) -> None:
    """Add the options of what a search for one path prints and writes."""
    output = parser.add_argument_group("output")
    about = "write result.json, string.npz, figure.png and report.html there, also after Ctrl-C"
    only = f"only the figure, as {name}.png in the current folder"
    option(output, "out", only, "run7", type=path, metavar="DIR", default=None, help=about)
    switch(output, "force", "replace the results that the folder holds already")
    switch(output, "no-figure", "write no figure")
    switch(output, "animate", "also write growth.gif, which shows how the string grew")
    about = (
        "print the result as one JSON document on stdout, and write no files unless --out is "
        f"given (e.g. {parser.prog} --json | python -m json.tool)"
    )
    switch(output, "json", about)
    switch(output, "quiet", "no progress on stderr")


def parse(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of one experiment; `--hidden 4 4` is refused by naming 4-4."""
    args, unknown = parser.parse_known_args(argv)
    hidden = getattr(args, "hidden", ())
    given = bool(hidden) and hidden is not parser.get_default("hidden")
    if given and unknown and all(word.isdecimal() for word in unknown):
        joined = "-".join(map(str, [*hidden, *unknown]))
        parser.error(f"the layers of one network are joined by dashes; give --hidden {joined}")
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _default(name: str) -> str:
    """The samplers' defaults, told apart where they differ."""
    values = {sampler: getattr(settings, name) for sampler, settings in SAMPLERS.items()}
    plain = values["plain"]
    others = [f"{value} for {sampler}" for sampler, value in values.items() if value != plain]
    return ", ".join([f"{plain}", *others])
