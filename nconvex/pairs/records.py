"""Records of many pairs: one row a pair, statistics over them, tables and CSV.

Every pair has an outcome, and none is dropped:

===================  ==============================================================================
``connected``        the loss is at most L₀ (or the accepted multiple of it) all along the path
``bead_untrainable`` a bead stayed above α L₀ until its budget was spent
``depth_exhausted``  segments above L₀ are left at the full depth
``end_untrainable``  every start that was drawn for one of the ends stayed above L₀
===================  ==============================================================================

`OUTCOMES` has these and every other status.

Shares are of all pairs. Beads and lengths are known of connected pairs only, so their means are
over these. Read them beside the share: where few pairs connect, they are the means of the easy
ones.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nconvex.definitions import ConnectionStatus, Result, TrainingStatus, html_table
from nconvex.files import write_whole
from nconvex.pairs import intervals
from nconvex.pairs.setting import LONGEST_NAME, LONGEST_SHAPE, Setting

#: How a pair may end: every status of a search but for an interrupted one, which is no result, and
#: every one of a training that failed.
OUTCOMES = (
    *(s.name.lower() for s in ConnectionStatus if s is not ConnectionStatus.INTERRUPTED),
    *(f"end_{s.name.lower()}" for s in TrainingStatus if s is not TrainingStatus.TRAINED),
)

#: What a record repeats of its setting: names and NumPy types.
SETTING_FIELDS = (
    ("task", f"U{LONGEST_NAME}"), ("activation", "U10"), ("loss", "U8"),
    ("hidden", f"U{LONGEST_SHAPE}"),
    ("L0", "f8"), ("alpha", "f8"), ("depth", "i8"), ("accept", "f8"), ("sampler", "U16"),
)  # fmt: skip

#: Of a record: names and NumPy types. What is not known of a pair is not a number.
FIELDS = (
    ("setting", "i8"), ("pair", "i8"), *SETTING_FIELDS,
    ("outcome", f"U{max(map(len, OUTCOMES))}"), ("connected", "?"), ("certified", "?"),
    ("beads", "f8"), ("normalized_length", "f8"), ("path_length", "f8"),
    ("max_error_lower", "f8"), ("max_error", "f8"), ("line_max_error", "f8"),
    ("loss_1", "f8"), ("loss_2", "f8"), ("starts", "i8"), ("training_steps", "i8"),
    ("search_steps", "f8"), ("segments_above", "f8"), ("steepest", "f8"),
)  # fmt: skip

#: What the aggregates have with an interval.
ESTIMATES = ("share", "beads", "normalized_length", "search_steps", "training_steps")

#: Of the aggregates: one row a setting.
AGGREGATES = (
    ("setting", "i8"),
    ("pairs", "i8"),
    *((outcome, "i8") for outcome in OUTCOMES),
    *((f"{name}{end}", "f8") for name in ESTIMATES for end in ("", "_low", "_high")),
    ("strict", "i8"),
)


@dataclass(frozen=True, repr=False, eq=False)
class Survey(Result):
    """Records of many pairs; `nc.survey.run` and `load` return it.

    Attributes:
        settings: What was surveyed.
        pairs: Pairs of each setting.
        seed: Seed of the survey.
        records: Structured array with `FIELDS`, in the order of setting and pair; a pair that is
            not finished has no record.

    Example: see `run`.
    """

    settings: tuple[Setting, ...]
    pairs: int
    seed: tuple[int, ...]
    records: np.ndarray

    def __repr__(self) -> str:
        connected = f"{np.count_nonzero(self.records['connected'])} connected"
        finished = f"{len(self.records)} of {self.pairs * len(self.settings)} finished"
        several = f"{len(self.settings)} setting{'s' * (len(self.settings) != 1)}"
        surveyed = f"{several}, {self.pairs} pairs each, seed={self.seed}"
        return f"Survey({surveyed}: {finished}, {connected})"

    def _repr_html_(self) -> str:
        counts = {name: np.count_nonzero(self.records["outcome"] == name) for name in OUTCOMES}
        finished = f"{len(self.records)} of {self.pairs * len(self.settings)} pairs"
        rows = {"settings": str(len(self.settings)), "finished": finished}
        rows |= {name.replace("_", " "): str(count) for name, count in counts.items()}
        return html_table(rows, f"Survey: {self.verdict}")

    @property
    def complete(self) -> bool:
        """Whether every pair is finished."""
        return len(self.records) == self.pairs * len(self.settings)

    @property
    def verdict(self) -> str:
        """What is known of the connected pairs' paths: all proven, sampled, or some of each."""
        certified = self.records["certified"][self.records["connected"]]
        if certified.all():
            return "connected"
        return f"connected, {'some only ' if certified.any() else ''}sampled"

    def of(self, setting: int) -> np.ndarray:
        """Return one setting's records."""
        return np.asarray(self.records[self.records["setting"] == setting])

    def aggregates(self) -> np.ndarray:
        """Return one row a setting: counts of outcomes, shares and means with 95 % intervals.

        ``share`` is the connected share of all pairs, with Wilson's interval; ``beads`` and
        ``normalized_length`` are means over the connected pairs, ``search_steps`` over those whose
        ends were trained, ``training_steps`` over all, each with Student's t interval; ``strict``
        counts the paths that stay below L₀ itself. See `intervals`.
        """
        rows = []
        for setting in range(len(self.settings)):
            records = self.of(setting)
            connected = records[records["connected"]]
            searched = records[records["outcome"] != "end_untrainable"]
            count = len(connected)
            rows.append(
                (
                    setting,
                    len(records),
                    *(int(np.sum(records["outcome"] == outcome)) for outcome in OUTCOMES),
                    count / len(records) if len(records) else math.nan,
                    *intervals.wilson(count, len(records)),
                    *intervals.mean(connected["beads"]),
                    *intervals.mean(connected["normalized_length"]),
                    *intervals.mean(searched["search_steps"]),
                    *intervals.mean(records["training_steps"]),
                    int(np.sum(records["max_error"] <= records["L0"])),
                )
            )
        return np.array(rows, dtype=list(AGGREGATES))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the records, one line a pair; numbers that are not known are empty."""
        _write_csv(path, self.records, [{}] * len(self.records))

    def aggregates_to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the aggregates, one line a setting, after what varies between them."""
        _write_csv(path, self.aggregates(), self._labels())

    def table(self) -> str:
        """Return the aggregates as a Markdown table, aligned for reading as plain text."""
        labels = self._labels()
        names = [*labels[0], "pairs", f"{self.verdict} (Wilson 95 %)", "beads (t 95 %)"]
        names += ["normalized length (t 95 %)", "steps of search", "of training", "failures"]
        rows = [
            [
                *map(_short, label.values()),
                str(row["pairs"]),
                *(
                    estimate(row, name, digits)
                    for name, digits in zip(ESTIMATES, (2, 2, 3, 0, 0), strict=True)
                ),
                counted({outcome: row[outcome] for outcome in OUTCOMES[1:]}) or "none",
            ]
            for label, row in zip(labels, self.aggregates(), strict=True)
        ]
        return markdown([names, *rows])

    def _labels(self) -> list[dict[str, Any]]:
        """What tells each setting from the others."""
        described = [setting.described() for setting in self.settings]
        varying = [
            name
            for name in described[0]
            if len({repr(each[name]) for each in described}) > 1
            or name == "L0"
            or (name == "task" and any(setting.is_ones_own for setting in self.settings))
        ]
        return [{name: each[name] for name in varying} for each in described]


def fault(record: Mapping[str, Any], settings: Sequence[Setting], pairs: int) -> str:
    """Say why no survey of these settings makes a record; return "" if one may."""
    name = f"setting {record['setting']}, pair {record['pair']}"
    if not (0 <= record["setting"] < len(settings) and 0 <= record["pair"] < pairs):
        return f"{name} is not surveyed"
    setting = settings[record["setting"]]
    described = setting.described()
    searched = not record["outcome"].startswith("end_")
    low = record["max_error"] <= setting.accept * setting.L0
    counts = ["starts", "training_steps"]
    if searched:
        counts += ["beads", "search_steps", "segments_above"]
    holds = {
        **{field: record[field] == described[field] for field, _ in SETTING_FIELDS},
        "outcome": record["outcome"] in OUTCOMES,
        "connected": record["connected"] == low == (record["outcome"] == "connected"),
        "certified": searched or not record["certified"],
        **{field: record[field] == min(max(record[field], 0), 2**53) // 1 for field in counts},
        "normalized_length": not record["normalized_length"] < 1.0,
        "path_length": not record["path_length"] < 0.0,
        "max_error_lower": not record["max_error_lower"] > record["max_error"],
        "steepest": not record["steepest"] < 0.0,
    }
    wrong = [field for field, true in holds.items() if not true]
    return f"{wrong[0]} of {name} is {record[wrong[0]]!r}, which cannot be" if wrong else ""


# -- Text -----------------------------------------------------------------------------------------


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, aligned for reading as plain text; the first row names columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def estimate(row: np.void, name: str, digits: int) -> str:
    """Write an aggregate with its interval, or "-" where it is not known."""
    middle, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(middle):
        return "-"
    interval = "" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{middle:.{digits}f}{interval}"


def counted(outcomes: Mapping[str, int]) -> str:
    """Write how often each outcome occurred."""
    return ", ".join(
        f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items() if count
    )


def _write_csv(
    path: str | os.PathLike[str], rows: np.ndarray, labels: Sequence[Mapping[str, Any]]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(labels[0] if labels else ()), *(rows.dtype.names or ())])
    for label, row in zip(labels, rows.tolist(), strict=True):
        writer.writerow([*map(_short, label.values()), *map(_short, row)])
    document = text.getvalue().encode()
    write_whole(path, lambda file: file.write(document))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)
