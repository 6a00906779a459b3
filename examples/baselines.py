"""Our samplers and the baselines, side by side on the same pairs and the same budget.

    python examples/baselines.py

Pairs of networks are trained to L₀ and connected by every method. All have the same budget of
gradient evaluations and the same certificate: a pair is connected if the loss provably is at most
L₀ everywhere on the path. Pairs that a method does not connect, or only with more evaluations than
the budget, count as not connected. `baselines.md` says which version of each method was built, and
what the table shows.

QUAD: 1-4-4-1 ReLU networks, squared error on the quadratic, pair k being that of seed k. MNIST:
784-256-10 networks on the subset that ships, cross-entropy; one evaluation is a minibatch there.
Writes baselines.csv, a line a pair and method, and baselines.png.
"""

import argparse
import csv
import functools
import math
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import nconvex as nc
from nconvex.baselines import curves
from nconvex.definitions import child
from nconvex.pairs import intervals
from nconvex.samplers import SAMPLERS

LEVELS = (3e-4, 1e-4, 3e-5)
#: Of the methods: of Okabe and Ito, which the colour-blind tell apart, and a brown.
COLOURS = (
    *("#777777", "#E69F00", "#009E73", "#D55E00", "#CC79A7"),
    *("#0072B2", "#000000", "#56B4E9", "#8C564B"),
)
DIGITS_L0 = 0.27
DIGITS_BUDGET = 5000
OTHERS = {
    "line": curves.straight_line,
    "align, then line*": curves.align,
    "polychain": curves.polychain,
    "Bézier": curves.bezier,
    "elastic band": curves.nudged_elastic_band,
}
#: On minibatches curves are trained with the rates that train the networks.
DIGITS_RATES = nc.RMSProp(learning_rate=1e-3, final_learning_rate=1e-4)
COLUMNS = (
    "task", "L0", "pair", "method", "connected", "certified", "max_over_L0", "evaluations",
    "beads", "normalized_length",
)  # fmt: skip


@functools.lru_cache(maxsize=1)
def digits():
    """The surface of MNIST's subset."""
    return nc.mnist.problem("subset", nc.MLP((784, 256, 10)))


def pair(job):
    """Connect one pair by every method: a row for each."""
    task, L0, k, budget = job
    problem = nc.quad.problem(seed=k) if task == "quad" else digits()
    trainings = [nc.train(problem, L0, child(k, end)) for end in (1, 2)]
    trained = all(training.status is nc.TrainingStatus.TRAINED for training in trainings)
    rows = []
    for method in (*OTHERS, *SAMPLERS):
        row = {"task": task, "L0": L0, "pair": k, "method": method, "connected": 0}
        if trained:
            ends = [training.theta for training in trainings]
            string = connect(method, problem, ends, L0, child(k, 3), budget, task)
            within = string.gradient_evaluations <= budget
            row |= {
                "connected": int(string.connected and within),
                "certified": int(string.certified),
                "max_over_L0": string.max_error / L0 if within else math.inf,
                "evaluations": min(string.gradient_evaluations, budget),
                "beads": string.n_beads,
                "normalized_length": string.normalized_length,
            }
        rows.append(row)
    return rows


def connect(method, problem, ends, L0, seed, budget, task):
    """Call one method."""
    if method in SAMPLERS:
        return nc.connect(problem, *ends, L0=L0, sampler=method, seed=seed)
    settings = {"seed": seed}
    if method not in ("line", "align, then line*"):
        settings |= {"budget": budget}
        settings |= {} if task == "quad" else {"rmsprop": DIGITS_RATES}
    return OTHERS[method](problem, *ends, L0, **settings)


def table(rows, task, L0):
    """Return a Markdown table of one task and threshold."""
    lines = [
        "| method | connected (Wilson 95 %) | max on the path / L0, median | evaluations, mean |"
        " median | beads | normalized length |",
        "|---" * 7 + "|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [r for r in rows if (r["task"], r["L0"], r["method"]) == (task, L0, method)]
        known = [r for r in mine if "evaluations" in r]
        joined = [r for r in mine if r["connected"]]
        low, high = intervals.wilson(len(joined), len(mine))
        cells = [method, f"{len(joined)}/{len(mine)} [{low:.2f}, {high:.2f}]"]
        cells.append(f"{statistics.median(r['max_over_L0'] for r in known):.3g}" if known else "–")
        spent = [r["evaluations"] for r in known] or [0]
        cells += [f"{statistics.mean(spent):.0f}", f"{statistics.median(spent):.0f}"]
        for name, digits_ in (("beads", 1), ("normalized_length", 2)):
            cells.append(
                f"{statistics.mean(r[name] for r in joined):.{digits_}f}" if joined else "–"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows):
    """Draw the connected share against the evaluations spent, one panel a threshold."""
    tasks = list(dict.fromkeys((row["task"], row["L0"]) for row in rows))
    figure = Figure(figsize=(6.5, 5.6), layout="constrained")
    panels = figure.subplots(-(-len(tasks) // 2), 2, squeeze=False, sharey=True).ravel()
    for spare in panels[len(tasks) :]:
        spare.set_axis_off()
    styles = dict.fromkeys(OTHERS, ("--", 1.2)) | dict.fromkeys(SAMPLERS, ("-", 2.0))
    for axes, (task, L0) in zip(panels, tasks, strict=False):
        for number, (method, (style, width)) in enumerate(styles.items()):
            mine = [r for r in rows if (r["task"], r["L0"], r["method"]) == (task, L0, method)]
            spent = sorted(r["evaluations"] for r in mine if r["connected"])
            most = max([1, *(r.get("evaluations", 1) for r in rows if r["task"] == task)])
            x = [1, *np.repeat(np.maximum(spent, 1), 2), most]
            y = np.repeat(np.arange(len(spent) + 1), 2) / len(mine)
            axes.plot(x, y, style, color=COLOURS[number], linewidth=width, label=method)
        name = "QUAD" if task == "quad" else "MNIST"
        axes.set(xscale="log", title=f"{name}, $L_0$ = {L0:g}")
        axes.set(xlim=(30, 1.1 * most), ylim=(-0.02, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("gradient evaluations" if axes in panels[-2:] else "")
    figure.supylabel("share of pairs connected, with proof", fontsize="medium")
    names = panels[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def main():
    """Run everything, print the tables, write the files."""
    parser = argparse.ArgumentParser(description="Compare ways to connect two networks.")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of QUAD (default 100)")
    parser.add_argument("--digits", type=int, default=20, help="pairs of MNIST (default 20)")
    parser.add_argument("--budget", type=int, default=60_000, help="evaluations a pair of QUAD")
    args = parser.parse_args()
    jobs = [("quad", L0, k, args.budget) for L0 in LEVELS for k in range(args.pairs)]
    jobs += [("mnist", DIGITS_L0, k, DIGITS_BUDGET) for k in range(args.digits)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        rows = [row for rows in pool.map(pair, jobs) for row in rows]
    for task, L0 in dict.fromkeys((row["task"], row["L0"]) for row in rows):
        budget = args.budget if task == "quad" else DIGITS_BUDGET
        print(f"### {task.upper()}, L0 = {L0:g}, at most {budget} evaluations a pair\n")
        print(table(rows, task, L0) + "\n")
    with Path("baselines.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()}
            for row in rows
        )
    draw(rows).savefig("baselines.png", dpi=220)


if __name__ == "__main__":
    main()
