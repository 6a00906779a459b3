"""A surface whose answer is known: two minima of the Müller-Brown potential, over its pass.

    python examples/mueller_brown.py

The potential (Müller and Brown, Theor. Chim. Acta 53, 1979) plus 150 has minima near
(-0.558, 1.442) and (0.623, 0.028); every path between them must climb to 109.335, the higher of
the saddles between. In two parameters that can be proven: `nc.lower_bounds.flood_bracket` cuts the
plane into cells, bounds the potential on each from both sides, and floods them from the lowest up
until the minima's basins meet. So Γ is known, and Dynamic String Sampling can be tested:
`nc.barrier` bisects for the lowest threshold at which it finds a path, and must not come out below.

Watch α. With α = 0.95 beads stop high on the slopes, the string stays near the pass, and the
bisection ends within 0.02 % of Γ. With α = 0.8 the same search finds no path even at 120: each bead
goes on descending to 96, slides off the narrow pass into one of the valleys, and the string never
gets over it. Where a surface has narrow passes, α belongs close to 1; on the wide valleys of QUAD
0.8 makes shorter searches.

In the figure, blue and green are the cells that are flooded from either minimum when the water
stands at the proven lower bound: nowhere do they touch. On the right they are shown one by one,
where they come closest; the string crosses beside it, a little higher.
"""

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import nconvex as nc

A = np.array([-200.0, -100.0, -170.0, 15.0])
a = np.array([-1.0, -1.0, -6.5, 0.7])
b = np.array([0.0, 0.0, 11.0, 0.6])
c = np.array([-10.0, -10.0, -6.5, 0.7])
x0 = np.array([1.0, 0.0, -0.5, -1.0])
y0 = np.array([0.0, 0.5, 1.5, 1.0])

LEFT = np.array([-0.558, 1.442])
RIGHT = np.array([0.623, 0.028])
SADDLE = 109.335
BOX = ((-1.5, 1.2), (-0.3, 2.1))
GREY, BLUE, ORANGE, GREEN = "#777777", "#0072B2", "#D55E00", "#009E73"


def height(x, y):
    """V(x, y) + 150 = 150 + Σ A exp q, q = a (x - x₀)² + b (x - x₀)(y - y₀) + c (y - y₀)²."""
    return 150.0 + sum(term for term, *_ in _terms(x, y))


def slopes(x, y):
    """(∂V/∂x, ∂V/∂y)."""
    terms = _terms(x, y)
    return sum(term * qx for term, qx, _ in terms), sum(term * qy for term, _, qy in terms)


def curvature(x, y, half_x, half_y):
    """Bound the norm of the Hessian on the cells of half widths half_x and half_y around (x, y).

    The Hessian of A exp q is A exp q (∇q ∇qᵀ + Q), with Q = [[2a, b], [b, 2c]] constant. On a cell
    q exceeds its value at the centre by at most |∇q|·(half widths) + ‖Q‖ r²/2, and |∇q| its value
    there by at most ‖Q‖ r. Where Q is negative definite, ∇q ∇qᵀ + Q has its eigenvalues between
    -‖Q‖ and |∇q|²; else the two norms are added.
    """
    radius = np.hypot(half_x, half_y)
    total = 0.0
    for k, (term, qx, qy) in enumerate(_terms(x, y)):
        eigenvalues = np.linalg.eigvalsh([[2 * a[k], b[k]], [b[k], 2 * c[k]]])
        norm = np.abs(eigenvalues).max()
        rise = np.abs(qx) * half_x + np.abs(qy) * half_y + 0.5 * norm * radius**2
        steep = (np.hypot(qx, qy) + norm * radius) ** 2
        both = np.maximum(steep, norm) if eigenvalues.max() < 0 else steep + norm
        total = total + np.abs(term) * np.exp(rise) * both
    return total * (1 + 1e-9)  # more than what rounding takes off


def _terms(x, y):
    """(A exp q, ∂q/∂x, ∂q/∂y) of the four terms."""
    found = []
    for k in range(4):
        u, v = x - x0[k], y - y0[k]
        q = a[k] * u * u + b[k] * u * v + c[k] * v * v
        found.append((A[k] * np.exp(q), 2 * a[k] * u + b[k] * v, b[k] * u + 2 * c[k] * v))
    return found


def potential(theta):
    """V + 150 at θ (2,)."""
    return float(height(*theta))


def gradient(theta):
    """Its gradient, (2,)."""
    return np.array(slopes(*theta))


def landscape():
    """Make the landscape; steps of 0.001 are small beside the pass, which is 0.1 wide."""
    settings = nc.RMSProp(learning_rate=1e-3, final_learning_rate=1e-4, check_every=1)
    return nc.FunctionLandscape(potential, gradient, settings)


def bracket(cells=1600):
    """Bracket Γ between the two minima, with proof."""
    return nc.lower_bounds.flood_bracket(height, slopes, curvature, LEFT, RIGHT, BOX, cells)


def draw(proven, string):
    """Draw the basins just before they meet, and a string; on the right, only around the pass."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    figure.suptitle(
        f"Every path climbs to {proven.lower:.3f}; one climbs to {proven.upper:.3f} at most; "
        f"a string of {string.n_beads} beads climbs to {string.max_error:.3f}"
    )
    panels = figure.subplots(1, 2)
    spans = (BOX, ((-0.842, -0.802), (0.604, 0.644)))
    steps = (np.arange(0, 300, 20), proven.lower + np.arange(-0.5, 0.5, 0.05))
    for axes, span, levels in zip(panels, spans, steps, strict=True):
        axes.imshow(
            proven.basins.T,
            cmap=ListedColormap(["white", BLUE, GREEN]),
            alpha=0.4,
            extent=(*BOX[0], *BOX[1]),
            origin="lower",
            interpolation="nearest",
        )
        x, y = (np.linspace(*side, 400) for side in span)
        axes.contour(x, y, height(*np.meshgrid(x, y)), levels, colors=GREY, linewidths=0.5)
        axes.plot(*string.beads.T, "o-", color=ORANGE, markersize=4, linewidth=1.3, label="string")
        axes.plot(*np.array([LEFT, RIGHT]).T, "o", color="black", markersize=6, label="minima")
        axes.set(xlabel="x", ylabel="y", xlim=span[0], ylim=span[1], aspect="auto")
    panels[0].legend(frameon=True, loc="upper right")
    panels[0].set_title("flooded up to the lower bound")
    panels[1].set_title("the pass, cell by cell")
    panels[1].locator_params(nbins=5)
    return figure


def main():
    """Bracket the pass, connect the minima at several thresholds, and bisect."""
    proven = bracket()
    where = "anywhere in the plane" if proven.whole_plane else "inside the box"
    print(f"proven: {proven.lower:.4f} <= Γ <= {proven.upper:.4f}, for paths {where}")
    for alpha, L0 in ((0.95, 120.0), (0.95, 109.6), (0.95, 109.0), (0.8, 122.0), (0.8, 120.0)):
        string = nc.connect(landscape(), LEFT, RIGHT, L0=L0, alpha=alpha)
        print(
            f"alpha = {alpha}, L0 = {L0}: {string.n_beads} beads, highest point "
            f"{string.max_error:.3f}, normalized length {string.normalized_length:.3f}; "
            f"{string.status.value}"
        )
    for alpha in (0.8, 0.95, 0.99):
        found = nc.barrier(
            landscape(),
            LEFT,
            RIGHT,
            lower=proven.lower,
            precision=1e-4,
            sampler="plain",
            alpha=alpha,
            depth=20,
        )
        print(
            f"bisection with alpha = {alpha}: a path at {found.upper:.4f} "
            f"({found.upper / proven.upper:.4f} of Γ), none found at {found.failed:.4f}"
        )
        if alpha == 0.95:
            draw(proven, found.string).savefig("mueller-brown.png", dpi=150)
    print("written to mueller-brown.png")


if __name__ == "__main__":
    main()
