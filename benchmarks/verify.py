"""The independent checker on strings of QUAD and MNIST: verdicts, intervals, time, memory.

    python benchmarks/verify.py --data FOLDER

Each pair is trained and connected, its string saved with its problem, and the file given to
`nconvex/verify.py`, which shares no line with the certificate. Without --data, all of MNIST is
left out.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nconvex as nc
from nconvex import verify


def verified(name, problems, L0, folder):
    """Connect a pair of each problem, verify its string, and print what it took."""
    seconds, intervals, proven, connected, wrong = [], [], 0, 0, 0
    for seed, problem in problems:
        string = nc.run_pair(problem, L0=L0, seed=seed).string
        if string is None:
            continue
        path = folder / "string.npz"
        string.save(path, problem)
        begun = time.process_time()
        with np.errstate(all="ignore"):
            found = verify.search(verify.Path(path), L0)
        seconds.append(time.process_time() - begun)
        intervals.append(found["intervals"])
        proven += found["verdict"] == "proven"
        connected += string.connected
        wrong += bool(found["false_claims"]) or (found["verdict"] == "proven") != string.connected
    print(
        f"{name}: {len(seconds)} strings, {connected} connected, {proven} proven, {wrong} at odds; "
        f"processor seconds median {statistics.median(seconds):.3f}, most {max(seconds):.3f}; "
        f"intervals median {statistics.median(intervals):.0f}, most {max(intervals)}",
        flush=True,
    )


def main():
    """Run all, and the checker as a program of its own on the last string."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder with the four IDX files of MNIST")
    parser.add_argument("--seeds", type=int, default=100, help="pairs of QUAD")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quads = ((seed, nc.quad.problem(seed)) for seed in range(args.seeds))
        verified("QUAD 1-4-4-1, L0 = 1e-3", quads, 1e-3, folder)
        subset = nc.mnist.problem()
        pairs = ((seed, subset) for seed in range(args.seeds // 5))
        verified("MNIST subset 784-256-10, L0 = 0.4", pairs, 0.4, folder)
        subset = nc.mnist.problem(metric="error")
        pairs = ((seed, subset) for seed in range(args.seeds // 5))
        verified("MNIST subset, share of errors, L0 = 0.1", pairs, 0.1, folder)
        if args.data:
            verified("MNIST, L0 = 0.15", [(0, nc.mnist.problem(args.data))], 0.15, folder)
            verified(
                "MNIST, errors", [(0, nc.mnist.problem(args.data, metric="error"))], 0.025, folder
            )
        begun = time.perf_counter()
        subprocess.run([sys.executable, verify.__file__, str(folder / "string.npz")], check=True)
        seconds = time.perf_counter() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"the last one as a program: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of "
            f"processors, {used.ru_maxrss / 1e3:.0f} MB"
        )


if __name__ == "__main__":
    main()
