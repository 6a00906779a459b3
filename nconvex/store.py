"""Where a survey's finished pairs are kept: one SQLite file, one transaction a pair.

A pair's record is in the file, whole, or it is not: whatever interrupts the writer (a kill, a full
disk, a loss of power), what was finished stays. Several processes may write to one file; a pair
that two of them finished is kept once. While the file is open, SQLite keeps a journal beside it
(``-wal``, ``-shm``); both are gone when the last process closes it, and are taken up again after a
kill. SQLite's locks do not hold on all network drives: keep the file on a local one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nconvex.definitions import NconvexError

#: Tells SQLite, and the `file` command, whose file it is: "ncvx".
APPLICATION = 0x6E637678

#: Of the tables; raised when their meaning changes.
FORMAT = 2

#: Seconds to wait for another process that is writing.
PATIENCE = 60.0

#: Bytes of the digest beside each record and string, by which damage is noticed.
DIGEST = 8

_TYPES = {"i": "INTEGER", "f": "REAL", "b": "INTEGER", "U": "TEXT"}


class Store:
    """The file of one survey.

    Args:
        path: Of the file.
        fields: Names and NumPy types of a record; "setting" and "pair" among them are its key.
        configuration: What is being surveyed, as JSON can hold it. A file that exists must hold
            the same; without one, the file must exist and is opened to be read.
        versions: Of what computes the records.

    Attributes:
        configuration: What the file holds.
        versions: What made it.

    Raises:
        NconvexError: The file is damaged, of another format, of another survey, cannot be
            written, or does not exist.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fields: Sequence[tuple[str, str]],
        configuration: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ):
        self.path = Path(path)
        self._fields = tuple(fields)
        if configuration is None and not self.path.is_file():
            raise NconvexError(f"{self.path} does not exist; start a survey with `run --store`")
        self._run(lambda: self._open(configuration, dict(versions or {})))

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the journal beside it is merged and removed."""
        self._connection.close()

    def add(self, record: Sequence[Any], beads: np.ndarray | None = None) -> bool:
        """Keep a finished pair, on disk when this returns; False if it was there already.

        Args:
            record: Values of the fields, in their order.
            beads: (n, P) its string, if that is wanted.

        Raises:
            NconvexError: The disk is full or the file cannot be written; nothing was kept of this
                pair, and nothing lost of others.
        """
        row = [_plain(value) for value in record]
        blob = None if beads is None else _npy(beads)
        marks = ", ".join("?" * (len(row) + 1))

        def write() -> bool:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                added = self._connection.execute(
                    f"INSERT OR IGNORE INTO pairs VALUES ({marks})", (*row, _digest(row))
                ).rowcount
                if added and blob is not None:
                    self._connection.execute(
                        "INSERT INTO strings VALUES (?, ?, ?, ?)", (*row[:2], blob, _digest(blob))
                    )
            return bool(added)

        return bool(self._run(write))

    def __contains__(self, key: tuple[int, int]) -> bool:
        query = "SELECT 1 FROM pairs WHERE setting = ? AND pair = ?"
        return self._run(lambda: self._connection.execute(query, key).fetchone()) is not None

    def records(self) -> np.ndarray:
        """Return what is finished, as a structured array in the order of setting and pair.

        Raises:
            NconvexError: The file is damaged.
        """
        query = "SELECT * FROM pairs ORDER BY setting, pair"
        rows = self._run(lambda: self._connection.execute(query).fetchall())
        for *row, digest in rows:
            if _digest(row) != digest:
                raise self._damaged(f"the record of setting {row[0]}, pair {row[1]} was altered")
        return np.array(
            [tuple(np.nan if value is None else value for value in row) for *row, _ in rows],
            dtype=list(self._fields),
        )

    def beads(self, setting: int, pair: int) -> np.ndarray | None:
        """Return a pair's string, (n, P), if it was kept.

        Raises:
            NconvexError: The file is damaged.
        """
        query = "SELECT beads, digest FROM strings WHERE setting = ? AND pair = ?"
        row = self._run(lambda: self._connection.execute(query, (setting, pair)).fetchone())
        if row is None:
            return None
        blob, digest = row
        if _digest(blob) != digest:
            raise self._damaged(f"the string of setting {setting}, pair {pair} was altered")
        return np.asarray(np.lib.format.read_array(io.BytesIO(blob), allow_pickle=False))

    def _open(self, configuration: Mapping[str, Any] | None, versions: dict[str, str]) -> None:
        self._connection = sqlite3.connect(
            self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            execute = self._connection.execute
            empty = execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
            if empty and configuration is not None:
                self._write_ahead()
                self._create(configuration, versions)
            application, found = (
                execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            )
            if application != APPLICATION:
                raise NconvexError(f"{self.path} is not a survey of nconvex; choose another file")
            if found != FORMAT:
                raise NconvexError(
                    f"{self.path} is of format {found}, not {FORMAT}; use the version of nconvex "
                    "that made it, or start a new file"
                )
            if (verdict := execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                raise self._damaged(verdict)
            execute("PRAGMA synchronous = FULL")
            stored = {key: json.loads(text) for key, text in execute("SELECT * FROM about")}
            self.configuration: dict[str, Any] = stored["configuration"]
            self.versions: dict[str, str] = stored["versions"]
            columns = [name for _, name, *_ in execute("PRAGMA table_info(pairs)")]
            if columns != [*(name for name, _ in self._fields), "digest"]:
                raise self._damaged(f"its columns are {', '.join(columns)}")
        except (KeyError, ValueError, TypeError) as error:
            self._connection.close()
            raise error if isinstance(error, NconvexError) else self._damaged(error) from None
        except BaseException:
            self._connection.close()
            raise
        if configuration is not None and self.configuration != json.loads(
            json.dumps(configuration)
        ):
            self._connection.close()
            raise NconvexError(
                f"{self.path} holds another survey; choose another file, or continue that one with "
                f"`resume {self.path}`"
            )

    def _write_ahead(self) -> None:
        """Switch to a write-ahead log, waiting for others by hand: here SQLite itself does not."""
        given_up = time.monotonic() + PATIENCE
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > given_up:
                    raise
                time.sleep(0.01)

    def _create(self, configuration: Mapping[str, Any], versions: dict[str, str]) -> None:
        columns = ", ".join(f"{name} {_TYPES[np.dtype(kind).kind]}" for name, kind in self._fields)
        with self._connection:
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            if execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
                return  # another process was faster
            execute(f"PRAGMA application_id = {APPLICATION}")
            execute(f"PRAGMA user_version = {FORMAT}")
            execute("CREATE TABLE about (key TEXT PRIMARY KEY, json TEXT)")
            execute(
                f"CREATE TABLE pairs ({columns}, digest TEXT, "
                "PRIMARY KEY (setting, pair)) WITHOUT ROWID"
            )
            execute(
                "CREATE TABLE strings (setting INTEGER, pair INTEGER, beads BLOB, digest TEXT, "
                "PRIMARY KEY (setting, pair))"
            )
            for key, value in (("configuration", configuration), ("versions", versions)):
                execute("INSERT INTO about VALUES (?, ?)", (key, json.dumps(value)))

    def _run(self, work: Callable[[], Any]) -> Any:
        """Do something with the file, telling in plain words what is wrong with it."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            message = str(error)
            if "full" in message or "I/O" in message:
                advice = "what was finished is safe; make room and resume"
            elif "locked" in message:
                advice = "another process has kept it busy; try again"
            else:
                advice = "choose a folder that exists and is writable"
            raise NconvexError(f"cannot use {self.path}: {message}; {advice}") from error
        except (sqlite3.DatabaseError, OverflowError) as error:
            raise self._damaged(error) from error

    def _damaged(self, what: object) -> NconvexError:
        return NconvexError(
            f"{self.path} is damaged or not a survey ({what}); restore a copy or start a new file"
        )


def _plain(value: Any) -> Any:
    """Return what SQLite gives back for a value: it has NULL for NaN, and no booleans."""
    if isinstance(value, bool):
        return int(value)
    return None if value != value else value


def _digest(data: Any) -> str:
    data = data if isinstance(data, bytes) else repr(data).encode()
    return hashlib.blake2b(data, digest_size=DIGEST).hexdigest()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
