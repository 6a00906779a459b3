"""Descents on sparse and on dense inputs: from what share of non-zero ones on which is faster?

    python benchmarks/dense.py

50 steps of 784-128-10 and 784-256-10 on batches of 100 images of noise, of which some pixels are
not zero, in milliseconds a step, both ways: the crossing is `classification.DENSE`.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import nconvex as nc
from nconvex.network import classification

STEPS = 50


def step(h: int, share: float, limit: float) -> float:
    """Milliseconds of a step, the descents being dense above a limit."""
    classification.DENSE = limit
    rng = np.random.default_rng(0)
    X = rng.random((4000, 784)) * (rng.random((4000, 784)) < share)
    labels = rng.integers(0, 10, 4000)
    settings = nc.RMSProp(budget=STEPS, check_every=STEPS)
    problem = nc.Classification(
        nc.MLP((784, h, 10)), X, labels, X[:10], labels[:10], settings, batch=100
    )
    theta = problem.initial(rng)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        problem.descend(theta, 1e-9, rng)
        times.append(1e3 * (time.perf_counter() - began) / STEPS)
    return statistics.median(times[1:])


def main() -> None:
    """Print the table."""
    for h in (128, 256):
        for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0):
            sparse, dense = step(h, share, 1.0), step(h, share, 0.0)
            print(
                f"784-{h}-10, {share:.0%} not zero: sparse {sparse:.2f} ms, dense {dense:.2f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
