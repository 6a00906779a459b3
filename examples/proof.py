"""Why a grid proves nothing, and how the bound closes in: the figure of `proof.md`.

    python examples/proof.py

The bounds drawn are those of `nconvex/verify.py`, computed by its own functions.
"""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import nconvex as nc
from nconvex import verify

CENTRE, HALF_WIDTH = 0.505123, 5e-5
GREY, BLUE, ORANGE, GREEN = "#777777", "#0072B2", "#D55E00", "#009E73"
L0 = 1e-3


def spike():
    """Make two networks between which γ is flat but for a window of width 1e-4.

    Three hidden units add up to a tent; their biases carry it past the only sample.
    """

    def network(t):
        biases = (t - CENTRE + np.array([1, 0, -1]) * HALF_WIDTH) / HALF_WIDTH
        return np.array([0.0, 0.0, 0.0, *biases, 1.0, -2.0, 1.0, 0.1])

    x = np.ones((1, 1))
    problem = nc.Problem(nc.MLP((1, 3, 1)), "mse", x, 0 * x, x, 0 * x)
    return problem, network(0.0), network(1.0)


def states(path, k, c, r):
    """The enclosures of every unit on [c - r, c + r] of segment k: before and after ReLU."""
    (first, *later) = zip(*(path.layers(theta) for theta in path.beads[k : k + 2]), strict=True)
    za, zb = (path.X @ W + b for W, b in first)
    x = za + c * (zb - za), 0.0 * za, zb - za, 0.0 * za
    for ends in later:
        x = verify.unit(x, "relu", r)
        x = verify.linear(x, (*ends[0], *ends[1]), c, r)
        yield x


def draw_spike(axes):
    """What a grid does not see."""
    problem, theta1, theta2 = spike()
    t = np.linspace(0, 1, 1001)
    grid = problem.gamma(theta1, theta2, t)
    peak = problem.max_gamma(theta1, theta2, L0=0.02)
    print(f"spike: 1,001 points see {grid.max():.4f}; proven: above {peak.lower:.4f} at "
          f"t = {peak.t_star:.7f}")  # fmt: skip
    near = CENTRE + np.linspace(-40, 40, 801) * HALF_WIDTH
    axes.plot(near, problem.gamma(theta1, theta2, near), color=BLUE, label=r"$\gamma(t)$")
    shown = (t > near[0]) & (t < near[-1])
    axes.plot(t[shown], grid[shown], "o", color=ORANGE, label="points of a grid of 1,001")
    axes.axhline(0.02, color="black", ls=":", lw=1)
    axes.annotate("$L_0$", (1.01, 0.02), xycoords=("axes fraction", "data"), va="center")
    axes.set(xlabel="t", ylabel="test loss", title="A. What a grid does not see")
    axes.locator_params("x", nbins=4)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def draw_unit(axes, path, k, c, r):
    """One unit's value at c, and the cone of slopes in which it stays."""
    (z, _, D, E), *_ = states(path, k, c, r)
    sample, unit = np.unravel_index(np.argmax(E / (1e-3 + abs(D))), E.shape)
    s = np.linspace(-r, r, 201)
    values = [next(iter(states(path, k, c + step, 0.0)))[0][sample, unit] for step in s]
    value, slope, spread = (array[sample, unit] for array in (z, D, E))
    ends = value + s * slope
    axes.fill_between(c + s, ends - abs(s) * spread, ends + abs(s) * spread, color=BLUE, alpha=0.2,
                      lw=0, label="$z(c) + s\\,[D - E, D + E]$")  # fmt: skip
    axes.plot(c + s, ends, color=BLUE, lw=1, ls="--", label="$z(c) + sD$")
    axes.plot(c + s, values, color="black", lw=1.5, label="$z(t)$ of one unit and sample")
    axes.plot(c, value, "o", color="black")
    axes.set(xlabel="t", title="B. A unit: its value at c, and its slopes")
    axes.legend(frameon=False, fontsize=9, loc="lower center")


def draw_loss(axes, path, problem, k, c, r):
    """The bound of the mean loss on one interval is convex in s: its ends decide."""
    *_, (z, _, D, E) = states(path, k, c, r)
    s = np.linspace(-r, r, 101)
    bound = [np.mean((abs(z - path.y + step * D) + abs(step) * E) ** 2) for step in s]
    axes.plot(c + s, problem.gamma(*path.beads[k : k + 2], c + s), color="black", lw=1.5,
              label=r"$\gamma(t)$")  # fmt: skip
    axes.plot(c + s, bound, color=ORANGE, label=r"mean of $(|\rho + sD| + |s|E)^2$")
    axes.plot([c - r, c + r], [bound[0], bound[-1]], "o", color=ORANGE, label="its two ends")
    axes.hlines(max(bound[0], bound[-1]), c - r, c + r, color=GREEN, lw=2, label="bound on $I$")
    axes.set(xlabel="t", ylabel="test loss", title="C. The loss: a convex bound, highest at an end")
    axes.set_ylim(top=1.6 * max(bound) - 0.6 * min(bound))  # room for the legend
    axes.legend(frameon=False, fontsize=9, loc="upper center")


def draw_closing(axes, path, problem, k):
    """Intervals are halved until none is too high."""
    enclose, open_, proven = path.segment(k), [(0.5, 0.5)], 0
    t = np.linspace(0, 1, 400)
    axes.plot(t, problem.gamma(*path.beads[k : k + 2], t), color="black", lw=1.5,
              label=r"$\gamma(t)$")  # fmt: skip
    labels = {ORANGE: "too high: halve", GREEN: "below $L_0$: proven"}
    while open_:
        c, r = open_.pop()
        high = enclose(c, r)[0]
        if high > L0:
            open_ += [(c - r / 2, r / 2), (c + r / 2, r / 2)]
        else:
            proven += 1
        colour = ORANGE if high > L0 else GREEN
        axes.hlines(high, c - r, c + r, color=colour, lw=1.5, label=labels.pop(colour, None))
    print(f"QUAD: the segment is proven to stay below {L0:g} on {proven} intervals")
    axes.axhline(L0, color="black", ls=":", lw=1)
    axes.annotate("$L_0$", (1.01, L0), xycoords=("axes fraction", "data"), va="center")
    axes.set(
        xlabel="t", ylabel="test loss", yscale="log", title="D. Intervals close in", xlim=(0, 1)
    )
    axes.set_ylim(top=5 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def main():
    """Print what is seen and what is proven, and draw it."""
    problem = nc.quad.problem(seed=0)
    string = nc.run_pair(problem, L0=L0, seed=0).string
    with tempfile.TemporaryDirectory() as folder:
        string.save(Path(folder) / "string.npz", problem)
        path = verify.Path(Path(folder) / "string.npz")
    figure = Figure(figsize=(10.5, 7.6), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    k = int(np.argmax(string.segment_lengths))
    with np.errstate(all="ignore"):
        draw_spike(axes[0])
        draw_unit(axes[1], path, k, 0.5, 0.25)
        draw_loss(axes[2], path, problem, k, 0.5, 0.125)
        draw_closing(axes[3], path, problem, k)
    for part in axes:
        part.spines[["top", "right"]].set_visible(False)
    figure.savefig("proof.png", dpi=150)
    print("written to proof.png")


if __name__ == "__main__":
    main()
