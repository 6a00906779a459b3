"""A surface whose answer is known: two minima of the Müller-Brown potential, over its pass.

    python examples/mueller_brown.py

The potential (Müller and Brown, Theor. Chim. Acta 53, 1979) plus 150 has minima near
(-0.558, 1.442) and (0.623, 0.028); every path between them must climb to 109.335, the higher of
the saddles between. So Γ is known, and Dynamic String Sampling can be judged: at a threshold of
109.6 it has to find a path, at 109.0 there is none to be found.

Watch α. With α = 0.95 beads stop high on the slopes and the string stays near the pass. With
α = 0.8 the same search finds no path even at 120: each bead goes on descending to 96, slides off
the narrow pass into one of the valleys, and the string never gets over it. Where a surface has
narrow passes, α belongs close to 1; on the wide valleys of QUAD 0.8 makes shorter searches.
"""

import numpy as np

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


def potential(theta):
    """V(x, y) + 150 = 150 + Σ A exp(a (x - x₀)² + b (x - x₀)(y - y₀) + c (y - y₀)²)."""
    x, y = theta[0] - x0, theta[1] - y0
    return 150.0 + float(np.sum(A * np.exp(a * x * x + b * x * y + c * y * y)))


def gradient(theta):
    """(∂V/∂x, ∂V/∂y)."""
    x, y = theta[0] - x0, theta[1] - y0
    terms = A * np.exp(a * x * x + b * x * y + c * y * y)
    return np.array([np.sum(terms * (2 * a * x + b * y)), np.sum(terms * (b * x + 2 * c * y))])


def landscape():
    """Make the landscape; steps of 0.001 are small beside the pass, which is 0.1 wide."""
    settings = nc.RMSProp(learning_rate=1e-3, final_learning_rate=1e-4, check_every=1)
    return nc.FunctionLandscape(potential, gradient, settings)


def main():
    """Connect the minima at several thresholds."""
    print(f"the pass lies at {SADDLE}")
    for alpha, L0 in ((0.95, 120.0), (0.95, 109.6), (0.95, 109.0), (0.8, 122.0), (0.8, 120.0)):
        string = nc.connect(landscape(), LEFT, RIGHT, L0, alpha)
        print(
            f"alpha = {alpha}, L0 = {L0}: {string.n_beads} beads, highest point "
            f"{string.max_error:.3f}, normalized length {string.normalized_length:.3f}; "
            f"{string.status.value}"
        )


if __name__ == "__main__":
    main()
