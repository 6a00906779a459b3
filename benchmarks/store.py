"""How many finished pairs a second the store takes, and how many workers deliver, in one run.

    python benchmarks/store.py

Each pair is a transaction of its own, on disk before the next; records are those of a real survey.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import nconvex as nc
from nconvex.pairs.records import FIELDS
from nconvex.pairs.store import Store

PAIRS = 2000
REPEATS = 5
SETTING = nc.survey.Setting(L0=1e-2)


def stored_a_second(records: list[tuple], beads: bool) -> float:
    """Store each record in a transaction."""
    one = nc.quad.problem(0)
    string = nc.run_pair(one, L0=1e-3).string
    assert string is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "s", FIELDS, {}, {}) as store,
    ):
        began = time.perf_counter()
        for record in records:
            store.add(record, string.beads if beads else None)
        return len(records) / (time.perf_counter() - began)


def delivered_a_second(workers: int) -> float:
    """Survey the easiest pairs there are, without a store."""
    began = time.perf_counter()
    nc.survey.run(SETTING, pairs=PAIRS // 4, workers=workers)
    return PAIRS // 4 / (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    record = nc.survey.run(SETTING, pairs=1).records.tolist()[0]
    records = [(0, pair, *record[2:]) for pair in range(PAIRS)]
    cores = os.cpu_count() or 1
    rows = [
        (
            stored_a_second(records, beads=False),
            stored_a_second(records, beads=True),
            delivered_a_second(1),
            delivered_a_second(cores),
        )
        for _ in range(REPEATS)
    ]
    bare, full, one, all_cores = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"the store takes            {bare:8.0f} pairs a second")
    print(f"with their strings         {full:8.0f}")
    print(f"one thread delivers        {one:8.0f}, at L0 = {SETTING.L0:g}, the easiest")
    print(f"{cores} threads deliver          {all_cores:8.0f}, {all_cores / one:.2f} times as many")


if __name__ == "__main__":
    main()
