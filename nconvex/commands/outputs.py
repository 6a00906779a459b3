"""The output of a command: text on stdout and stderr, files, figures, and its exit status.

====  ============================================================================================
0     finished, connected or not
1     finished, but an output could not be printed, written or drawn; or workers were lost and what
      was finished is on stdout, as no store keeps it; one line on stderr says which
2     bad input, or workers were lost: one line on stderr, nothing on stdout
129   SIGHUP, 130 Ctrl-C, 143 SIGTERM: what was found until then is printed and saved
141   the reader of stdout went away (`| head -1`); files are written all the same
====  ============================================================================================
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from nconvex.commands import interrupts
from nconvex.definitions import NconvexError
from nconvex.files import STDOUT, is_stream, silence, try_to_write, write_whole

FINISHED, OUTPUT_FAILED, BAD_INPUT, CLOSED_PIPE = 0, 1, 2, 141


# -- Text -----------------------------------------------------------------------------------------


def one_line(text: object) -> str:
    """Return text with line ends and all else that cannot be printed written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def say(text: str) -> None:
    """Print to stdout at once; characters that its encoding lacks become question marks.

    Raises:
        BrokenPipeError: Its reader went away.
        NconvexError: It cannot be written to, e.g. because a disk is full.
    """
    try:
        _print(text, sys.stdout)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NconvexError(f"cannot write to stdout: {reason}; redirect it elsewhere") from error


def complain(text: str) -> None:
    """Print one line on stderr, in place of the live line; without stderr do nothing."""
    _to_stderr(one_line(text) + "\n")


def _print(text: str, stream: TextIO | None, end: str = "\n") -> None:
    if stream is None:  # the process was started without it
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding) + end)
        stream.flush()
    except (OSError, ValueError):
        silence(stream)
        raise


def _to_stderr(text: str) -> None:
    clear, Progress.shown = "\r\x1b[2K" if Progress.shown else "", False
    try:
        _print(clear + text, sys.stderr, end="")
    except (OSError, ValueError):
        return  # nobody is told, but the work goes on


class Progress:
    """One live line on a terminal, plain lines elsewhere, nothing when quiet; on stderr."""

    #: Whether a live line is on the terminal; the next line takes its place.
    shown = False

    def __init__(self, quiet: bool):
        self._quiet = quiet

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            complain(text)

    def live(self, text: str) -> None:
        """Show what is going on, in place of what was shown before."""
        if self._quiet:
            return
        if sys.stderr is None or not sys.stderr.isatty():
            complain(text)
            return
        width = max(shutil.get_terminal_size().columns - 1, 1)
        _to_stderr(one_line(text)[:width])
        Progress.shown = True

    def close(self) -> None:
        """Clear the live line."""
        if Progress.shown:
            _to_stderr("")


# -- Files ----------------------------------------------------------------------------------------


def require_output(
    option: str, path: Path, apart_from: Sequence[str | os.PathLike[str]] = ()
) -> None:
    """Refuse a file that cannot be written, before any work.

    Args:
        option: What to call it in a message, e.g. "--out".
        path: The file; "-" is stdout.
        apart_from: Files that it must not be: what is read, stores, other outputs.

    Raises:
        NconvexError: The folder does not exist or cannot be written to, the file is a folder or
            write-protected, its name is too long, or it is one of `apart_from`.
    """
    if str(path) == STDOUT:
        if sys.stdout is None:
            raise NconvexError(f"{option} {STDOUT} is stdout, which is closed; name a file")
        return
    for other in apart_from:
        if os.path.realpath(path) == os.path.realpath(other) and not is_stream(path):
            raise NconvexError(f"{option} {path} is also {other}; name another file")
    try:
        try_to_write(path)
    except NconvexError as error:
        raise NconvexError(f"{option}: {error}") from error


def png(figure: Any) -> bytes:
    """A figure as PNG."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=220)
    return image.getvalue()


def gif(animation: Any) -> bytes:
    """An animation as GIF."""
    with tempfile.TemporaryDirectory() as folder:  # matplotlib takes names of files only
        path = Path(folder, "growth.gif")
        animation.save(path, "pillow", dpi=110)
        return path.read_bytes()


def draw(path: Path, render: Callable[[], bytes]) -> None:
    """Write a picture, drawn by matplotlib's Agg, whatever backend is inherited.

    Raises:
        NconvexError: It cannot be drawn or written, whatever the reason.
    """
    # A backend of a notebook or a window is no use here, and may not even exist.
    inherited = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        image = render()
    except Exception as error:  # of matplotlib, of its fonts, of LaTeX
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise NconvexError(f"cannot draw {path}: {reason}; the result is complete") from error
    finally:
        if inherited is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = inherited
    write_whole(path, lambda file: file.write(image))


# -- The end of a command, good or bad ------------------------------------------------------------


def deliver(
    prog: str,
    text: str | None,
    save: Callable[[], None] | None = None,
    pictures: Sequence[Callable[[], None] | None] = (),
    written: Callable[[], str] | None = None,
) -> int:
    """Print a result, save it and draw it, in this order; a step that fails stops no other.

    Ctrl-C during the printing or saving leaves out all figures; during a drawing, it ends that one
    and leaves out those that follow.

    Args:
        prog: The command, for messages.
        text: The result, for stdout.
        save: Writes regular files.
        pictures: Each draws a figure or a page, and writes it; None is left out.
        written: Gives a last line for stdout.

    Returns:
        The exit status.
    """
    interrupts.disarm()  # from here on, signals are raised within steps alone
    before = interrupts.count()
    failures = []

    def attempt(step: Callable[[], None], breakable: bool) -> None:
        try:
            try:
                if breakable:
                    interrupts.arm()
                step()
            except BrokenPipeError:
                failures.append(CLOSED_PIPE)
            except (NconvexError, OSError, MemoryError) as error:
                failures.append(OUTPUT_FAILED)
                complain(f"{prog}: error: {str(error) or 'not enough memory'}")
            finally:
                interrupts.disarm()
        except KeyboardInterrupt:
            failures.append(interrupts.status())
            complain("interrupted" + ("; no figure was drawn" if step in pictures else ""))

    if text is not None:
        attempt(lambda: say(text), breakable=not before)
    if save is not None:
        attempt(save, breakable=False)
    wanted = [picture for picture in pictures if picture is not None]
    if wanted and interrupts.count() > before:
        complain("interrupted; no figure was drawn")
    else:
        for picture in wanted:
            if interrupts.count() == before:
                attempt(picture, breakable=True)
    if written is not None and CLOSED_PIPE not in failures and (line := written()):
        attempt(lambda: say(line), breakable=False)
    if interrupts.count():
        return interrupts.status()
    return min(failures, default=FINISHED)


def guarded(prog: str, command: Callable[[], int], hint: Callable[[], str] = str) -> int:
    """Run a command; whatever ends it early becomes one line on stderr and an exit status.

    Args:
        prog: Its name, for messages.
        command: Returns the exit status.
        hint: Gives what to add to "interrupted", e.g. how to go on.
    """

    def refuse(reason: object) -> int:
        complain(f"{prog}: error: {reason}")
        return BAD_INPUT

    with interrupts.installed():
        try:
            try:
                interrupts.arm()
                result = command()
            except NconvexError as error:
                result = refuse(error)
            except MemoryError:
                result = refuse("not enough memory; use less data, smaller layers or fewer workers")
            except BrokenPipeError:
                result = CLOSED_PIPE
            except OSError as error:
                named = "" if error.filename is None else f"{error.filename}: "
                result = refuse(f"{named}{error.strerror or error}")
            interrupts.disarm()
            return result
        except KeyboardInterrupt:
            interrupts.disarm()
            complain(f"interrupted{hint()}")
            return interrupts.status()
