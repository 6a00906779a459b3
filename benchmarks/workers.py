"""Surveys on one thread, two threads and two processes: pairs a second.

    python benchmarks/workers.py

QUAD in the draft's setting, training, search and certificate included. The three take turns; the
medians of nine turns are compared. Starting the processes is apart.
"""

from __future__ import annotations

import statistics
import time

import nconvex as nc
from nconvex.pairs import job
from nconvex.pairs.workers import Processes

PAIRS = {1e-2: 400, 1e-3: 200, 1e-4: 40}


def main() -> None:
    """Print a table."""
    began = time.perf_counter()
    with Processes(2) as pool:
        nc.survey.run(nc.survey.grid(L0=1e-2), pairs=8, executor=pool)
        print(f"two processes are ready after {time.perf_counter() - began:.1f} s\n")
        print("| L0 | one thread, pairs a second | two threads | two processes |")
        print("| --- | --- | --- | --- |")
        for L0, pairs in PAIRS.items():
            ways = {
                "one": {"workers": 1},
                "threads": {"workers": 2},
                "processes": {"executor": pool},
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            for turn in range(10):
                for way, options in ways.items():
                    job.forget()  # else the second way would train no ends
                    began = time.perf_counter()
                    nc.survey.run(nc.survey.grid(L0=L0), pairs=pairs, seed=turn, **options)
                    times[way].append(time.perf_counter() - began)
            one, threads, apart = (statistics.median(of[1:]) for of in times.values())
            print(
                f"| {L0:g} | {pairs / one:.0f} | {one / threads:.2f}x | {one / apart:.2f}x |",
                flush=True,
            )


if __name__ == "__main__":
    main()
