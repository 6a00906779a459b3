"""A CSV file with a header, read as columns of numbers and of categories.

The file is data only: its size is known before its rows take memory, and whatever is wrong with it
is told with its line and column.
"""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nconvex.definitions import NconvexError, shown

#: Largest file, in bytes.
MOST_BYTES = 2**28

#: Different texts that a column of inputs may hold: each becomes an input of its own.
CATEGORIES = 20

#: Different texts that a target may hold.
CLASSES = 1000

#: What may stand between two values.
DELIMITERS = (",", ";", "\t")

#: What stands for a value that is missing, in small letters.
MISSING = ("", "na", "n/a", "nan", "?")


@dataclass(frozen=True)
class Column:
    """One column, of numbers or of text.

    Attributes:
        name: From the header.
        values: (N,) float64 numbers, or the place of each row's text among the categories.
        categories: The different texts, sorted; empty where the values are numbers.
    """

    name: str
    values: np.ndarray
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file that have all their values.

    Attributes:
        name: The file's, for messages.
        inputs: Columns of inputs, in their order.
        target: The column to predict.
        left_out: Rows that were left out, as a value was missing.
    """

    name: str
    inputs: tuple[Column, ...]
    target: Column
    left_out: int


def read_table(
    path: str | os.PathLike[str],
    target: str,
    drop: Collection[str] = (),
    delimiter: str | None = None,
    drop_missing: bool = False,
) -> Table:
    """Read a CSV file.

    Args:
        path: The file: UTF-8, its first line names the columns.
        target: The column to predict.
        drop: Columns to leave out.
        delimiter: One character; by default the one of `DELIMITERS` that the header holds most.
        drop_missing: Leave out rows in which a value is missing.

    Raises:
        NconvexError: The file cannot be read, or is no such table; it says where and why.
    """
    name = os.fspath(path)
    data = _bytes(name)
    delimiter = _sniffed(data) if delimiter is None else delimiter
    rows = _rows(name, data, delimiter)
    first, header = next(rows, (1, []))
    names = [text.strip() for text in header]
    kept = _kept(name, names, target, {text.strip() for text in drop})
    building = [
        (k, _Building(name, names[k], CLASSES if names[k] == target else CATEGORIES)) for k in kept
    ]
    missing, gap = 0, ""
    for line, row in rows:
        if len(row) != len(names):
            raise NconvexError(
                f"{name}, line {line}: {len(row)} values, but line {first} names {len(names)} "
                f"columns (separated by {delimiter!r}); --delimiter chooses another separator"
            )
        absent = [names[k] for k in kept if row[k].strip().casefold() in MISSING]
        if absent:
            gap = gap or f"{name}, line {line}: column {absent[0]!r} has no value"
            missing += 1
            continue
        for k, column in building:
            column.add(row[k].strip(), line)
    if missing and not drop_missing:
        raise NconvexError(
            f"{gap}; --drop-missing leaves out such rows ({missing} in all), --drop a column"
        )
    columns = [column.finished() for _, column in building]
    if not columns[0].values.size:
        raise NconvexError(f"{name} has no row with a value in each column; there is nothing to do")
    (goal,) = (column for column in columns if column.name == target)
    inputs = tuple(column for column in columns if column.name != target)
    return Table(name, inputs, goal, missing)


class _Building:
    """A column while its file is read: numbers as long as all are, and texts while they are few."""

    def __init__(self, file: str, name: str, most: int):
        self.file, self.name, self.most = file, name, most
        self.numbers: array[float] | None = array("d")
        self.codes: array[int] | None = array("H")
        self.seen: dict[str, int] = {}
        self.text = ""

    def add(self, text: str, line: int) -> None:
        if self.numbers is not None:
            number = _number(text)
            if number is None:
                self.numbers, self.text = None, f"{shown(text)} on line {line}"
            elif abs(number) == np.inf:
                raise NconvexError(
                    f"{self.file}, line {line}: column {self.name!r} is {shown(text)}, which is "
                    "not finite; correct it, or --drop the column"
                )
            else:
                self.numbers.append(number)
        if self.codes is not None:
            code = self.seen.setdefault(text, len(self.seen))
            if len(self.seen) > self.most:
                self.codes = None
                self.seen.clear()
            else:
                self.codes.append(code)
        if self.numbers is None and self.codes is None:
            raise NconvexError(
                f"{self.file}: column {self.name!r} holds text, e.g. {self.text}, and more than "
                f"{self.most} different values; correct it, or leave it out with --drop "
                f"{self.name!r}"
            )

    def finished(self) -> Column:
        if self.numbers is not None:
            return Column(self.name, np.array(self.numbers), ())
        assert self.codes is not None
        categories = sorted(self.seen)
        place = np.empty(len(categories))
        place[[self.seen[text] for text in categories]] = np.arange(len(categories))
        return Column(self.name, place[np.array(self.codes)], tuple(categories))


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # Python's own 1_000 is text elsewhere
    except ValueError:
        return None


def _bytes(name: str) -> bytes:
    """All of a file, if it is not too large and may be text."""
    try:
        with open(name, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise NconvexError(f"cannot read {name}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL byte in the name
        raise NconvexError(f"cannot read {shown(name)}: {error}") from None
    if len(data) > MOST_BYTES:
        raise NconvexError(
            f"{name} has more than {MOST_BYTES >> 20} MB; give fewer rows or columns of it"
        )
    if b"\0" in data:
        raise NconvexError(
            f"{name} holds NUL bytes, so it is no UTF-8 text; export it as CSV UTF-8"
        )
    return data


def _sniffed(data: bytes) -> str:
    """The delimiter that makes most columns of the header."""
    line = data[: 2**20].decode("utf-8-sig", "replace").lstrip("\r\n")
    counts = []
    for delimiter in DELIMITERS:
        try:
            header = next(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter), [])
        except csv.Error:  # told by `_rows`
            header = []
        counts.append(len(header))
    return DELIMITERS[int(np.argmax(counts))]


def _rows(name: str, data: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of the line on which it ends."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    try:
        reader = csv.reader(text, delimiter=delimiter)
    except (TypeError, ValueError):
        raise NconvexError(
            f"the delimiter must be one character, not {delimiter!r}; e.g. --delimiter ';'"
        ) from None
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            raise NconvexError(
                f"{name}, line {_first_bad_line(data)}: this is no UTF-8 text; export it as CSV "
                "UTF-8"
            ) from None
        except csv.Error as error:
            raise NconvexError(f"{name}, line {reader.line_num}: {error}") from None
        if row:
            yield reader.line_num, row


def _first_bad_line(data: bytes) -> int:
    """The number of the line where bytes stop being UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return 1 + data.count(b"\n", 0, error.start)
    return 1


def _kept(name: str, names: Sequence[str], target: str, drop: Collection[str]) -> list[int]:
    """The places of the target and of the inputs; refuses a header that is none."""
    if not names:
        raise NconvexError(f"{name} is empty; its first line must name the columns")
    if all(_number(text) is not None for text in names):
        raise NconvexError(
            f"{name} begins with numbers, {shown(list(names))}; its first line must name "
            "the columns"
        )
    listed = _listed(names)
    for what, wanted in (("--target", [target]), ("--drop", sorted(drop))):
        for each in wanted:
            if each not in names:
                raise NconvexError(f"{what} {each!r} is no column of {name}; it has {listed}")
    if target in drop:
        raise NconvexError(f"--target {target!r} is also left out by --drop; choose one of them")
    kept = [k for k, each in enumerate(names) if each not in drop]
    for k in kept:
        if not names[k]:
            raise NconvexError(
                f"column {k + 1} of {name} has no name; give it one, or leave it out with --drop ''"
            )
        if names.index(names[k]) != k:
            raise NconvexError(
                f"{name} names columns {names.index(names[k]) + 1} and {k + 1} alike, "
                f"{names[k]!r}; rename one"
            )
    if len(kept) < 2:
        raise NconvexError(
            f"{name} has no column of inputs besides {target!r}; it has {listed}; --delimiter "
            "chooses what separates them"
        )
    return kept


def _listed(names: Sequence[str], most: int = 30) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(each) for each in names[:most]) + more
