"""γ at 101 points on 10,000 images, beside 101 forward passes in NumPy, in one run.

    python benchmarks/mnist_gamma.py [FOLDER]

FOLDER has the four files of MNIST; by default those of NCONVEX_MNIST or the cache. A 784-256-10
network, float64 on both sides; medians of interleaved repeats, compiled before. "Warm" has both
ends' first layers, "cold" computes them.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import nconvex as nc

POINTS = np.linspace(0.0, 1.0, 101)
REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def forward_passes(
    problem: nc.Classification, X: np.ndarray, a: np.ndarray, b: np.ndarray
) -> list[float]:
    """γ as anybody would write it: the whole network at each point."""
    rows = np.arange(len(X))
    losses = []
    for t in POINTS:
        layers = problem.model.unpack(nc.interpolate(a, b, float(t)))
        z = X
        for W, bias in layers[:-1]:
            z = np.maximum(z @ W + bias, 0.0)
        W, bias = layers[-1]
        z = z @ W + bias
        top = z.max(axis=1)
        log_sum = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top
        losses.append(float(np.mean(log_sum - z[rows, problem.labels_test])))
    return losses


def main() -> None:
    """Print the table."""
    try:
        problem = nc.mnist.problem(sys.argv[1] if len(sys.argv) > 1 else "full")
    except nc.NconvexError as error:
        sys.exit(f"mnist_gamma.py: {error}")
    rng = np.random.default_rng(0)
    a, b = problem.initial(rng), problem.initial(rng)
    X = problem.X_test.astype(np.float64)

    def cold() -> np.ndarray:
        problem._memory = type(problem._memory)()
        return problem.gamma(a, b, POINTS)

    np.testing.assert_allclose(cold(), forward_passes(problem, X, a, b), rtol=1e-12)
    rows = [
        (
            seconds(lambda: forward_passes(problem, X, a, b)),
            seconds(cold),
            seconds(lambda: problem.gamma(a, b, POINTS)),
        )
        for _ in range(REPEATS)
    ]
    numpy, cold_time, warm = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"101 NumPy forward passes          {numpy * 1e3:8.1f} ms")
    print(f"nconvex, first layers computed    {cold_time * 1e3:8.1f} ms  {numpy / cold_time:6.1f}x")
    print(f"nconvex, first layers remembered  {warm * 1e3:8.1f} ms  {numpy / warm:6.1f}x")


if __name__ == "__main__":
    main()
