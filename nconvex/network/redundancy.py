"""Hidden units that the others can stand in for: how a trained network is given new freedom.

A network that has stopped learning above its threshold mostly has units that do nothing for it: a
ReLU that is off on all the data, or on on all of them like another one. Let A (N, h) be the
activations of a hidden layer on the data, and let unit u's be a combination of the others' and,
where the next layer has biases, of ones:

    A_u = Σ_{v≠u} c_v A_v + c₀

Then adding c_v times u's outgoing weights to v's, and c₀ times them to the next layer's biases,
while u's own go to 0, changes no output; and since the next layer's inputs are linear in these
weights, none changes **all along** the straight line to the folded network. There u feeds nothing,
and its incoming weights may be drawn anew: again no output changes on the way. Both segments have
constant loss, and at their end the network has a unit that can learn.

A dead unit is the case c = 0. Where no unit is redundant, as often with smooth activations, one of
those that the others approximate best is folded, by least squares. That changes outputs, and
whether the loss stays low on the straight line has to be found out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nconvex.network.mlp import MLP
from nconvex.reductions import dot, inverse_gram, norm, triangle

#: A unit is taken for redundant if its fold changes the loss by less than this part of it. Rounding
#: changes it by about 1e-13; the certificate judges the path in any case.
FREE = 1e-6

#: Where no unit is redundant, one of so many of the least needed is folded, at random.
LEAST_NEEDED = 3


def revive(
    model: MLP,
    theta: np.ndarray,
    loss: Callable[[np.ndarray], float],
    X: np.ndarray,
    centres: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Fold away all redundant units, or else one that is little needed, and draw them anew.

    New incoming weights are drawn as for a start; the bias is such that the unit's kink, or the
    middle of its slope, goes through one of the data.

    Args:
        model: The network, with a hidden layer at least.
        theta: (P,) its parameters.
        loss: L(X, θ).
        X: (N, n₀) inputs on which activations are compared: those that the loss is of.
        centres: (M, n₀) inputs among which kinks are placed.
        rng: Draws weights, kinks, and the unit where none is redundant.

    Returns:
        folded: (P,) the units' outgoing weights folded into the others'; the loss is constant on
            the line from theta if they were redundant.
        revived: (P,) their incoming weights drawn anew; the loss is constant on the line from
            `folded`, always.
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
            place = rng.integers(len(centres))
            kink = model.activations(theta, centres[place : place + 1])[layer][0]
            b[unit] = -dot(kink, W[:, unit])
    return folded, revived


def _inverse(
    model: MLP, R: np.ndarray, layer: int, gone: list[tuple[int, int]]
) -> tuple[list[int], np.ndarray]:
    """A layer's units that are left, and G⁻¹, G the Gram matrix of theirs and the ones' columns.

    The residual of A_u's regression on the others is 1/(G⁻¹)_uu, its coefficients are
    c_v = -(G⁻¹)_uv / (G⁻¹)_uu.
    """
    units = model.sizes[layer + 1]
    left = [unit for unit in range(units) if (layer, unit) not in gone]
    return left, inverse_gram(R[:, [*left, *range(units, R.shape[1])]])


def _needs(
    model: MLP, theta: np.ndarray, inverses: list[tuple[list[int], np.ndarray]]
) -> list[tuple[float, int, int]]:
    """How much the next layer's inputs change if a unit is folded: (change, layer, unit)."""
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
    place = left.index(unit)
    c = -inverse[place] / inverse[place, place]
    outgoing = W[unit].copy()
    W[left] += c[: len(left), None] * outgoing
    if b is not None:
        b += c[-1] * outgoing
    W[unit] = 0.0
    return folded
