"""Where a survey's finished pairs are kept: one SQLite file, one transaction a pair.

A record is in the file as a whole or not at all. Finished pairs stay, whatever interrupts the
writer: a kill, a full disk, a loss of power. Several processes may write to one file; a pair that
two of them finished is kept once. While the file is open, SQLite keeps a journal beside it
(``-wal``, ``-shm``). The last process to close the file removes the journal; after a kill, the next
process to open the file reads it. SQLite's locks do not hold on all network drives, so use a local
one.

A file may come from anyone, so it is data. The SQL in it is never run: it must have the three
tables exactly as they are created here and nothing else, and every value must be of its column's
type. Reading leaves the file and its folder as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nconvex.definitions import NconvexError

#: Tells SQLite, and the `file` command, whose file it is: "ncvx".
APPLICATION = 0x6E637678

#: SQLite's name for no file.
MEMORY = ":memory:"

#: Of the tables; raised when their meaning changes.
FORMAT = 2

#: Seconds to wait for another process that is writing.
WRITER_TIMEOUT = 60.0

#: Seconds that reading the list of tables may take, which is endless in files made for that.
TABLES_TIMEOUT = 10.0

#: Bytes of the digest beside each record and string, by which damage is noticed.
DIGEST = 8

#: Characters of the configuration: a thousand times those of the largest preset.
LONGEST_CONFIGURATION = 2**24

_TYPES = {"i": "INTEGER", "f": "REAL", "b": "INTEGER", "U": "TEXT"}
_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name LIMIT 9"


class Store:
    """The finished pairs of one survey, in a file.

    Args:
        path: Of the file; None keeps all in memory, as long as the store is open.
        fields: Names and NumPy types of a record; "setting" and "pair" among them are its key.
        configuration: What is surveyed, as JSON can hold it; a file that exists keeps its own,
            see `revise`. Without one, the file must exist and is only read.
        versions: Of the software that computes the records.

    Attributes:
        versions: Of the software that made the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        fields: Sequence[tuple[str, str]],
        configuration: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ):
        self.path = Path(path or MEMORY)
        self._in_memory = path is None
        self._fields = tuple((name, np.dtype(kind)) for name, kind in fields)
        if path is not None:
            self._require_file(missing_is_fine=configuration is not None)
        self._unchanging = False
        with self._explained():
            self._open(configuration, dict(versions or {}))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # the last that writes merges the journal, and removes it

    @property
    def configuration(self) -> dict[str, Any]:
        """What the file holds; another process may let it grow."""
        return self._about("configuration")

    def revise(self, change: Callable[[], Mapping[str, Any]]) -> None:
        """Replace the configuration by what `change` returns; nobody else changes it meanwhile."""
        with self._writing() as execute:
            text = _json(change())
            execute("UPDATE about SET json = ? WHERE key = 'configuration'", (text,))

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
        marks = ", ".join("?" * (len(row) + 1))
        pairs = f"INSERT OR IGNORE INTO pairs VALUES ({marks})"
        with self._writing() as execute:
            added = execute(pairs, (*row, _digest(row))).rowcount
            if added and beads is not None:
                blob = _npy(beads)
                string = (*row[:2], blob, _digest(blob))
                execute("INSERT INTO strings VALUES (?, ?, ?, ?)", string)
        return bool(added)

    def __contains__(self, key: tuple[int, int]) -> bool:
        return bool(self._rows("SELECT 1 FROM pairs WHERE setting = ? AND pair = ?", key))

    def records(self) -> np.ndarray:
        """Return what is finished, as a structured array in the order of setting and pair."""
        rows = self._rows("SELECT * FROM pairs ORDER BY setting, pair")
        if self._unchanging and self._journal():
            raise NconvexError(f"{self.path} began to change while it was read; try again")
        for *row, digest in rows:
            pair = f"setting {row[0]!r}, pair {row[1]!r}"
            if _digest(row) != digest:
                self.damaged(f"the record of {pair} was altered")
            for (name, kind), value in zip(self._fields, row, strict=True):
                if not _is_of(kind, value):
                    self.damaged(f"{name} of {pair} is {value!r:.40}")
        return np.array(
            [tuple(np.nan if value is None else value for value in row) for *row, _ in rows],
            dtype=list(self._fields),
        )

    def beads(self, setting: int, pair: int) -> np.ndarray | None:
        """Return a pair's string, (n, P), if it was kept."""
        query = "SELECT beads, digest FROM strings WHERE setting = ? AND pair = ?"
        if not (rows := self._rows(query, (setting, pair))):
            return None
        ((blob, digest),) = rows
        string = f"the string of setting {setting}, pair {pair}"
        if _digest(blob) != digest:
            self.damaged(f"{string} was altered")
        try:
            return _array(blob)
        except Exception:  # NumPy's parser raises many kinds
            self.damaged(f"{string} is not an array")

    def damaged(self, reason: str) -> NoReturn:
        """Raise NconvexError: the file is not what it should be."""
        raise NconvexError(
            f"{self.path} is damaged or not a survey ({reason}); restore a copy or start a new file"
        )

    # -- Opening ----------------------------------------------------------------------------------

    def _require_file(self, missing_is_fine: bool) -> None:
        """Refuse a path that is no file, in plain words."""
        if self.path.name == MEMORY:
            raise NconvexError(f"{self.path} would keep nothing; name a file, e.g. survey.sqlite")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.stat(f"{self.path}-journal")  # SQLite's longest name: it may be too long
            found = self.path.stat().st_mode
        except FileNotFoundError:
            if missing_is_fine:
                return
            raise NconvexError(
                f"{self.path} does not exist; start a survey with `run --store`"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise NconvexError(f"cannot use {self.path}: {reason}; choose another file") from None
        if not stat.S_ISREG(found):
            raise NconvexError(f"{self.path} is not a file that can keep a survey; name another")

    def _journal(self) -> bool:
        try:
            return os.stat(f"{self.path}-wal").st_size > 0
        except OSError:
            return False

    def _open(self, configuration: Mapping[str, Any] | None, versions: dict[str, str]) -> None:
        mode = "mode=rwc"
        if configuration is None:
            # Without a journal nobody writes, and SQLite need not make files to agree with others.
            self._unchanging = not self._journal()
            mode = "mode=ro&immutable=1" if self._unchanging else "mode=ro"
        self._connection = sqlite3.connect(
            MEMORY if self._in_memory else f"{self.path.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=WRITER_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            execute = self._connection.execute
            execute("PRAGMA trusted_schema = OFF")
            given_up = time.monotonic() + TABLES_TIMEOUT
            self._connection.set_progress_handler(lambda: time.monotonic() > given_up, 100_000)
            if not execute(_TABLES).fetchall() and configuration is not None:
                self._write_ahead()
                self._create(configuration, versions)
            self._require_ours()
            self._connection.set_progress_handler(None, 0)
            if (verdict := execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                self.damaged(verdict)
            execute("PRAGMA synchronous = FULL")
            self.versions: dict[str, str] = self._about("versions")
        except BaseException:
            self._connection.close()
            raise

    def _require_ours(self) -> None:
        """Refuse other kinds of files, other formats, and any SQL that is not ours."""
        application, found = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        if application != APPLICATION:
            raise NconvexError(f"{self.path} is not a survey of nconvex; choose another file")
        if found != FORMAT:
            raise NconvexError(
                f"{self.path} is of format {found}, not {FORMAT}; use the version of nconvex "
                "that made it, or start a new file"
            )
        if self._connection.execute(_TABLES).fetchall() != self._tables():
            self.damaged("its tables are not those of this version")

    def _about(self, key: str) -> dict[str, Any]:
        """Return one of the two JSON objects that describe the survey."""
        rows = self._rows("SELECT json FROM about WHERE key = ?", (key,))
        try:
            ((text,),) = rows
            if len(text) > LONGEST_CONFIGURATION:
                raise ValueError("it is too long")
            found = json.loads(text, parse_constant=_refuse_constant)
            if type(found) is not dict:
                raise TypeError("it is not an object")
        except (ValueError, TypeError, RecursionError) as error:
            self.damaged(f"its {key}: {str(error)[:80]}")
        return found

    def _write_ahead(self) -> None:
        """Switch to a write-ahead log, waiting for others by hand: here SQLite itself does not."""
        given_up = time.monotonic() + WRITER_TIMEOUT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > given_up:
                    raise
                time.sleep(0.01)

    def _create(self, configuration: Mapping[str, Any], versions: dict[str, str]) -> None:
        with self._writing() as execute:
            if execute(_TABLES).fetchall():
                return  # another process was faster
            execute(f"PRAGMA application_id = {APPLICATION}")
            execute(f"PRAGMA user_version = {FORMAT}")
            for *_, sql in self._tables():
                if sql:
                    execute(sql)
            for key, value in (("configuration", configuration), ("versions", versions)):
                execute("INSERT INTO about VALUES (?, ?)", (key, _json(value)))

    def _tables(self) -> list[tuple[str, str, str, str | None]]:
        """What SQLite lists, by name: the tables, and indices that it makes itself."""
        columns = ", ".join(f"{name} {_TYPES[kind.kind]}" for name, kind in self._fields)
        key = "PRIMARY KEY (setting, pair)"
        strings = f"setting INTEGER, pair INTEGER, beads BLOB, digest TEXT, {key}"
        listed: list[tuple[str, str, str | None]] = [
            ("about", "about", "about (key TEXT PRIMARY KEY, json TEXT)"),
            ("pairs", "pairs", f"pairs ({columns}, digest TEXT, {key}) WITHOUT ROWID"),
            ("sqlite_autoindex_about_1", "about", None),
            ("sqlite_autoindex_strings_1", "strings", None),
            ("strings", "strings", f"strings ({strings})"),
        ]
        return [
            ("table" if sql else "index", name, of, sql and f"CREATE TABLE {sql}")
            for name, of, sql in listed
        ]

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._explained():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """One transaction: all of it is on disk at its end, or nothing."""
        with self._explained(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection.execute

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into plain words."""
        try:
            yield
        except sqlite3.OperationalError as error:
            message = str(error)
            if "full" in message or "I/O" in message:
                advice = "what was finished is safe; make room and resume"
            elif "locked" in message:
                advice = "another process has kept it busy; try again"
            elif "open" in message or "readonly" in message:
                advice = "choose a folder that exists and is writable"
            else:  # text that is none, or a list of tables without end
                self.damaged(message[:80])
            raise NconvexError(f"cannot use {self.path}: {message}; {advice}") from error
        except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as error:
            self.damaged(str(error)[:80])


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda number: number.item())  # NumPy's


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _is_of(kind: np.dtype[Any], value: Any) -> bool:
    """Whether a value that SQLite returned is one of a NumPy type, or NULL for not a number."""
    if kind.kind == "f":
        return value is None or type(value) is float
    if kind.kind == "U":
        return type(value) is str and len(value) <= kind.itemsize // 4
    return type(value) is int and (kind.kind == "i" or value in (0, 1))


def _array(blob: bytes) -> np.ndarray:
    """Read what `_npy` wrote; the size is checked before memory is taken for it."""
    stream = io.BytesIO(blob)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError
    shape, fortran, kind = np.lib.format.read_array_header_1_0(stream)
    if fortran or kind != np.float64 or math.prod(shape) * 8 != len(blob) - stream.tell():
        raise ValueError
    return np.frombuffer(blob, kind, offset=stream.tell()).reshape(shape).copy()


def _plain(value: Any) -> Any:
    """Return what SQLite gives back for a value: it has NULL for NaN, no booleans, no NumPy."""
    value = value.item() if isinstance(value, np.generic) else value
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
