"""Gradients against central differences."""

import numpy as np


def check_gradient(f, gradient, theta, tolerance=1e-8, step=1e-6):
    """Assert that the gradient agrees with central differences of f, parameter by parameter."""
    for p in range(theta.size):
        shift = np.zeros_like(theta)
        shift[p] = step
        expected = (f(theta + shift) - f(theta - shift)) / (2 * step)
        assert abs(gradient[p] - expected) <= tolerance * max(1.0, abs(expected)), (
            f"parameter {p}: gradient {gradient[p]}, central difference {expected}"
        )
