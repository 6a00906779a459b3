"""`python -m nconvex`: what there is; `python -m nconvex quad ...` runs it."""

import importlib
import sys
from collections.abc import Sequence

from nconvex.commands.outputs import FINISHED, guarded, say
from nconvex.definitions import CITATION, VERSION, NconvexError

COMMANDS = {
    "quad": ("quad", "train two networks on a polynomial, connect them, draw the path"),
    "mnist": ("mnist", "the same with handwritten digits"),
    "survey": (
        "survey.command",
        "statistics over many pairs, kept in a file, resumed after anything",
    ),
}
LINES = "\n".join(f"  python -m nconvex.{name:<14}{about}" for name, (_, about) in COMMANDS.items())
TEXT = f"""nconvex {VERSION}: how nonconvex is the loss surface of a learning problem?

{LINES}
  python -m nconvex.quad --help   every option, in the paper's terms

From Python: import nconvex as nc; help(nc)
To cite: {CITATION}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, or tell which there are."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in COMMANDS:
        return int(importlib.import_module(f"nconvex.{COMMANDS[name][0]}").main(rest))

    def tell() -> int:
        if name not in ("", "-h", "--help", "--version"):
            raise NconvexError(f"{name!r} is no command; choose from {', '.join(COMMANDS)}")
        say(TEXT)
        return FINISHED

    return guarded("python -m nconvex", tell)


if __name__ == "__main__":
    sys.exit(main())
