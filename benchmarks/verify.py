"""The independent checker on strings of QUAD and MNIST: verdicts, intervals, time, memory.

    python benchmarks/verify.py --data FOLDER

Each pair is trained and connected, its string saved with its problem, and the file given to
`nconvex/verify.py`, which shares no line with the certificate, as a program of its own. Without
--data, all of MNIST is left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nconvex as nc
from nconvex import verify

# Linux counts to a child what its parent held, but for VmHWM, which begins anew with a program.
PROGRAM = """
import resource, runpy, sys
try:
    runpy.run_path(sys.argv.pop(1), run_name="__main__")
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(used.ru_utime + used.ru_stime, peak.split()[1], file=sys.stderr)
"""


def check(path):
    """Run the checker on a file: what it found, seconds, seconds of processors, peak memory MB."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, verify.__file__, str(path), "--json"],
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    cpu, kilobytes = done.stderr.splitlines()[-1].split()
    return json.loads(done.stdout), seconds, float(cpu), float(kilobytes) / 1e3


def spread(numbers, digits):
    """Median and largest."""
    return f"median {statistics.median(numbers):.{digits}f}, most {max(numbers):.{digits}f}"


def report(name, files):
    """Check (path, whether it is connected) one by one and print what it took."""
    rows, proven, connected, wrong = [], 0, 0, 0
    for path, is_connected in files:
        found, *cost = check(path)
        started = time.process_time()
        with np.errstate(all="ignore"):
            verify.search(verify.Path(path), found["L0"])
        rows.append((*cost, time.process_time() - started, found["intervals"]))
        proven += found["verdict"] == "proven"
        connected += is_connected
        wrong += bool(found["false_claims"]) or (found["verdict"] == "proven") != is_connected
    seconds, cpu, memory, search, intervals = zip(*rows, strict=True)
    print(
        f"{name}: {len(rows)} strings, {connected} connected, {proven} proven, {wrong} at odds\n"
        f"  as a program: seconds {spread(seconds, 2)}; of processors {spread(cpu, 2)}; "
        f"memory in MB {spread(memory, 0)}\n"
        f"  without Python's start: seconds of processors {spread(search, 3)}; "
        f"intervals {spread(intervals, 0)}; {os.getloadavg()[0]:.1f} processes wanted the "
        f"{os.cpu_count()} cores",
        flush=True,
    )


def saved(problems, L0, folder):
    """Connect a pair of each problem, and save its string."""
    for seed, problem in problems:
        string = nc.run_pair(problem, L0=L0, seed=seed).string
        if string is not None:
            path = folder / "string.npz"
            string.save(path, problem)
            yield path, string.connected


def main():
    """Check all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder with the four IDX files of MNIST")
    parser.add_argument("--seeds", type=int, default=100, help="pairs of QUAD")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quads = ((seed, nc.quad.problem(seed)) for seed in range(args.seeds))
        report("QUAD 1-4-4-1, L0 = 1e-3", saved(quads, 1e-3, folder))
        for metric, L0 in (("loss", 0.4), ("error", 0.1)):
            subset = nc.mnist.problem(metric=metric)
            pairs = ((seed, subset) for seed in range(args.seeds // 5))
            report(f"MNIST subset 784-256-10, {metric}, L0 = {L0}", saved(pairs, L0, folder))
        for metric, L0 in (("loss", 0.15), ("error", 0.025)) if args.data else ():
            full = [(0, nc.mnist.problem(args.data, metric=metric))]
            report(f"MNIST, {metric}, L0 = {L0}", saved(full, L0, folder))


if __name__ == "__main__":
    main()
