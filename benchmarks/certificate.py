"""A certified segment beside a grid of 100 points, in one run.

    python benchmarks/certificate.py

For each kind of network, segments between two trained networks: the time of γ at 100 points, the
time of a bracket of max γ to a relative gap of 1e-3, and their ratio; medians over the segments of
the best of five interleaved repeats, compiled before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import nconvex as nc

POINTS = np.linspace(0.0, 1.0, 100)
REPEATS = 5
L0 = {"mse": 1e-3, "mae": 0.03}


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(sizes: tuple[int, ...], activation: str, loss: str, segments: int) -> list[float]:
    """Median times of grid and bracket, their median ratio, and the widest gap."""
    problem = nc.quad.problem(0, model=nc.MLP(sizes, activation), loss=loss)
    rows = []
    for pair in range(segments):
        a, b = (nc.train(problem, L0[loss], seed=2 * pair + end).theta for end in (0, 1))
        problem.gamma(a, b, POINTS)
        peak = problem.bracket(a, b)
        times = [
            (seconds(lambda: problem.gamma(a, b, POINTS)), seconds(lambda: problem.bracket(a, b)))  # noqa: B023
            for _ in range(REPEATS)
        ]
        grid, bracket = (min(column) for column in zip(*times, strict=True))
        rows.append((grid, bracket, bracket / grid, peak.upper / peak.lower - 1.0))
    columns = list(zip(*rows, strict=True))
    return [statistics.median(column) for column in columns[:3]] + [max(columns[3])]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=17, help="of each kind (default 17)")
    segments = parser.parse_args().segments
    kinds = [
        ((1, 4, 4, 1), activation, loss, segments)
        for activation in ("relu", "sigmoid", "tanh")
        for loss in L0
    ]
    kinds += [((1, h, h, 1), "relu", "mse", max(1, segments // 3)) for h in (8, 16, 32, 64)]
    print(f"{'network':24} {'grid, 100':>11} {'bracket':>11} {'ratio':>6} {'widest gap':>11}")
    for sizes, activation, loss, count in kinds:
        grid, bracket, ratio, gap = measure(sizes, activation, loss, count)
        name = f"{'-'.join(map(str, sizes))} {activation} {loss}"
        print(f"{name:24} {grid * 1e3:8.3f} ms {bracket * 1e3:8.3f} ms {ratio:6.2f} {gap:11.1e}")


if __name__ == "__main__":
    main()
