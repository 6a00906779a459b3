"""`nconvex`, or `python -m nconvex`: tells what there is, and runs it: `nconvex quad ...`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from nconvex.commands.outputs import FINISHED, guarded, say
from nconvex.definitions import CITATION, VERSION, NconvexError

#: What each command does, and the module whose `main` runs it.
COMMANDS = {
    "quad": ("train two networks on a polynomial, connect them, draw the path", "quad"),
    "mnist": ("the same with handwritten digits", "mnist"),
    "survey": ("statistics over many pairs, kept in a file, resumed after anything",
               "survey.command"),
    "verify": ("prove again, in plain NumPy, that a saved path stays below L0", "verify"),
}  # fmt: skip


def main(argv: Sequence[str] | None = None, prog: str = "nconvex") -> int:
    """Run the command that the first argument names, or tell which there are."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in COMMANDS:
        module = importlib.import_module(f"nconvex.{COMMANDS[name][1]}")
        return int(module.main(rest, f"{prog} {name}"))

    def tell() -> int:
        if name == "--version":
            say(f"nconvex {VERSION}")
        elif name in ("-h", "--help"):
            say(_help(prog))
        else:
            raise NconvexError(f"{name!r} is no command; choose from {', '.join(COMMANDS)}")
        return FINISHED

    return guarded(prog, tell)


def _help(prog: str) -> str:
    lines = [f"  {prog} {name:<8}{about}" for name, (about, _) in COMMANDS.items()]
    return "\n".join(
        [
            f"nconvex {VERSION}: how nonconvex is the loss surface of a learning problem?",
            "",
            *lines,
            f"  {prog} quad --help   every option, in the paper's terms",
            "",
            "From Python: import nconvex as nc; help(nc)",
            f"To cite: {CITATION}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(prog="python -m nconvex"))
