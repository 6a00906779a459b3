"""Why a grid proves nothing, and how a bound closes in: a picture of the certificate.

    python examples/proof.py

"The loss is at most L₀ everywhere along the path" is a statement about infinitely many points. A
grid looks at some of them. On the left, γ between two ReLU networks that agree everywhere but in a
window of width 1e-4: 1,001 points see a flat line at 0.01, and the true maximum is 1.21. Such a
pair is contrived, but the danger is not: on trained networks a grid of 100 points falls short of
the maximum nearly always, by up to a seventh of the barrier's height.

nconvex bounds γ over whole intervals instead. On an interval every unit of the network is enclosed
between two polynomials in t, for every sample, and so is the mean loss; what floating-point
arithmetic can do to the bound is added to it (`nconvex.enclosure`, `nconvex.rounding`). The bound
is crude on long intervals, as on the right, and tightens as they are halved. Where it is too high
the search halves again, and only there, until upper bound and highest value agree to 0.1 %.

What is proven: no weights on the path, in exact arithmetic, have a loss on this test set above the
upper bound. What is not: that other data would agree, for a test set is a finite sample; nor, of a
pair that is not connected, that there is no path.
"""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

import nconvex as nc
from nconvex.problem import Segment

CENTRE, HALF_WIDTH = 0.505123, 5e-5
GREY, BLUE, ORANGE, GREEN = "#777777", "#0072B2", "#D55E00", "#009E73"


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


def bound(problem, theta1, theta2, left, right):
    """Bound γ on one interval, by that of its quarters."""
    segment = Segment(problem, theta1, theta2, left, right)
    segment.tighten(np.inf, 1e9, 2)
    return segment.peak.upper


def main():
    """Print what is seen and what is proven, and draw it."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)

    problem, theta1, theta2 = spike()
    t = np.linspace(0, 1, 1001)
    grid = problem.gamma(theta1, theta2, t)
    peak = problem.max_gamma(theta1, theta2, L0=0.02)
    print(f"spike: 1,001 points see {grid.max():.4f}; proven: above {peak.lower:.4f} at "
          f"t = {peak.t_star:.7f}")  # fmt: skip
    near = CENTRE + np.linspace(-40, 40, 801) * HALF_WIDTH
    left.plot(near, problem.gamma(theta1, theta2, near), color=BLUE, label=r"$\gamma(t)$")
    shown = (t > near[0]) & (t < near[-1])
    left.plot(t[shown], grid[shown], "o", color=ORANGE, label="points of a grid of 1,001")
    left.plot(peak.t_star, peak.lower, "v", color="black", label="found by the certificate")
    left.axhline(0.02, color="black", ls=":", lw=1)
    left.annotate("$L_0$", (1.01, 0.02), xycoords=("axes fraction", "data"), va="center")
    left.set(xlabel="t", ylabel="test loss", title="what a grid does not see")
    left.locator_params("x", nbins=4)
    left.ticklabel_format(axis="x", useOffset=False)
    left.legend(frameon=False)

    problem = nc.quad.problem(seed=0)
    theta1, theta2 = (nc.train(problem, 1e-3, seed).theta for seed in (1, 2))
    t = np.linspace(0, 1, 400)
    right.plot(t, problem.gamma(theta1, theta2, t), color=BLUE, lw=2, label=r"$\gamma(t)$")
    for pieces, style, colour in ((4, ":", GREY), (8, "--", ORANGE), (32, "-", GREEN)):
        ends = np.arange(pieces + 1) / pieces
        bounds = [bound(problem, theta1, theta2, a, b) for a, b in pairwise(ends)]
        print(f"QUAD: on {pieces} intervals the bound is {max(bounds):.5f}")
        right.stairs(bounds, ends, color=colour, ls=style, lw=1.3, label=f"bound, {pieces} pieces")
    peak = problem.bracket(theta1, theta2)
    print(f"QUAD: proven in the end: {peak.lower:.5f} <= maximum <= {peak.upper:.5f}")
    right.set(xlabel="t", title="a bound closes in", yscale="log")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("proof.png", dpi=150)
    print("written to proof.png")


if __name__ == "__main__":
    main()
