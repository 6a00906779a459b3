"""The command `nconvex`, or `python -m nconvex`: it lists the other commands and runs them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from nconvex.commands.outputs import FINISHED, guarded, say
from nconvex.definitions import CITATION, VERSION, NconvexError

#: The module whose `main` runs each command.
COMMANDS = {
    "quad": "quad",
    "mnist": "mnist",
    "csv": "commands.csv",
    "connect": "commands.connect",
    "survey": "commands.survey",
    "verify": "verify",
}

TEXT = f"""nconvex {VERSION}: how nonconvex is the loss surface of a learning problem?

  PROG quad     train two networks on a polynomial, connect them, draw the path
  PROG mnist    the same with handwritten digits
  PROG csv      the same with your own table
  PROG connect  connect two networks whose weights are in files
  PROG survey   statistics over many pairs, kept in a file, resumed after anything
  PROG verify   prove again, in plain NumPy, that a saved path stays below L0
  PROG quad --help   every option, in the paper's terms

From Python: import nconvex as nc; help(nc)
To cite: {CITATION}"""


def main(argv: Sequence[str] | None = None, prog: str = "nconvex") -> int:
    """Run the command that the first argument names, or tell which there are."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in COMMANDS:
        module = importlib.import_module(f"nconvex.{COMMANDS[name]}")
        return int(module.main(rest, f"{prog} {name}"))

    def tell() -> int:
        if name not in ("-h", "--help", "--version"):
            raise NconvexError(f"{name!r} is no command; choose from {', '.join(COMMANDS)}")
        say(f"nconvex {VERSION}" if name == "--version" else TEXT.replace("PROG", prog))
        return FINISHED

    return guarded(prog, tell)


if __name__ == "__main__":
    sys.exit(main(prog="python -m nconvex"))
