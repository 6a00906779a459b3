"""Redundant hidden units: merge them into others at no change of outputs, or draw them anew.

A network that stops learning above its threshold mostly has redundant units: a ReLU that is off on
all data, or two that are on on all data. Let A (N, h) be the activations of a hidden layer on the
data. Let those of unit u be a combination of the others', and of ones if the next layer has biases:

    A_u = Σ_{v≠u} c_v A_v + c₀

To *fold* u (a function-preserving merge), add c_v times its outgoing weights to those of v, and c₀
times them to the next layer's biases, and set its own to 0. No output changes. The next layer's
inputs are linear in these weights, so no output changes **all along** the straight line to the
folded network either. There u feeds nothing: its incoming weights may be drawn anew, and again no
output changes on the way. Both segments have constant loss, and at their end the network has a unit
that can learn.

A dead unit is the case c = 0. Often no unit is redundant, mainly with smooth activations. Then one
of those that the others approximate best is folded, by least squares. That changes outputs; the
loss on the straight line may rise, and has to be computed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nconvex.network.mlp import MLP
from nconvex.reductions import dot, inverse_gram, norm, triangle

#: A unit is redundant if folding it changes the loss by less than this share. Rounding changes the
#: loss by about 1e-13. The certificate decides on the path in any case.
FREE = 1e-6

#: If no unit is redundant, one of this many of the least needed is folded, at random.
LEAST_NEEDED = 3


def revive(
    model: MLP,
    theta: np.ndarray,
    loss: Callable[[np.ndarray], float],
    X: np.ndarray,
    centres: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Fold all redundant units, or else one that is little needed, and draw them anew.

    New incoming weights are drawn as for a start. The bias puts the unit's kink, or the middle of
    its slope, on one of the data.

    Args:
        model: The network, with a hidden layer at least.
        theta: (P,) its parameters.
        loss: L(X, θ).
        X: (N, n₀) the loss's inputs, on which activations are compared.
        centres: (M, n₀) inputs of which one is drawn for each kink.
        rng: Draws weights, kinks, and the unit if none is redundant.

    Returns:
        folded: (P,) with the units' outgoing weights folded into the others'. On the line from
            theta the loss is constant if the units are redundant.
        revived: (P,) with their incoming weights drawn anew. On the line from `folded` the loss is
            always constant.
    """
    layers = [
        triangle(A if b is None else np.concatenate([A, np.ones((len(A), 1))], axis=1))
        for A, (_, b) in zip(
            model.activations(theta, X)[1:-1], model.unpack(theta)[1:], strict=True
        )
    ]
    whole = loss(theta)
    folded, gone = theta, list[tuple[int, int]]()
    while len(gone) < sum(model.sizes[1:-1]):
        inverses = [_inverse(model, R, layer, gone) for layer, R in enumerate(layers)]
        needs = sorted(_needs(model, folded, inverses))
        _, layer, unit = needs[0]
        candidate = _fold(model, folded, inverses, layer, unit)
        if abs(loss(candidate) - whole) <= FREE * whole:
            folded = candidate
            gone.append((layer, unit))
            continue
        if not gone:
            _, layer, unit = needs[rng.integers(min(LEAST_NEEDED, len(needs)))]
            folded = _fold(model, folded, inverses, layer, unit)
            gone.append((layer, unit))
        break
    revived = folded.copy()
    drawn = model.unpack(model.initial(rng))
    for layer, unit in sorted(gone):
        W, b = model.unpack(revived)[layer]
        W[:, unit] = drawn[layer][0][:, unit]
        if b is not None:
            one = rng.integers(len(centres))
            kink = model.activations(theta, centres[one : one + 1])[layer][0]
            b[unit] = -dot(kink, W[:, unit])
    return folded, revived


def _inverse(
    model: MLP, R: np.ndarray, layer: int, gone: list[tuple[int, int]]
) -> tuple[list[int], np.ndarray]:
    """Return a layer's units that are left, and the inverse of the Gram matrix G of [A, 1].

    A_u's regression on the others has the residual 1/(G⁻¹)_uu and the coefficients
    c_v = -(G⁻¹)_uv / (G⁻¹)_uu.
    """
    units = model.sizes[layer + 1]
    left = [unit for unit in range(units) if (layer, unit) not in gone]
    return left, inverse_gram(R[:, [*left, *range(units, R.shape[1])]])


def _needs(
    model: MLP, theta: np.ndarray, inverses: list[tuple[list[int], np.ndarray]]
) -> list[tuple[float, int, int]]:
    """Return how much the next layer's inputs change if a unit is folded: (change, layer, unit)."""
    result = []
    for layer, (left, inverse) in enumerate(inverses):
        W, _ = model.unpack(theta)[layer + 1]
        needs = norm(W[left]) / np.sqrt(np.diag(inverse)[: len(left)])
        result += [(float(need), layer, unit) for need, unit in zip(needs, left, strict=True)]
    return result


def _fold(
    model: MLP,
    theta: np.ndarray,
    inverses: list[tuple[list[int], np.ndarray]],
    layer: int,
    unit: int,
) -> np.ndarray:
    """Give a unit's outgoing weights to the others of its layer, by least squares."""
    folded = theta.copy()
    W, b = model.unpack(folded)[layer + 1]
    left, inverse = inverses[layer]
    u = left.index(unit)
    c = -inverse[u] / inverse[u, u]
    outgoing = W[unit].copy()
    W[left] += c[: len(left), None] * outgoing
    if b is not None:
        b += c[-1] * outgoing
    W[unit] = 0.0
    return folded
