"""Ctrl-C, SIGTERM and SIGHUP end a command cleanly, whenever and however often they arrive.

While the package is imported for `nconvex` or `python -m nconvex...`, they end the process: nothing
is lost yet. In a command, the first is raised as KeyboardInterrupt, and later ones are only noted:
what was found is saved undisturbed. After `GRACE` seconds, another one ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

#: Seconds from the first signal after which another one ends the process.
GRACE = 10.0

#: When each signal of this command came, and which; `_armed`: whether the next one is raised.
_received: list[tuple[float, int]] = []
_armed = False


@contextmanager
def installed() -> Iterator[None]:
    """Note signals; raise none before `arm`. Outside of the main thread this does nothing."""
    _received.clear()
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for signum in SIGNALS:
            if signal.getsignal(signum) not in (signal.SIG_IGN, None):  # nohup, `&` in scripts
                previous[signum] = signal.signal(signum, _handle)
    unraisable = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        """Raise a KeyboardInterrupt again that was raised where Python drops exceptions."""
        if not issubclass(dropped.exc_type, KeyboardInterrupt) or not _received:
            unraisable(dropped)
            return
        _, signum = _received.pop()
        arm()
        threading.Timer(0.01, os.kill, (os.getpid(), signum)).start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        disarm()
        sys.unraisablehook = unraisable
        for signum, handler in previous.items():  # a command that is done ends as it would have
            signal.signal(signum, signal.SIG_IGN if handler is leave else handler)


def arm() -> None:
    """Let the next signal be raised as KeyboardInterrupt."""
    global _armed
    _armed = True


def disarm() -> None:
    """Let signals only be noted."""
    global _armed
    _armed = False


def count() -> int:
    """Return how many signals have come since the command began."""
    return len(_received)


def status() -> int:
    """Return the exit status of an interrupted command: 128 and the first signal's number."""
    return 128 + (_received[0][1] if _received else signal.SIGINT)


def leave(signum: int, frame: FrameType | None) -> None:
    """End the process at once; a signal handler."""
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + signum)


def _handle(signum: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _received and now - _received[0][0] > GRACE and not _armed:
        leave(signum, frame)
    _received.append((now, signum))
    if _armed:
        disarm()
        raise KeyboardInterrupt


def _run_as_command() -> bool:
    """Whether this process is `nconvex`, or `python -m nconvex...`, which imports the package."""
    name = "".join(sys.argv[:1])
    if name != "-m":
        return os.path.basename(name).removesuffix(".exe") == "nconvex"
    return any(part.removeprefix("-m").split(".")[0] == "nconvex" for part in sys.orig_argv)


if _run_as_command():
    for _signum in SIGNALS:
        if signal.getsignal(_signum) not in (signal.SIG_IGN, None):
            signal.signal(_signum, leave)
