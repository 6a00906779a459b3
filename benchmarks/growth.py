"""How the cost grows: time against samples, width, depth, beads and workers, with exponents.

    python benchmarks/growth.py [--short]

Each curve changes one number and keeps the others: 1-4-4-1 with ReLU, N = 1000. The exponent is the
slope of log time over log number, fitted to the upper half of each curve, where constant costs no
longer matter. Writes growth.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from matplotlib.figure import Figure

import nconvex as nc
from nconvex import definitions


def best(work: Callable[[], object], repeats: int = 5) -> float:
    """Time the fastest of several calls, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def costs(model: nc.MLP, samples: int) -> dict[str, float]:
    """Time loss and gradient, a descent's step, and a certified segment of random networks."""
    settings = nc.RMSProp(budget=1_000, check_every=1_000)
    problem = nc.quad.problem(0, model=model, samples=samples, rmsprop=settings)
    rng = np.random.default_rng(0)
    a, b = problem.initial(rng), problem.initial(rng)
    return {
        "loss and gradient": best(lambda: problem.loss_and_gradient(a), 20),
        "step": best(lambda: problem.descend(a, 1e-30, rng)) / 1_000,
        "certified segment": best(lambda: problem.bracket(a, b)),
    }


def exponent(x: list[float], y: list[float]) -> float:
    """Slope of log y over log x on the upper half."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="few points, for errors")
    short = parser.parse_args().short
    curves: dict[str, tuple[list[float], dict[str, list[float]]]] = {}
    for name, numbers, model, samples in (
        ("samples N", [250, 1000, 4000, 16000, 64000], lambda n: nc.MLP((1, 4, 4, 1)), lambda n: n),
        ("width h of 1-h-h-1", [4, 8, 16, 32, 64], lambda n: nc.MLP((1, n, n, 1)), lambda n: 1000),
        ("hidden layers of 8", [1, 2, 3, 4, 5], lambda n: nc.MLP((1, *[8] * n, 1)), lambda n: 1000),
    ):
        numbers = numbers[:3] if short else numbers
        rows = [costs(model(n), samples(n)) for n in numbers]
        curves[name] = (
            [float(n) for n in numbers],
            {work: [row[work] for row in rows] for work in rows[0]},
        )
    problem = nc.quad.problem(0)
    beads, search = [], []
    for L0 in (3e-3, 1e-3, 3e-4) if short else (1e-2, 3e-3, 1e-3, 6e-4, 3e-4):
        pairs = [nc.run_pair(problem, L0=L0, seed=seed) for seed in range(3 if short else 20)]
        strings = [pair.string for pair in pairs if pair.string is not None]
        beads.append(float(np.mean([string.n_beads for string in strings])))

        def connect(strings: list[nc.String] = strings, L0: float = L0) -> None:
            for string in strings:
                nc.connect(problem, string.beads[0], string.beads[-1], L0=L0, seed=string.seed)

        search.append(best(connect, 3) / len(strings))
    curves["beads of a string"] = (beads, {"search, certificate included": search})
    starts = [problem.initial(np.random.default_rng(k)) for k in range(8 if short else 64)]
    descending = nc.quad.problem(0, rmsprop=nc.RMSProp(budget=5_000, check_every=5_000))
    workers, together = [1.0, 2.0], []
    for count in (1, 2):
        with ThreadPoolExecutor(count) as pool:

            def run(pool: ThreadPoolExecutor = pool) -> None:
                def descend(theta: np.ndarray) -> definitions.Descent:
                    return descending.descend(theta, 1e-30, np.random.default_rng(0))

                list(pool.map(descend, starts))

            together.append(best(run, 3))
    curves["workers (threads)"] = (workers, {f"{len(starts)} models x 5,000 steps": together})

    figure = Figure(figsize=(15, 4.2), layout="constrained")
    for axes, (name, (x, lines)) in zip(
        figure.subplots(1, len(curves)), curves.items(), strict=True
    ):
        for (label, y), colour, marker in zip(
            lines.items(), ("#0072B2", "#009E73", "#D55E00"), "o^s", strict=False
        ):
            power = exponent(x, y) if len(x) > 2 else float(np.log2(y[1] / y[0]))
            axes.loglog(x, y, color=colour, marker=marker, ms=4, label=f"{label}: {power:.2f}")
            axes.set_xticks(x, [f"{number:.0f}" for number in x], minor=False)
            axes.set_xticks([], minor=True)
            values = ", ".join(f"{a:g}: {1e3 * b:.3g} ms" for a, b in zip(x, y, strict=True))
            print(f"{name}, {label}: exponent {power:.2f} ({values})")
        axes.set(xlabel=name, ylabel="seconds")
        axes.legend(
            frameon=False, fontsize=8, title="exponent", title_fontsize=8,
            loc="lower center", bbox_to_anchor=(0.5, 1.0),
        )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("growth.png", dpi=130)
    print("written to growth.png")


if __name__ == "__main__":
    main()
