"""Attacks on surveys: mutated stores, killed workers and parents, storms of Ctrl-C, Dask's workers.

    python benchmarks/attack_surveys.py [stores|kills|storms|dask] [--times N] [--seed S]

Each attack raises AssertionError where there is a traceback, a hang, a process left over, or
anything lost; else it prints how often it struck and what came of it.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nconvex as nc
from nconvex.commands.survey import main as command

#: With every outcome among their records.
SETTINGS = nc.survey.grid(L0=(2e-2, 1e-3, 1e-5), samples=40, rmsprop=nc.RMSProp(budget=400))
PAIRS = 4

#: Seconds after which a command that does next to nothing counts as hanging.
LONGEST = 60.0

# -- Stores ---------------------------------------------------------------------------------------

VALUES: tuple[Any, ...] = (
    *(None, "", "1", "text", b"", b"\x00\xff", "x" * 100_000, "\ud7ff", "a\nb", "‮", True),
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 10**17),
    *(0.5, -0.0, 1e30, 1e308, -1e308, 5e-324, float("inf"), float("-inf")),
)
DOCUMENTS: tuple[Any, ...] = (
    *(None, True, [], {}, "", "4-4", [[4]], [4, -1], [10**9], {"a": 1}, [None], -1, 0, 10**30),
    *(1.5, float("nan"), float("inf"), 1e308, 2**53, "relu", [1] * 1000, "mnist", ["x"]),
)
TEXTS = ("", "{", "[" * 100_000, '{"a":' * 50_000, "1" * 6000, "NaN", "null", "[]", '"', "\x00")
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"
SCHEMAS = (
    f"DROP TABLE pairs; CREATE VIEW pairs AS {ENDLESS}",
    f"DROP TABLE about; CREATE VIEW about (key, json) AS {ENDLESS.replace('n FROM', 'n, n FROM')}",
    f"DROP TABLE strings; CREATE VIEW strings AS {ENDLESS}",
    "CREATE TRIGGER t AFTER INSERT ON pairs BEGIN DELETE FROM pairs; END",
    "CREATE TRIGGER t BEFORE UPDATE ON about BEGIN DELETE FROM pairs; END",
    f"CREATE TRIGGER t AFTER INSERT ON pairs BEGIN DELETE FROM about WHERE key IN ({ENDLESS}); END",
    "CREATE INDEX i ON pairs (abs(beads))",
    "CREATE INDEX i ON pairs (beads) WHERE outcome LIKE '%a'",
    "CREATE UNIQUE INDEX i ON pairs (pair, setting)",
    "CREATE TABLE more (x)",
    f"CREATE VIEW more AS {ENDLESS}",
    "ALTER TABLE pairs ADD COLUMN more INTEGER",
    "ALTER TABLE pairs ADD COLUMN more GENERATED ALWAYS AS (zeroblob(100000000)) VIRTUAL",
    "ALTER TABLE pairs RENAME COLUMN beads TO pearls",
    "ALTER TABLE pairs RENAME TO others",
    "ALTER TABLE about DROP COLUMN json",
    "DROP TABLE strings",
    "DROP TABLE about",
    "PRAGMA user_version = 99",
    "PRAGMA application_id = 7",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'REAL', 'TEXT')",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE' WHERE name='pairs'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 1 WHERE name = 'pairs'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 999 WHERE name = 'about'",
    "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES "
    "('trigger', 't', 'pairs', 0, 'CREATE TRIGGER t AFTER INSERT ON pairs BEGIN SELECT 1; END')",
)


def digest(row: list[Any]) -> str:
    """The digest beside a record, which anyone can compute."""
    return hashlib.blake2b(repr(row).encode(), digest_size=8).hexdigest()


def mutate(path: Path, rng: random.Random) -> str:
    """Mutate a store in one of four ways; returns what was done."""
    kind = rng.choice(("bytes", "value", "value", "document", "document", "schema"))
    if kind == "bytes":
        data = bytearray(path.read_bytes())
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice((1, 3, 30))):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        return kind
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if kind == "schema":
            statement = rng.choice(SCHEMAS)
            connection.executescript(statement)
            return f"{kind}: {statement}"
        if kind == "document":
            key = rng.choice(("configuration", "configuration", "versions"))
            query = "SELECT json FROM about WHERE key = ?"
            (text,) = connection.execute(query, (key,)).fetchone()
            text = rng.choice(TEXTS) if rng.random() < 0.2 else changed_document(text, rng)
            connection.execute("UPDATE about SET json = ? WHERE key = ?", (text, key))
            return f"{kind}: {key} {text[:300]}"
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(pairs)")]
        rows = connection.execute("SELECT * FROM pairs").fetchall()
        row = list(rng.choice(rows))
        column, value = rng.randrange(len(row)), rng.choice(VALUES)
        change = f"UPDATE OR IGNORE pairs SET {names[column]} = ? WHERE (setting, pair) = (?, ?)"
        connection.execute(change, (value, *row[:2]))
        if column < len(row) - 1 and rng.random() < 0.8:
            for *new, _ in connection.execute("SELECT * FROM pairs").fetchall():
                connection.execute("UPDATE pairs SET digest = ? WHERE (setting, pair) = (?, ?)",
                                   (digest(new), *new[:2]))  # fmt: skip
        return f"{kind}: {names[column]} {value!r:.40}"


def changed_document(text: str, rng: random.Random) -> str:
    """Change one value somewhere in a JSON document."""
    document = json.loads(text)
    at = document
    while True:
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        if not isinstance(at[key], dict | list) or not at[key] or rng.random() < 0.2:
            break
        at = at[key]
    if isinstance(at, dict) and rng.random() < 0.2:
        at.pop(key) if rng.random() < 0.5 else at.update(more=rng.choice(DOCUMENTS))
    else:
        at[key] = rng.choice(DOCUMENTS)
    return json.dumps(document)


def run_command(argv: list[str]) -> tuple[int, str, str]:
    """Run the command in this process, which ends where it hangs."""
    out, err = io.StringIO(), io.StringIO()
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=sys.__stderr__)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command(argv)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return status, out.getvalue(), err.getvalue()


def stores(times: int, seed: int = 0, folder: Path | None = None) -> str:
    """Read mutated stores by every command, and let survey resume those with another schema."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole, path = folder / "whole", folder / "s"
        nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, store=whole, keep_strings=True)
        outcomes = collections.Counter()
        for number in range(times):
            shutil.copy(whole, path)
            what = mutate(path, rng)
            before = path.read_bytes()
            commands = [["status", "s"], ["export", "s", "--csv", "a", "--aggregates", "b"]]
            if number % 16 == 0:
                commands.append(["plot", "s", "--out", "p.png"])
            if what.startswith("schema"):
                commands.append(["resume", "s", "--quiet"])
            with _inside(folder):
                for argv in commands:
                    try:
                        status, out, err = run_command(argv)
                    except BaseException as error:
                        raise AssertionError(f"{argv}, {what}: {error!r}") from error
                    said = f"{argv}, {what}: {status} {out} {err}"
                    assert status in (0, 2), said
                    assert err.count("\n") == (status == 2), said
                    assert not out or status == 0, said
                    outcomes[status] += 1
            assert path.read_bytes() == before, what
            assert {file.name for file in folder.iterdir()} <= {"whole", "s", "a", "b", "p.png"}
    return f"{times} stores: {outcomes[2]} commands refused in one line, {outcomes[0]} carried out"


@contextlib.contextmanager
def _inside(folder: Path) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# -- Processes ------------------------------------------------------------------------------------

ARGUMENTS = ["--L0", "1e-2", "1e-3", "--pairs", "400", "--seed", "5"]


def start(path: Path, *options: str) -> subprocess.Popen[str]:
    """Start or resume a survey in a process group of its own."""
    what = ["resume", str(path)] if path.exists() else ["run", *ARGUMENTS, "--store", str(path)]
    return subprocess.Popen(
        [sys.executable, "-m", "nconvex.survey", *what, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def processes(session: int) -> list[int]:
    """Living processes of a session, apart from its leader."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z" and int(folder.name) != session:
                found.append(int(folder.name))
    return found


def workers_of(session: int) -> list[int]:
    """Worker processes among them."""
    found = []
    for pid in processes(session):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def ended(run: subprocess.Popen[str]) -> str:
    """Wait for the end of a survey and of all its processes; returns its stderr."""
    try:
        _, err = run.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise AssertionError(f"it hangs: {run.communicate()}") from None
    given_up = time.monotonic() + 10.0
    while left := processes(run.pid):
        assert time.monotonic() < given_up, f"left over: {left}"
        time.sleep(0.02)
    assert "Traceback" not in err or is_early(err), err
    return err


#: The first files of the package that are run; from then on Ctrl-C ends a command in one line.
EARLY = {"__init__", "commands/__init__", "commands/interrupts"}


def is_early(err: str) -> bool:
    """Whether Ctrl-C came before the package's first few milliseconds were over."""
    ours = re.findall(r"nconvex/([\w/]+)\.py", err)
    return "KeyboardInterrupt" in err and set(ours) <= EARLY


def expected_records() -> bytes:
    """The records of an undisturbed survey."""
    return nc.survey.run(nc.survey.grid(L0=(1e-2, 1e-3)), pairs=400, seed=5).records.tobytes()


def kept(path: Path, seen: int) -> int:
    """Count the records in a store, which must not become fewer."""
    if not path.exists() or not path.stat().st_size:
        return seen
    try:
        count = len(nc.survey.load(path).records)
    except nc.NconvexError:
        if seen:
            raise
        path.unlink()  # it was killed while it made the file
        return 0
    assert count >= seen
    return count


def kills(times: int, seed: int = 0) -> str:
    """Kill workers and parents at random moments; each survey goes on until it is complete."""
    rng = random.Random(seed)
    expected = expected_records()
    struck: collections.Counter[str] = collections.Counter()
    surveys = 0
    while sum(struck.values()) < times:
        surveys += 1
        with tempfile.TemporaryDirectory() as folder:
            path, seen = Path(folder) / "s", 0
            while True:
                run = start(path, "--processes", "--workers", "2", "--quiet")
                deaths = 0
                while run.poll() is None and sum(struck.values()) < times:
                    time.sleep(rng.uniform(0.1, 1.0))
                    victims = workers_of(run.pid)
                    if victims and rng.random() < 0.7:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(rng.choice(victims), signal.SIGKILL)
                            struck["workers"] += 1
                            deaths += 1
                    elif run.poll() is None and rng.random() < 0.3:
                        end = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGHUP))
                        run.send_signal(end)
                        struck[end.name] += 1
                        break
                err = ended(run)
                assert run.returncode in (0, 2, -9, 128 + 15, 128 + 1), (run.returncode, err)
                assert run.returncode != 2 or (deaths >= 5 and err.count("\n") == 1), err
                seen = kept(path, seen)
                if run.returncode == 0:
                    break
            assert nc.survey.load(path).records.tobytes() == expected
    return f"{dict(struck)} killed in {surveys} surveys; nothing lost, left or hanging"


def storms(times: int, seed: int = 0) -> str:
    """Send Ctrl-C several times in a row, from the first moment of a survey on."""
    rng = random.Random(seed)
    statuses: collections.Counter[int] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        path, seen = Path(folder) / "s", 0
        for storm in range(times):
            options = rng.choice(([], ["--processes", "--workers", "2"]))
            run = start(path, *options)
            time.sleep(rng.choice((rng.uniform(0.0, 1.0), rng.uniform(1.0, 5.0))))
            for _ in range(rng.randrange(1, 6)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGINT)
                time.sleep(rng.choice((0.01, 0.1, 0.3)))
            err = ended(run)
            early = not err or is_early(err)  # then Python may end by the signal itself
            assert run.returncode in (0, 130) or early, (storm, run.returncode, err)
            statuses[run.returncode] += 1
            seen = kept(path, seen)
            if run.returncode == 0:
                path.unlink()
                seen = 0
    return f"{times} storms, by exit status: {dict(statuses)}; nothing lost, left or hanging"


# -- Dask -----------------------------------------------------------------------------------------


def dask(times: int, seed: int = 0) -> str:
    """Kill workers of a Dask cluster while they survey."""
    import logging

    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    rng = random.Random(seed)
    expected = expected_records()
    killed = surveys = 0
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster:

        def worker() -> subprocess.Popen[bytes]:
            what = [cluster.scheduler_address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", *what],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        workers = [worker() for _ in range(4)]
        with Client(cluster) as client:
            while killed < times:
                surveys += 1
                done = threading.Event()
                most = min(times, killed + 20)

                def strike(done: threading.Event = done, most: int = most) -> None:
                    nonlocal killed
                    while not done.wait(rng.uniform(0.1, 1.5)) and killed < most:
                        victim = rng.randrange(len(workers))
                        workers[victim].kill()
                        workers[victim].wait()
                        workers[victim] = worker()
                        killed += 1

                thread = threading.Thread(target=strike, daemon=True)
                thread.start()
                faulthandler.dump_traceback_later(600.0, exit=True)
                settings = nc.survey.grid(L0=(1e-2, 1e-3))
                result = nc.survey.run(settings, pairs=400, seed=5, executor=client)
                faulthandler.cancel_dump_traceback_later()
                done.set()
                thread.join()
                assert result.records.tobytes() == expected
                print(f"{killed} killed", file=sys.stderr, flush=True)
        for each in workers:
            each.kill()
            each.wait()
    return f"{killed} workers killed in {surveys} surveys; the same records each time"


ATTACKS: dict[str, tuple[Callable[..., str], int]] = {
    "stores": (stores, 1000),
    "kills": (kills, 100),
    "storms": (storms, 60),
    "dask": (dask, 200),
}


def main() -> None:
    """Attack."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("attack", nargs="*", choices=[[], *ATTACKS], help="default all")
    parser.add_argument("--times", type=int, help="default 1000 stores, 100 kills, 60, 200")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in args.attack or ATTACKS:
        attack, times = ATTACKS[name]
        began = time.monotonic()
        report = attack(args.times or times, args.seed)
        print(f"{name}: {report} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
