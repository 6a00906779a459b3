"""A multilayer perceptron, its gradient by backpropagation, and RMSProp, in plain NumPy.

This is what the compiled kernels compute, written to be read. Samples are rows:

    layer     z = a W + b,  a' = s(z),   first a = X (N, n₀), last a = the outputs f (N, n_k)
    loss      L = 1/N Σₙ Σₖ ℓ(rₙₖ),      residuals r = f - y

Each function stands beside its backward function. The chain rule goes one variable at a time: from
d = ∂L/∂(result) a backward function computes ∂L/∂(argument). Sums over an index are written with
`einsum`, which names the index and, unlike ``@``, has the same last bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import numpy as np

from nconvex.definitions import RMSProp
from nconvex.kernels.parts import HUBER_DELTA, LEAKY_SLOPE

#: `network.mlp.MLP`, which uses `forward` itself; its `unpack` gives W and b of each layer.
MLP = Any


def linear(a: np.ndarray, W: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """z = a W + b."""
    z = np.einsum("ni,ij->nj", a, W)
    return z if b is None else z + b


def linear_backward(
    d: np.ndarray, a: np.ndarray, W: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """∂L/∂W = aᵀ d, ∂L/∂b = Σₙ d and ∂L/∂a = d Wᵀ from d = ∂L/∂z."""
    return np.einsum("ni,nj->ij", a, d), d.sum(axis=0), np.einsum("nj,ij->ni", d, W)


#: s(z) of each activation.
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky-relu": lambda z: np.maximum(z, LEAKY_SLOPE * z),
    "sigmoid": lambda z: 0.5 * (1.0 + np.tanh(0.5 * z)),  # 1 / (1 + exp(-z)) without overflow
    "tanh": np.tanh,
}

#: s'(z) of each activation, in terms of its value a = s(z).
ACTIVATION_SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": np.ones_like,
    "relu": lambda a: (a > 0.0).astype(np.float64),
    "leaky-relu": lambda a: np.where(a > 0.0, 1.0, LEAKY_SLOPE),
    "sigmoid": lambda a: a * (1.0 - a),
    "tanh": lambda a: 1.0 - a**2,
}

#: ℓ(r) of each loss.
LOSSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mse": np.square,
    "mae": np.abs,
    "huber": lambda r: np.where(
        np.abs(r) <= HUBER_DELTA, 0.5 * r**2, HUBER_DELTA * (np.abs(r) - 0.5 * HUBER_DELTA)
    ),
    "log-cosh": lambda r: np.logaddexp(r, -r) - np.log(2.0),
}

#: ℓ'(r) of each loss.
LOSS_SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mse": lambda r: 2.0 * r,
    "mae": np.sign,
    "huber": lambda r: np.clip(r, -HUBER_DELTA, HUBER_DELTA),
    "log-cosh": np.tanh,
}


#: A loss's name, or the pair (ℓ, ℓ') itself.
Loss = Any


def _of_residuals(loss: Loss) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    return (LOSSES[loss], LOSS_SLOPES[loss]) if isinstance(loss, str) else loss


def _activations(model: MLP) -> list[str]:
    return [model.activation] * (len(model.sizes) - 2) + [model.output_activation]


def forward(model: MLP, theta: np.ndarray, X: np.ndarray) -> list[np.ndarray]:
    """Every layer's a (N, n), first the inputs X (N, n₀), last the outputs."""
    layers = [X]
    for (W, b), s in zip(model.unpack(theta), _activations(model), strict=True):
        z = linear(layers[-1], W, b)
        layers.append(ACTIVATIONS[s](z))
    return layers


def backward(model: MLP, theta: np.ndarray, layers: list[np.ndarray], d: np.ndarray) -> np.ndarray:
    """∂L/∂θ (P,) from the layers of `forward` and d = ∂L/∂f (N, n_k)."""
    gradient = np.empty(theta.size)
    weights, gradients, names = model.unpack(theta), model.unpack(gradient), _activations(model)
    for k in reversed(range(len(names))):
        (W, _), (dW, db) = weights[k], gradients[k]
        d = d * ACTIVATION_SLOPES[names[k]](layers[k + 1])
        dW[:], sum_d, d = linear_backward(d, layers[k], W)
        if db is not None:
            db[:] = sum_d
    return gradient


def mean_loss(model: MLP, loss: Loss, theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """L(X, θ)."""
    return float(_of_residuals(loss)[0](forward(model, theta, X)[-1] - y).sum() / len(X))


def gradient(model: MLP, loss: Loss, theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂L/∂θ (P,)."""
    layers = forward(model, theta, X)
    return backward(model, theta, layers, _of_residuals(loss)[1](layers[-1] - y) / len(X))


def rmsprop(
    theta: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray], settings: RMSProp
) -> Iterator[np.ndarray]:
    """θ₀, θ₁, ... up to the budget: v = decay v + (1 - decay) g²,  θ = θ - rate g / (√v + ε)."""
    v = np.zeros_like(theta)
    for step in range(settings.budget):
        yield theta
        g = gradient(theta)
        v = settings.decay * v + (1.0 - settings.decay) * g * g
        rate = settings.learning_rate * settings.shrink**step
        theta = theta - rate * g / (np.sqrt(v) + settings.epsilon)
    yield theta


def descend(
    start: np.ndarray,
    gradient: Callable[[np.ndarray], np.ndarray],
    loss: Callable[[np.ndarray], float],
    target: float,
    settings: RMSProp,
) -> tuple[np.ndarray, float, int]:
    """Steps 1 and 3: RMSProp until the loss is at most `target`; returns θ, its loss, the steps."""
    for step, theta in enumerate(rmsprop(start, gradient, settings)):
        if step % settings.check_every == 0 or step == settings.budget:
            reached = loss(theta) if np.isfinite(theta).all() else inf
            if not target < reached < inf:  # there, or no longer a number
                break
    return theta, reached, step
