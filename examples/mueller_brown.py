"""A surface whose answer is known: two minima of the Müller-Brown potential, over its pass.

    python examples/mueller_brown.py

The potential (Müller and Brown, Theor. Chim. Acta 53, 1979) plus 150 has minima near
(-0.558, 1.442) and (0.623, 0.028); every path between them must climb to 109.335, the higher of
the saddles between. In two parameters that can be proven: `nc.flood_bracket` cuts the plane into
cells, bounds the potential on each from both sides, and floods them from the lowest up until the
minima's basins meet. So Γ is known, and Dynamic String Sampling can be judged: `nc.barrier`
bisects for the lowest threshold at which it finds a path, and must not come out below.

Watch α. With α = 0.95 beads stop high on the slopes, the string stays near the pass, and the
bisection ends within 0.02 % of Γ. With α = 0.8 the same search finds no path even at 120: each bead
goes on descending to 96, slides off the narrow pass into one of the valleys, and the string never
gets over it. Where a surface has narrow passes, α belongs close to 1; on the wide valleys of QUAD
0.8 makes shorter searches.

In the figure, coloured are the cells that provably lie above the lower bound less 0.01; white ones
may lie below, and they are in two parts.
"""

import numpy as np
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
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"


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
    return nc.flood_bracket(height, slopes, curvature, LEFT, RIGHT, BOX, cells)


def draw(proven, string):
    """Draw the potential, what cannot be flooded below the proven bound, and a string."""
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    axes = figure.subplots()
    x, y = (np.linspace(*span, 500) for span in BOX)
    values = height(*np.meshgrid(x, y))
    low = proven.lower - 0.01
    axes.contourf(x, y, values, [low, 130, 160, 200, 250, 1e4], cmap="Blues", vmin=60, vmax=260)
    axes.contour(x, y, values, np.arange(10, 260, 20), colors=GREY, linewidths=0.5)
    axes.plot(*string.beads.T, "o-", color=ORANGE, markersize=4, linewidth=1.2, label="string")
    axes.plot(*np.array([LEFT, RIGHT]).T, "o", color="black", markersize=7, label="minima")
    axes.set(
        xlabel="x",
        ylabel="y",
        title=f"Müller-Brown + 150: proven {proven.lower:.3f} ≤ Γ ≤ {proven.upper:.3f},\n"
        f"string with {string.n_beads} beads, highest point {string.max_error:.3f}",
    )
    axes.legend(frameon=True, loc="upper right")
    return figure


def main():
    """Bracket the pass, connect the minima at several thresholds, and bisect."""
    proven = bracket()
    where = "anywhere in the plane" if proven.whole_plane else "inside the box"
    print(f"proven: {proven.lower:.4f} <= Γ <= {proven.upper:.4f}, for paths {where}")
    for alpha, L0 in ((0.95, 120.0), (0.95, 109.6), (0.95, 109.0), (0.8, 122.0), (0.8, 120.0)):
        string = nc.connect(landscape(), LEFT, RIGHT, L0, alpha)
        print(
            f"alpha = {alpha}, L0 = {L0}: {string.n_beads} beads, highest point "
            f"{string.max_error:.3f}, normalized length {string.normalized_length:.3f}; "
            f"{string.status.value}"
        )
    for alpha in (0.8, 0.95, 0.99):
        found = nc.barrier(
            landscape(), LEFT, RIGHT, proven.lower, 1e-4, "plain", alpha=alpha, depth=20
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
