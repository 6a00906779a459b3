"""The smallest surface with a barrier, and how high it is: Γ = R²/6, from both sides.

    python examples/counterexample.py

Three points of the plane, at the distance R = 1 from the origin and 120° apart, are each to be
mapped to the next by a 2-3-2 ReLU network without biases (left). Give each unit one of the points,
W = (x₁, x₂, x₃): its kink keeps it silent on the other two, and U = (x₂, x₃, x₁) fits exactly. So
does the same network with units 1 and 2 exchanged. Are the two connected?

*Not below R²/6* (middle). What a unit answers to the three points is a vector v with three
coordinates; up to its length, the answers of all units make up the boundary of a triangle. The
three units of a network are three points on it, and det V > 0 if one meets them anticlockwise, < 0
if clockwise. For the exchanged network it is the other way round, so on every path from one to the
other the three points are on a line once. There two units do the work of three. A network with two
units has a loss of at least R²/6 on this task (`nc.lower_bounds.narrower_infimum` computes it): so
Γ, the smallest possible maximum over all paths, is at least that. Of any two networks
`nc.lower_bounds.lower_bound` says it, by the signs of their determinants.

*Not above 1.005 R²/6* (right). `nc.lower_bounds.path_through_narrower` leads through the best line.
It cuts off a corner of the triangle, the closer the better, and the outputs' weights grow as it
does: the bound is approached, but not attained. Units 1 and 2 pass each other where the line meets
one side, while unit 3 waits where it meets the other. The certificate proves the height of that
path.

Dynamic String Sampling, from slightly perturbed ends, needs two times the bound: between the
exchanged networks the line's middle has two units that are the same, which is not where the path
should cross, and its beads go down from there. It never connects below the bound.
"""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

import nconvex as nc

R = 1.0
SLACK = 0.01
FACTORS = (4.0, 3.5, 3.0, 2.6, 2.4, 2.2, 2.1, 2.0, 1.9, 1.8, 1.6, 1.4, 1.2, 1.05, 0.99)
TRIES = 10
BLACK, GREY, BLUE, ORANGE, GREEN = "black", "#777777", "#0072B2", "#D55E00", "#009E73"
COLOURS = (BLUE, ORANGE, GREEN)
#: Corners of the triangle that shows the directions of v: answers to one point only.
CORNERS = np.array([[0.5, np.sqrt(0.75)], [0.0, 0.0], [1.0, 0.0]])


def task():
    """Make the problem and the two solutions."""
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    X = R * np.column_stack([np.cos(angles), np.sin(angles)])
    y = np.roll(X, -1, axis=0)
    settings = nc.RMSProp(budget=3000, check_every=1)
    problem = nc.Problem(nc.MLP((2, 3, 2), biases=False), "mse", X, y, X, y, settings)
    solutions = [
        np.concatenate([(X[units] / R**2).T.ravel(), y[units].ravel()])
        for units in ([0, 1, 2], [1, 0, 2])
    ]
    return problem, *solutions


def lowest_string(problem, theta1, theta2, bound):
    """Lower the threshold until the search fails; the ends are perturbed, differently each time."""
    rng = np.random.default_rng(0)
    best = None
    for factor in FACTORS:
        strings = []
        for _ in range(TRIES):
            ends = [theta + 0.02 * rng.normal(size=theta.size) for theta in (theta1, theta2)]
            strings.append(nc.connect(problem, *ends, L0=factor * bound, alpha=0.98, depth=12))
        found = [string for string in strings if string.connected]
        print(f"search at {factor:.2f} of the bound: {len(found)} of {TRIES} connected")
        if found:
            best = min(found, key=lambda string: string.max_error)
    return best


def heights(problem, beads):
    """γ along a path, each segment as wide as the next."""
    t = np.linspace(0, 1, 50)
    values = [problem.gamma(left, right, t) for left, right in pairwise(beads)]
    return np.linspace(0, 1, 50 * len(values)), np.concatenate(values)


def draw_task(axes, problem):
    """The points, where each is to go, and the units' kinks."""
    X = problem.X
    names = ("1 → 2", "2 → 1", "3 → 3")
    for k, (x, colour) in enumerate(zip(X, COLOURS, strict=True)):
        along = np.array([-x[1], x[0]])
        axes.axline((0, 0), along, color=colour, lw=1, ls="--")
        arrow = {"arrowstyle": "->", "color": colour, "lw": 2}
        axes.annotate("", 0.55 * x, (0, 0), arrowprops=arrow)
        axes.text(*(0.7 * x), names[k], color=colour, ha="center", va="center")
        axes.plot(*x, "o", color=BLACK, ms=7, zorder=3)
        axes.text(*(1.22 * x), f"$x_{k + 1}$", ha="center", va="center", fontsize=13)
        bow = {"arrowstyle": "->", "color": GREY, "lw": 1.2, "shrinkA": 7, "shrinkB": 7}
        bow["connectionstyle"] = "arc3,rad=0.3"
        axes.annotate("", X[(k + 1) % 3], x, arrowprops=bow)
    axes.set(xlim=(-1.5 * R, 1.5 * R), ylim=(-1.25 * R, 1.5 * R), aspect="equal")
    axes.set_title(
        "each point to the next; the units' weights\nand kinks, their numbers in both networks"
    )
    axes.axis("off")


def directions(problem, theta):
    """Where the three units are on the triangle, (3, 2)."""
    W = theta[:6].reshape(2, 3)
    V = np.maximum(problem.X @ W, 0.0).T
    return V / V.sum(axis=1, keepdims=True) @ CORNERS


def draw_fan(axes, problem, beads):
    """The triangle of answers: the units of the first network, and the crossing, enlarged."""
    signs = [nc.lower_bounds.det_sign(problem.model, theta, problem.X) for theta in beads]
    crossing = next(k for k, (a, b) in enumerate(pairwise(signs)) if a != b)
    start, before = (directions(problem, beads[k]) for k in (0, crossing))
    axes.plot(*CORNERS[[0, 1, 2, 0]].T, color=GREY, lw=1.5)
    for k, (corner, colour) in enumerate(zip(CORNERS, COLOURS, strict=True)):
        axes.plot(*start[k], "o", color=colour, ms=15, zorder=3)
        axes.text(*start[k], f"{k + 1}", color="white", ha="center", va="center", zorder=4)
        side = (0.13, -0.13, 0.13)[k]
        place = corner + np.array([side, 0.0])
        axes.text(
            *place, f"answers\n$x_{k + 1}$ only", ha="left" if side > 0 else "right", va="center"
        )
    axes.set(xlim=(-0.9, 1.9), ylim=(-1.3, 1.1), aspect="equal")
    axes.set_title(
        "to pass from the order 1, 2, 3 to the order\n2, 1, 3, the three must once be in line"
    )
    axes.axis("off")

    near = axes.inset_axes((0.32, 0.02, 0.36, 0.42))
    size = np.ptp(before, axis=0).max()
    near.plot(*CORNERS[[1, 0, 2]].T, color=GREY, lw=1.5)
    near.axline(before[:2].mean(axis=0), before[2], color=BLACK, lw=1, ls=":")
    for k, colour in enumerate(COLOURS):
        near.plot(*before[k], "o", color=colour, ms=15, zorder=3)
        near.text(*before[k], f"{k + 1}", color="white", ha="center", va="center", zorder=4)
    turn = {"arrowstyle": "<->", "color": BLACK, "shrinkA": 6, "shrinkB": 6}
    turn["connectionstyle"] = "arc3,rad=-0.9"
    near.annotate("", before[0], before[1], arrowprops=turn)
    centre = before.mean(axis=0)
    near.set(xlim=centre[0] + size * np.array([-1, 1]), ylim=centre[1] + size * np.array([-1, 1]))
    near.set(xticks=[], yticks=[])
    axes.indicate_inset_zoom(near, edgecolor=BLACK)
    enlarged = np.ptp(axes.get_xlim()) * 0.36 / (2 * size)
    axes.text(1.05, -0.75, f"{enlarged:.0f} times\nenlarged", va="center")


def main():
    """Bound, build the path, search, and draw."""
    problem, theta1, theta2 = task()
    bound = nc.lower_bounds.lower_bound(
        problem, theta1, theta2, nc.lower_bounds.narrower_infimum(problem)
    )
    beads = nc.lower_bounds.path_through_narrower(problem, theta1, theta2, SLACK)
    path = nc.string_through(problem, beads, (1 + SLACK) * bound.value)
    line = problem.bracket(theta1, theta2)
    print(f"signs of det V: {bound.signs}; {bound.reason.value}")
    print(f"proven: {bound.value:.6f} <= Gamma <= {path.max_error:.6f}; R^2/6 = {R * R / 6:.6f}")
    print(
        f"the path has {path.n_beads} beads and is {path.max_error / bound.value:.4f} of the bound"
    )
    print(f"straight line: {line.upper:.6f}, {line.upper / bound.value:.2f} of the bound")
    string = lowest_string(problem, theta1, theta2, bound.value)
    share = string.max_error / bound.value
    print(f"lowest string of the search: {string.max_error:.6f}, {share:.2f} of the bound")

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    draw_task(left, problem)
    draw_fan(middle, problem, beads)
    for models, colour, style, label in (
        ([theta1, theta2], GREY, "--", f"straight line: {line.upper / bound.value:.2f}"),
        (string.beads, ORANGE, "-.", f"lowest string of the search: {share:.2f}"),
        (beads, BLUE, "-", f"path over the best line: {path.max_error / bound.value:.3f}"),
    ):
        right.plot(*heights(problem, models), style, color=colour, label=label)
    right.axhline(bound.value, color=GREEN, lw=1)
    right.axhspan(
        0, bound.value, color=GREEN, alpha=0.12, lw=0, label="proven: no path stays below: 1"
    )
    right.set(xlabel="along the path, by segments", ylabel="loss", xlim=(0, 1), ylim=(0, None))
    right.set_title("Γ = R²/6, from both sides")
    right.legend(frameon=False, title="highest loss, as a multiple of R²/6", loc="upper right")
    right.set_ylim(0, 0.85 * R**2)
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig("counterexample.png", dpi=150)
    print("written to counterexample.png")


if __name__ == "__main__":
    main()
