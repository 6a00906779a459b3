"""Attacks the command lines: arguments, files, streams and signals that nobody should send.

    python benchmarks/attack_commands.py --lines 2000 --streams 60 --storms 30

Each attack yields what went wrong, a line a fault. Status 2 means: one line on stderr, nothing on
stdout; 0 means a result; there is never a traceback, a hang, a half file or a lost result.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

#: Seconds that a fuzzed line may work before it gets a Ctrl-C, and then before it counts as hung.
WORK, HANG = 0.3, 120.0

NUMBERS = (
    *("0", "1", "2", "-1", "3.5", "1e-3", "1e-300", "1e300", "nan", "inf", "-inf", "", "x", "--"),
    *("9" * 19, "9223372036854775808", "9" * 31, "9" * 401, "9" * 5000, "0x10", "1_0", "٣", "-"),
)
NAMES = (
    *("relu", "tanh", "sigmoid", "mse", "mae", "loss", "error", "quadratic", "cubic", "mnist"),
    *("plain", "revive", "springs", "breadth-first", "subset", "nowhere", "", "\n", "é", "\udcff"),
)
LAYERS = (
    "4-4",
    "16",
    "4--4",
    "-4",
    "4-",
    "-",
    "4,4",
    "",
    "x-4",
    "0-4",
    "9" * 19 + "-4",
    "4-" * 999,
)
FILES = (
    *("", ".", "new", "new/deeper", "mine", "mine/below", "n" * 250, "n" * 256, "two\nlines", "-"),
    *("é–\x1b[2J", "\udcff", "/dev/null", "/dev/full", "/proc/x", "folder", "store.sqlite"),
)
INPUTS = ("table.csv", "a.npz", "b.npz", "test.npz", "a.pt")
MORSELS = (b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"1e309", b"nan", b"-1e308", b"9" * 400)
SWITCHES = {
    "csv": ("--classify", "--drop-missing", "--tighten", "--json", "--quiet", "--force"),
    "connect": ("--tighten", "--json", "--quiet", "--force"),
    "quad": ("--authors-network", "--tighten", "--json", "--quiet", "--force", "--help"),
    "mnist": ("--tighten", "--json", "--quiet", "--force", "--version"),
    "run": ("--keep-strings", "--quiet"),
}
SEARCH = ("--L0", "--alpha", "--depth", "--seed", "--budget")
VALUES = {
    "csv": {NUMBERS: (*SEARCH, "--test"), FILES: ("--out",), LAYERS: ("--hidden",),
            NAMES: ("--sampler", "--activation", "--loss", "--drop", "--delimiter")},
    "connect": {NUMBERS: SEARCH, FILES: ("--out", "--data"),
                NAMES: ("--sampler", "--activation", "--loss")},
    "quad": {NUMBERS: (*SEARCH, "--samples"), FILES: ("--out",), LAYERS: ("--hidden",),
             NAMES: ("--sampler", "--task", "--activation", "--loss")},
    "mnist": {NUMBERS: (*SEARCH, "--lr", "--batch"), FILES: ("--out", "--data"),
              LAYERS: ("--hidden",), NAMES: ("--sampler", "--metric", "--data")},
    "run": {NUMBERS: (*SEARCH, "--pairs", "--workers"), FILES: ("--out", "--store"),
            LAYERS: ("--hidden",),
            NAMES: ("--sampler", "--task", "--activation", "--loss", "--preset")},
}  # fmt: skip
TABLE = ("csv", "table.csv", "--target", "kind")
FILES_OF_WEIGHTS = ("connect", "a.npz", "b.npz", "--data", "test.npz")
FIRST = (("quad",), ("mnist",), TABLE, FILES_OF_WEIGHTS)
COMMANDS = ("quad", "mnist", "csv", "connect", "package", "survey")


# -- Arguments ------------------------------------------------------------------------------------


def line(rng: random.Random, commands: Sequence[str]) -> list[str]:
    """Draw a command line: the command, then options that are likely and values that are not."""
    command = rng.choice(commands)
    if command == "package":
        return [
            "package",
            *rng.sample([*NAMES, "quad", "--L0", "-h", "--version"], rng.randrange(3)),
        ]
    words = [command]
    kind = command
    if command == "survey":
        kind = rng.choice(["run", "run", "resume", "status", "export", "plot", ""])
        words += [kind] * (kind != "")
        if kind != "run":
            words += rng.sample(FILES, rng.randrange(3))
            for option in ("--csv", "--aggregates", "--markdown", "--out", "--workers"):
                if rng.random() < 0.3:
                    words += [option, rng.choice(FILES)]
            return words
    if kind == "csv":
        target = rng.choice(["y", "kind", "kind", "x", rng.choice(NAMES)])
        words += [rng.choice(["table.csv"] * 5 + [*FILES]), "--target", target]
    if kind == "connect":
        words += [rng.choice([*INPUTS[1:3]] * 9 + [*INPUTS, *FILES]) for _ in range(2)]
        words += ["--data", "test.npz"]
    for _ in range(rng.randrange(5)):
        values = rng.choice(list(VALUES[kind]))
        words += [rng.choice(VALUES[kind][values]), rng.choice(values)]
        words += [rng.choice(values)] * (rng.random() < 0.1)
    words += [word for word in SWITCHES[kind] if rng.random() < 0.15]
    return words + ["--no-figure"] * (kind != "run" and rng.random() < 0.9)


def write_inputs(folder: Path) -> None:
    """Write a table, the weights of two networks, and their data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    rows = [
        f"{a},{b},{'uvw'[k % 3]},{a * b},{'no' if a < b else 'yes'}" for k, (a, b) in enumerate(x)
    ]
    (folder / "table.csv").write_text("\n".join(["x,z,town,y,kind", *rows]) + "\n")
    for name in INPUTS[1:3]:
        W0, W1 = rng.normal(size=(2, 3)), rng.normal(size=(3, 1))
        np.savez(folder / name, W0=W0, b0=np.zeros(3), W1=W1, b1=np.zeros(1))
    np.savez(folder / INPUTS[3], X_test=x, y_test=x[:, :1] * x[:, 1:])
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        torch.save(net.state_dict(), folder / INPUTS[4])


def damage(folder: Path, rng: random.Random) -> None:
    """Change, cut out or double some bytes of one of the files."""
    path = folder / rng.choice([name for name in INPUTS if (folder / name).exists()])
    data = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 4)):
        place, length = rng.randrange(len(data)), rng.randrange(1, 200)
        kind = rng.randrange(4)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1 and len(data) > length:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length]
        else:
            data[place:place] = rng.choice(MORSELS)
    path.write_bytes(data)


def lines(folder: Path, count: int, seed: int, commands: Sequence[str] = COMMANDS) -> Iterator[str]:
    """Run fuzzed command lines in this process, whose current folder is `folder`."""
    rng = random.Random(seed)
    (folder / "mine").write_text("mine")
    (folder / "folder").mkdir()
    write_inputs(folder)
    for words in FIRST:  # imports do not bear to be broken off
        if words[0] in commands:
            call([*words, "--no-figure", "--quiet"], "utf-8", work=HANG)
    for _ in range(count):
        words = line(rng, commands)
        if words[0] in ("csv", "connect"):
            write_inputs(folder)
            if rng.random() < 0.4:
                damage(folder, rng)
        encoding = rng.choice(["utf-8", "ascii", "cp437"])
        status, out, err = call(words, encoding)
        for fault in faults(status, out, err):
            yield f"{words} in {encoding}: {fault}; stdout {out[-200:]!r}, stderr {err[-2000:]!r}"
        if (folder / "mine").read_text() != "mine":
            yield f"{words}: a file was replaced"
        if left := [path.name for path in folder.rglob(".nconvex-*")]:
            yield f"{words}: left {left}"


def call(words: Sequence[str], encoding: str, work: float = WORK) -> tuple[object, str, str]:
    """Run one command line, with a Ctrl-C after a while; return exit status, stdout, stderr."""
    argv = words[1:] if words[0] == "package" else words
    main = import_module("nconvex.__main__").main
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]

    def alarm(signum: int, frame: object) -> None:
        if signal.getitimer(signal.ITIMER_REAL)[0] == 0.0 and alarms:
            raise TimeoutError("it hangs")
        alarms.append(signum)
        signal.setitimer(signal.ITIMER_REAL, HANG)
        os.kill(os.getpid(), signal.SIGINT)

    alarms: list[int] = []
    before = signal.signal(signal.SIGALRM, alarm)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, lambda *_: None)  # between commands nobody is told
    status: object
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            signal.setitimer(signal.ITIMER_REAL, work)
            try:
                status = main(argv)
            except SystemExit as stop:
                status = stop.code
            except BaseException as error:  # any of them is a fault
                status = repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, interrupt)
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
    return status, out, err


def faults(status: object, out: str, err: str) -> Iterator[str]:
    """What is wrong with how a command ended."""
    errors = [text for text in err.split("\n") if ": error: " in text]
    if status not in (0, 1, 2, 130, 143):
        yield f"exit status {status}"
    if "Traceback" in err or "Warning" in err:
        yield "a traceback or a warning"
    if not err.replace("\n", "").isprintable():
        yield "stderr holds what cannot be printed"
    if status == 2 and (out or len(errors) != 1 or not err.endswith("\n")):
        yield "bad input is not one line on stderr alone"
    if status == 0 and (errors or not out):
        yield "no result, or an error beside it"
    if status == 1 and not errors:
        yield "status 1 without an error"


# -- Streams --------------------------------------------------------------------------------------

SHELL = (
    "{} | head -1", "{} | true", "{} > /dev/full", "{} 2> /dev/full", "{} >&-", "{} 2>&-",
    "{} > /dev/full 2>&1", "{} 2>&1 | true", "PYTHONIOENCODING=ascii {}",
    "PYTHONIOENCODING=cp437 {}", "MPLBACKEND=module://nowhere {}", "MPLBACKEND=nonsense {}",
)  # fmt: skip


def streams(folder: Path, count: int, seed: int) -> Iterator[str]:
    """Run commands whose streams are closed, full, or of few letters; results reach their files."""
    rng = random.Random(seed)
    for number in range(count):
        shell = SHELL[number % len(SHELL)]
        out = folder / f"stream–{number}"
        command = f"{sys.executable} -m nconvex quad --seed {rng.randrange(100)} --out '{out}'"
        command += rng.choice([" --json", " --tighten", ""])
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shell.format(command)}"],
            cwd=ROOT, capture_output=True, text=True, timeout=10 * HANG,
        )  # fmt: skip
        if done.returncode not in (0, 1, 141) or "Traceback" in done.stderr:
            yield f"{shell}: status {done.returncode}, {done.stderr[-1000:]}"
        if "Exception ignored" in done.stderr or not (out / "string.npz").exists():
            yield f"{shell}: not everything is there: {done.stderr[-1000:]}"


# -- Signals --------------------------------------------------------------------------------------

VICTIMS = (
    ("quad", "--tighten", "--L0", "3e-4"),
    ("quad", "--tighten", "--activation", "tanh", "--L0", "3e-4", "--alpha", "0.9"),
    ("mnist", "--tighten", "--hidden", "32", "--L0", "0.3"),
    (*TABLE, "--tighten"),
    (*FILES_OF_WEIGHTS, "--tighten", "--L0", "auto"),
)


def storms(
    folder: Path, count: int, seed: int, victims: Sequence[Sequence[str]] = VICTIMS
) -> Iterator[str]:
    """Send one or two signals at random moments, from the import to the drawing of the figure."""
    rng = random.Random(seed)
    write_inputs(folder)
    plans = []
    spans = {}
    for number in range(count):
        victim = victims[number % len(victims)]
        if victim not in spans:
            began = time.monotonic()
            attack(folder / f"{number}-undisturbed", victim, 0, [])
            spans[victim] = time.monotonic() - began
        signals = [rng.choice([signal.SIGINT, signal.SIGTERM])] * rng.choice([1, 2])
        plans.append((folder / f"{number}", victim, rng.uniform(0.0, spans[victim]), signals))
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda plan: attack(*plan), plans):
            yield from found


def attack(folder: Path, victim: Sequence[str], delay: float, signals: Sequence[int]) -> list[str]:
    """Run one command, signal it after a delay, and see whether it kept what it had."""
    run = subprocess.Popen(
        [sys.executable, "-m", "nconvex", *victim, "--json", "--out", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    time.sleep(delay)
    for signum in signals:
        run.send_signal(signum)
        time.sleep(0.01)
    try:
        out, err = run.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        run.kill()
        out, err = run.communicate()
        return [f"{victim} after {delay:.2f} s: hangs; {err[-2000:]}"]
    found = []
    if "Traceback" in err and f"{os.sep}nconvex{os.sep}" not in err:
        return []  # Python itself had not come to the package yet
    killed = [-signum for signum in signals] if not out + err else []  # before Python had started
    if run.returncode not in (0, *killed, *(128 + signum for signum in signals)):
        found.append(f"status {run.returncode}")
    if "Traceback" in err or "Exception ignored" in err:
        found.append("a traceback")
    if "network 1" in err.replace("training network 1", "") and not out:
        found.append("a network is lost")
    if out:
        result = json.loads(out)
        files = {path.name for path in folder.iterdir()}
        if not {"result.json", "string.npz"} <= files and result["n_beads"] is not None:
            found.append(f"the string is lost: {files}")
        if json.loads((folder / "result.json").read_text()) != result:
            found.append("stdout and result.json differ")
        if "tightening" in err and not result["connected"]:
            found.append("the path is lost")
        if any(name.startswith(".") for name in files):
            found.append(f"half a file is left: {files}")
    elif folder.exists():
        found.append("a folder is left without a result")
    return [f"{victim} after {delay:.2f} s, {signals}: {fault}; {err[-2000:]}" for fault in found]


# -- All of them ----------------------------------------------------------------------------------


def main() -> int:
    """Run the attacks that are asked for; the exit status tells whether there were faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--storms", type=int, default=30)
    parser.add_argument("--commands", nargs="+", default=COMMANDS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    total = 0
    for name, attacked in (
        ("lines", lambda folder: lines(folder, args.lines, args.seed, args.commands)),
        ("streams", lambda folder: streams(folder, args.streams, args.seed)),
        ("storms", lambda folder: storms(folder, args.storms, args.seed)),
    ):
        began, found = time.monotonic(), 0
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for fault in attacked(Path(folder)):
                print(fault, flush=True)
                found += 1
            os.chdir(ROOT)
        print(f"{getattr(args, name)} {name}: {found} faults, {time.monotonic() - began:.0f} s")
        total += found
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
