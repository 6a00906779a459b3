"""All benchmarks, beside peers, in one table.

    python benchmarks/suite.py [--short] [--data FOLDER] [--out NAME]

Each row: our time, each peer's time and its ratio to ours, compile time apart. Ours and the peers'
calls alternate within one run, all on one core; times are medians, spreads half the range between
the quartiles. Peers that are not installed are skipped, and that is said: JAX, PyTorch,
scikit-learn come with the extra `benchmarks`. --data names the folder with all of MNIST, without
which its rows are left out. NAME.json and NAME.md are written, the latter for the README. --short
runs everything once on little, for errors rather than for speed.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_ENABLE_X64", "1")
ALL_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
if ALL_CORES:  # before anything is imported that counts the cores; JAX takes all that it sees
    os.sched_setaffinity(0, {max(ALL_CORES)})

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import peers

import nconvex as nc
from nconvex.kernels import classifier

Work = Callable[[], object]
T101 = np.linspace(0.0, 1.0, 101)


class Suite:
    """Measures rows and prints them as they come."""

    def __init__(self, repeats: int):
        self.repeats = repeats
        self.rows: list[dict[str, object]] = []

    def row(
        self,
        name: str,
        ours: Work,
        others: dict[str, tuple[Work, float]],
        calls: int = 1,
    ) -> None:
        """Measure one row.

        Args:
            name: What is done.
            ours: Our way.
            others: Peers' ways, each with the factor by which its work is less than ours.
            calls: Of ours in one measurement.
        """
        ways = {"ours": (ours, 1.0), **others}
        first = {way: seconds(work, 1) for way, (work, _) in ways.items()}
        warm = {way: seconds(work, 1) for way, (work, _) in ways.items()}
        counts = {way: max(1, min(calls, int(0.05 / warm[way]))) for way in ways}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(self.repeats):
            for way, (work, factor) in ways.items():
                times[way].append(factor * seconds(work, counts[way]))
        median = {way: statistics.median(of) for way, of in times.items()}
        spread = {way: half_quartiles(of) for way, of in times.items()}
        entry: dict[str, object] = {
            "row": name,
            "ours_seconds": median["ours"],
            "ours_spread": spread["ours"],
            "first_call_seconds": first["ours"],
            "peers": {
                way: {
                    "seconds": median[way],
                    "spread": spread[way],
                    "ratio": median[way] / median["ours"],
                    "first_call_seconds": first[way],
                }
                for way in others
            },
        }
        self.rows.append(entry)
        print(line(entry), flush=True)


def seconds(work: Work, calls: int) -> float:
    """Time one of several calls."""
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def half_quartiles(times: list[float]) -> float:
    """Half the distance of the quartiles."""
    return float(np.subtract(*np.percentile(times, [75, 25])) / 2)


def human(value: float) -> str:
    """Write seconds in a unit that fits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale or unit == "µs":
            return f"{value / scale:.3g} {unit}"
    raise AssertionError


def line(entry: dict[str, object]) -> str:
    """One row of the Markdown table."""
    others = entry["peers"]
    assert isinstance(others, dict)
    ours = entry["ours_seconds"]
    spread = entry["ours_spread"]
    assert isinstance(ours, float)
    assert isinstance(spread, float)
    cells = [f"{way} {peer['ratio']:.3g}x" for way, peer in others.items()]
    return (
        f"| {entry['row']} | {human(ours)} ± {human(spread)} | {', '.join(cells)} | "
        f"{human(entry['first_call_seconds'])} |"  # type: ignore[arg-type]
    )


def quad_rows(suite: Suite, short: bool) -> None:
    """The polynomial: gradient, descent, γ, certificate, many models, a whole pair."""
    problem = nc.quad.problem(0)
    rng = np.random.default_rng(0)
    a, b = problem.initial(rng), problem.initial(rng)
    steps = 200 if short else 10_000
    few = 20 if short else 1_000
    quad = peers.Quad(problem.X, problem.y, problem.X_test, problem.y_test)
    suite.row(
        "QUAD loss + gradient, 1-4-4-1, N = 1000",
        lambda: problem.engine.loss_and_gradient(a),
        quad.gradient(a),
        200,
    )
    settings = nc.RMSProp(budget=steps, check_every=steps)
    descending = nc.quad.problem(0, rmsprop=settings)
    suite.row(
        f"QUAD {steps:,} RMSProp steps",
        lambda: descending.descend(a, 1e-30, rng),
        quad.descent(a, steps, few, settings),
        1,
    )
    suite.row(
        "QUAD gamma at 101 points",
        lambda: problem.gamma(a, b, T101),
        quad.gamma(a, b, T101),
        20,
    )
    c, d = (nc.train(problem, 1e-3, seed=seed).theta for seed in (1, 2))
    suite.row(
        "QUAD segment bracketed to 1e-3, with proof (peer: our own 101-point grid)",
        lambda: problem.bracket(c, d),
        {"grid": (lambda: problem.gamma(c, d, T101), 1.0)},
        20,
    )
    proof_rows(suite, 2 if short else 10)
    starts = [problem.initial(rng) for _ in range(8 if short else 64)]
    long = 500 if short else 5_000
    many = nc.quad.problem(0, rmsprop=nc.RMSProp(budget=long, check_every=long))
    if ALL_CORES:
        os.sched_setaffinity(0, ALL_CORES)
    with ThreadPoolExecutor(2) as pool:
        suite.row(
            f"{len(starts)} QUAD models x {long:,} steps, two threads (peer: our one thread)",
            lambda: list(pool.map(lambda theta: many.descend(theta, 1e-30, rng), starts)),
            {"one thread": (lambda: [many.descend(s, 1e-30, rng) for s in starts], 1.0)},
        )
    if ALL_CORES:
        os.sched_setaffinity(0, {max(ALL_CORES)})
    seeds = iter(range(10_000))
    suite.row(
        "QUAD pair end to end, L0 = 1e-3",
        lambda: nc.run_pair(problem, L0=1e-3, seed=next(seeds) % 10),
        quad.pair(1e-3, problem),
        1 if short else 10,
    )


def proof_rows(suite: Suite, pairs: int) -> None:
    """Segments of finished strings, decided against L₀ as the sampler does."""
    for activation, hidden in (("relu", (4, 4)), ("tanh", (4, 4)), ("relu", (32, 32))):
        problem = nc.quad.problem(0, model=nc.MLP((1, *hidden, 1), activation))
        segments: list[tuple[np.ndarray, np.ndarray]] = []
        for seed in range(pairs):
            string = nc.run_pair(problem, L0=1e-3, seed=seed).string
            if string is not None:
                segments += zip(string.beads[:-1], string.beads[1:], strict=True)

        def decide(problem=problem, segments=segments) -> None:  # type: ignore[no-untyped-def]
            for left, right in segments:
                problem.max_gamma(left, right, 1e-3)

        def grid(problem=problem, segments=segments) -> None:  # type: ignore[no-untyped-def]
            for left, right in segments:
                problem.gamma(left, right, T101)

        suite.row(
            f"{len(segments)} segments of {activation} 1-{hidden[0]}-{hidden[1]}-1 decided against "
            "L0 = 1e-3 (peer: our own 101-point grid)",
            decide,
            {"grid": (grid, 1.0)},
            2,
        )


def mnist_rows(suite: Suite, short: bool, folder: str) -> None:
    """Digits: an epoch, the test loss, γ, a whole pair."""
    model = nc.MLP((784, 128, 10))
    problem = nc.mnist.problem(folder, model)
    epoch = len(problem.X) // 128
    budget = nc.RMSProp(1e-3, 1e-3, budget=epoch, check_every=epoch)
    training = nc.mnist.problem(folder, model, batch=128, rmsprop=budget)
    rng = np.random.default_rng(0)
    a, b = problem.initial(rng), problem.initial(rng)
    digits = peers.Digits(problem)
    suite.row(
        "MNIST epoch, 784-128-10, batch 128, and the test loss (ours in float64)",
        lambda: training.descend(a, 1e-9, rng),
        digits.epoch(a, 128),
        1,
    )

    def forgetful() -> float:
        problem._memory = type(problem._memory)()
        return problem.loss(a)

    suite.row("MNIST test loss in float64", forgetful, digits.loss(a), 1)
    w = problem._packed(a)
    workspace, pixels, slopes = problem._workspace(128)
    one, row = np.zeros((1, 128), dtype=np.int64), np.empty(classifier.PANEL, dtype=np.float32)
    tests = np.arange(len(problem.X_test))

    def evaluate() -> tuple[int, float]:  # a descent begins with it; here any loss is a success
        return classifier.descend(  # type: ignore[no-any-return]
            w, w, problem._layers, False, w[:0], 1e9, problem._train_inputs,
            problem._stopping_inputs, one, tests, 1e-3, 1.0, 0.9, 1e-8, 1, 0, 1, workspace, pixels,
            w, slopes, row,
        )  # fmt: skip

    suite.row("MNIST test loss in float32, as a descent looks at it", evaluate, digits.loss(a), 5)
    problem.gamma(a, b, T101)
    suite.row(
        "MNIST gamma at 101 points, first layers kept (ours in float64)",
        lambda: problem.gamma(a, b, T101),
        digits.gamma(a, b, T101, short),
    )
    pair = nc.mnist.problem(folder)
    L0 = 0.5 if short else 0.15
    string = nc.run_pair(pair, L0=L0, seed=0).string
    assert string is not None
    pair.loss(string.beads[0])
    suite.row(
        "MNIST segment decided against L0, 784-256-10 (peer: our own 101-point grid)",
        lambda: pair.max_gamma(string.beads[0], string.beads[1], L0),
        {"grid": (lambda: pair.gamma(string.beads[0], string.beads[1], T101), 1.0)},
    )
    suite.row(
        f"MNIST pair end to end, 784-256-10, L0 = {L0}",
        lambda: nc.run_pair(pair, L0=L0, seed=0),
        peers.Digits(pair).pair(L0, short),
    )


def start_up(rows: list[dict[str, object]], repeats: int) -> None:
    """How long a user waits for a warm start, with Python's own cache of what it has read."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    for name, command in (
        ("import nconvex", ["-c", "import nconvex"]),
        ("python -m nconvex.quad --no-figure", ["-m", "nconvex.quad", "--no-figure", "--quiet"]),
    ):
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, *command], check=True, capture_output=True, env=environment
            )
            times.append(time.perf_counter() - began)
        entry: dict[str, object] = {
            "row": f"start-up, warm: {name}",
            "ours_seconds": statistics.median(times[1:]),
            "ours_spread": half_quartiles(times[1:]),
            "first_call_seconds": times[0],
            "peers": {},
        }
        rows.append(entry)
        print(line(entry), flush=True)


def processor() -> str:
    """Name the processor."""
    try:
        for text in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if text.startswith("model name"):
                return text.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main() -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="once, on little, for errors")
    parser.add_argument("--data", help="folder with all of MNIST; without it its rows are left out")
    parser.add_argument("--out", help="write OUT.json and OUT.md")
    args = parser.parse_args()
    suite = Suite(1 if args.short else 9)
    missing = [name for name in peers.MODULES if importlib.util.find_spec(name) is None]
    if missing:
        print(f"not installed, skipped: {', '.join(missing)}")
    header = (
        f"{processor()}; one thread\n\n"
        "| | ours | peer time / ours | first call |\n"
        "| --- | --- | --- | --- |"
    )
    print(header)
    start_up(suite.rows, suite.repeats)
    quad_rows(suite, args.short)
    if args.data or args.short:
        mnist_rows(suite, args.short, args.data or "subset")
    else:
        print("MNIST's rows are left out: name its folder with --data")
    if args.out:
        document = {"processor": processor(), "rows": suite.rows}
        Path(f"{args.out}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        table = "\n".join([header, *map(line, suite.rows)])
        Path(f"{args.out}.md").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
