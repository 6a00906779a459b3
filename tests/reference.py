"""Plain NumPy references, samples-major and written from the formulas, not from the kernels."""

import numpy as np

DELTA = 0.1

ACTIVATIONS = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.where(z > 0, z, 0.0), lambda z: (z > 0).astype(float)),
    "sigmoid": (
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    ),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
}

LOSSES = {
    "mse": (lambda r: r**2, lambda r: 2 * r),
    "mae": (np.abs, np.sign),
    "huber": (
        lambda r: np.where(np.abs(r) <= DELTA, r**2 / 2, DELTA * (np.abs(r) - DELTA / 2)),
        lambda r: np.clip(r, -DELTA, DELTA),
    ),
    "log-cosh": (lambda r: np.logaddexp(r, -r) - np.log(2), np.tanh),
}


def unpack(model, theta):
    """Split theta into (W, b) by the documented layout, on its own account."""
    layers, rest = [], theta
    for m, n in zip(model.sizes[:-1], model.sizes[1:], strict=True):
        W, rest = rest[: m * n].reshape(m, n), rest[m * n :]
        b, rest = (rest[:n], rest[n:]) if model.biases else (np.zeros(n), rest)
        layers.append((W, b))
    assert rest.size == 0
    return layers


def forward(model, theta, X):
    """All pre-activations and activations."""
    zs, activations = [], [X]
    layers = unpack(model, theta)
    for index, (W, b) in enumerate(layers):
        last = index == len(layers) - 1
        name = model.output_activation if last else model.activation
        zs.append(activations[-1] @ W + b)
        activations.append(ACTIVATIONS[name][0](zs[-1]))
    return zs, activations


def loss(model, name, theta, X, y):
    _, activations = forward(model, theta, X)
    return LOSSES[name][0](activations[-1] - y).sum() / len(X)


def gradient(model, name, theta, X, y):
    zs, activations = forward(model, theta, X)
    layers = unpack(model, theta)
    parts = []
    upstream = LOSSES[name][1](activations[-1] - y) / len(X)
    for index in range(len(layers) - 1, -1, -1):
        last = index == len(layers) - 1
        s = model.output_activation if last else model.activation
        d = upstream * ACTIVATIONS[s][1](zs[index])
        if model.biases:
            parts.append(d.sum(axis=0))
        parts.append((activations[index].T @ d).ravel())
        upstream = d @ layers[index][0].T
    return np.concatenate(parts[::-1])


def rmsprop(theta, gradient, steps, settings):
    theta, v = theta.copy(), np.zeros_like(theta)
    for n in range(steps):
        g = gradient(theta)
        v = settings.decay * v + (1 - settings.decay) * g**2
        theta = theta - settings.learning_rate * settings.shrink**n * g / (
            np.sqrt(v) + settings.epsilon
        )
    return theta


def check_gradient(f, gradient, theta, tolerance=1e-8, step=1e-6):
    """Assert that the gradient agrees with central differences of f, parameter by parameter."""
    for p in range(theta.size):
        shift = np.zeros_like(theta)
        shift[p] = step
        expected = (f(theta + shift) - f(theta - shift)) / (2 * step)
        assert abs(gradient[p] - expected) <= tolerance * max(1.0, abs(expected)), (
            f"parameter {p}: gradient {gradient[p]}, central difference {expected}"
        )
