"""Which minima can connect? The sign of a determinant knows it beforehand.

    python examples/determinant.py

The paper's counterexample: three points of the plane, 120° apart, each to be mapped to the next, by
a 2-3-2 ReLU network without biases. Twenty-four networks are trained from random starts to a loss
of 1e-4. For each, let V be the 3 x 3 matrix of what its three hidden units answer to the three
points. It takes no training to see that

    two minima whose det V differ in sign cannot be connected below L* = R²/6,

R being the distance of the points from the origin: on the way det V passes zero; there one unit's
answers are a combination of the others', the network is worth one with two units, and no network
with two units has a loss below R²/6 (`separation` and `width_below` in `nconvex.lower_bounds`). The
signs are computed in rational arithmetic, so they are exact.

On the left, Dynamic String Sampling has tried all 276 pairs at L₀ = 0.99 L*. The minima are sorted
by their signs: what it connects lies in the two blocks on the diagonal, and nothing outside of
them, as the theorem says. On the right, the same at other thresholds: the pairs of unequal signs
begin to connect above L* only. The search misses paths of either kind. In the blocks a formula
(`path_through_narrower`) connects **all** pairs below L*, with proof, so that here the sign tells
exactly which minima connect. That the search finds fewer of these as L₀ rises to 2 L* is a weakness
of its own, for every path below a threshold is below a higher one: its beads are trained less far
down. And unequal signs do connect at 1.005 L* (`counterexample.py`), where it finds nothing.
"""

from itertools import combinations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import nconvex as nc

MINIMA = 24
LEVELS = (0.2, 0.5, 0.8, 0.99, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
BLUE, ORANGE, PALE, WHITE = "#0072B2", "#D55E00", "#dddddd", "#ffffff"


def task():
    """Make the problem; training and test set are the same three points."""
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    X = np.column_stack([np.cos(angles), np.sin(angles)])
    y = np.roll(X, -1, axis=0)
    return nc.Problem(nc.MLP((2, 3, 2), biases=False), "mse", X, y, X, y, nc.RMSProp(budget=2000))


def connected(problem, thetas, L0):
    """Try all pairs: (K, K) booleans."""
    result = np.eye(len(thetas), dtype=bool)
    for i, j in combinations(range(len(thetas)), 2):
        string = nc.connect(problem, thetas[i], thetas[j], L0=L0, alpha=0.95)
        result[i, j] = result[j, i] = string.connected
    return result


def main():
    """Train, connect, count, and draw."""
    problem = task()
    lowest = nc.lower_bounds.narrower_infimum(problem)
    thetas = [nc.train(problem, 1e-4, seed).theta for seed in range(MINIMA)]
    signs = np.array(
        [nc.lower_bounds.det_sign(problem.model, theta, problem.X) for theta in thetas]
    )
    order = np.argsort(signs, kind="stable")
    thetas, signs = [thetas[k] for k in order], signs[order]
    upper = np.triu(np.ones((MINIMA, MINIMA), dtype=bool), 1)
    kinds = {
        "equal": upper & (signs[:, None] == signs),
        "unequal": upper & (signs[:, None] != signs),
    }
    print(f"L* = {lowest:.6f}; {np.sum(signs < 0)} minima have det V < 0, {np.sum(signs > 0)} > 0")
    found = {level: connected(problem, thetas, level * lowest) for level in LEVELS}
    for level, pairs in found.items():
        counts = ", ".join(
            f"{np.sum(pairs & kind)} of {np.sum(kind)} pairs of {name} signs"
            for name, kind in kinds.items()
        )
        print(f"L0 = {level:.2f} L*: connected {counts}")
    formula = 0
    for i, j in zip(*np.nonzero(kinds["equal"]), strict=True):
        beads = nc.lower_bounds.path_through_narrower(problem, thetas[i], thetas[j])
        string = nc.string_through(problem, beads, 1.01 * lowest)
        formula += string.certified and string.max_error < lowest
    print(f"by a formula, below L*: {formula} of {np.sum(kinds['equal'])} pairs of equal signs")

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    picture = np.where(found[0.99], 2, np.where(signs[:, None] == signs, 1, 0))
    left.imshow(picture, cmap=ListedColormap([WHITE, PALE, BLUE]), vmin=0, vmax=2)
    left.set_xticks(np.arange(MINIMA + 1) - 0.5, labels=[], minor=True)
    left.set_yticks(np.arange(MINIMA + 1) - 0.5, labels=[], minor=True)
    left.grid(which="minor", color="white", lw=1)
    left.tick_params(which="both", length=0)
    border = np.sum(signs < 0) - 0.5
    left.axhline(border, color="black", lw=1)
    left.axvline(border, color="black", lw=1)
    places = [border / 2, (border + MINIMA) / 2]
    left.set_xticks(places, labels=["det V < 0", "det V > 0"])
    left.set_yticks(places, labels=["det V < 0", "det V > 0"], rotation=90, va="center")
    left.set_title(f"{MINIMA} minima, all pairs tried at $L_0$ = 0.99 L*")
    equal, unequal = (np.sum(found[0.99] & kind) for kind in kinds.values())
    left.legend(
        handles=[
            Patch(color=BLUE, label=f"connected: {equal} pairs of equal signs, {unequal} others"),
            Patch(color=PALE, label="of equal signs, but no path found by the search"),
        ],
        loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False,
    )  # fmt: skip
    for (name, kind), colour, style in zip(
        kinds.items(), (BLUE, ORANGE), ("o-", "s--"), strict=True
    ):
        shares = [np.sum(found[level] & kind) / np.sum(kind) for level in LEVELS]
        label = f"{np.sum(kind)} pairs of {name} signs"
        right.plot(LEVELS, shares, style, color=colour, label=label)
    right.axvspan(0, 1, color=ORANGE, alpha=0.1, lw=0)
    right.text(0.5, 0.28, "unequal signs:\nproven\nimpossible", color=ORANGE, ha="center")
    right.set(
        xlabel=r"$L_0$ / L*", ylabel="share that the search connects", title="Other thresholds"
    )
    right.set(xlim=(0, max(LEVELS) + 0.1), ylim=(-0.03, 1.05))
    right.legend(frameon=False, loc="lower right")
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig("determinant.png", dpi=150)
    print("written to determinant.png")


if __name__ == "__main__":
    main()
