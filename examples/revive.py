"""A search that finds more: what reviving stuck networks does on 100 pairs.

    python examples/revive.py

Small ReLU networks are hard to connect at low thresholds, though not for want of paths: a network
whose units have died, or do what other units do, sits on the plateau of a smaller one. The sampler
"revive" folds such units away, at no change of loss, draws them anew, and goes on
(`nconvex.network.redundancy`, `nconvex.samplers.revival`). Here pair k is that of seed k, as in

    python -m nconvex.quad --L0 0.0001 --seed K --sampler revive

and both samplers are run on it. Every gradient evaluation of the search counts, those of failed
attempts included; every path is certified. Then `nc.tighten` shortens the paths. Seconds are for
all pairs on all cores, training and certificate included, tightening not.
"""

import argparse
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import nconvex as nc

LEVELS = (3e-4, 1e-4, 3e-5)
COLUMNS = (
    "L0", "sampler", "connected, proven", "evaluations, mean", "median", "beads",
    "normalized length", "beads, tightened", "normalized length, tightened", "seconds",
)  # fmt: skip


def find(job):
    """Train and connect the pair of a seed; a string, or None if an end cannot be trained."""
    seed, L0, sampler = job
    return nc.run_pair(nc.quad.problem(seed=seed), L0=L0, seed=seed, sampler=sampler).string


def shorten(job):
    """Tighten a string."""
    seed, string = job
    return nc.tighten(nc.quad.problem(seed=seed), string).after


def main():
    """Print a line for each threshold and sampler."""
    parser = argparse.ArgumentParser(description="Compare the plain and the reviving sampler.")
    parser.add_argument("--pairs", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first (default 0)")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.pairs)
    find((0, 1e-2, "revive"))  # compiles the kernels
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for L0 in LEVELS:
        for sampler in ("plain", "revive"):
            began = time.perf_counter()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                strings = list(pool.map(find, [(seed, L0, sampler) for seed in seeds]))
            seconds = time.perf_counter() - began
            pairs = [(k, s) for k, s in zip(seeds, strings, strict=True) if s and s.connected]
            assert all(string.certified for _, string in pairs)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                tight = list(pool.map(shorten, pairs))
            spent = [string.gradient_evaluations for string in strings if string]
            cells = [f"{L0:g}", sampler, f"{len(pairs)}/{len(seeds)}"]
            cells += [f"{statistics.mean(spent):.0f}", f"{statistics.median(spent):.0f}"]
            for some in ([string for _, string in pairs], tight):
                cells.append(f"{statistics.mean(s.n_beads for s in some):.1f}")
                cells.append(f"{statistics.mean(s.normalized_length for s in some):.2f}")
            print("| " + " | ".join([*cells, f"{seconds:.1f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
