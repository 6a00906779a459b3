"""Permutation alignment of two networks: an assignment problem for each hidden layer.

The hidden units of a network may be put in any order without changing what it computes. Before two
networks are compared or connected, the second's units can be put in the order in which its weights
are most like the first's (weight matching, Ainsworth et al. 2022): layer by layer the order that
makes the weights' inner products largest is an assignment problem; layers are visited in turn until
nothing changes. That is an ascent over orders, which can end at a local maximum. So where the first
layer is small, each of its orders is a start; with two hidden layers this finds the best.
"""

from __future__ import annotations

import itertools

import numpy as np

from nconvex.definitions import (
    NconvexError,
    numbers,
    require_ends,
    require_finite,
    require_kind,
)
from nconvex.network.mlp import MLP
from nconvex.reductions import dot, product

#: Units of the first hidden layer up to which each of its orders is a start.
SMALL = 5


def assignment(gains: np.ndarray) -> np.ndarray:
    """Find the permutation p that maximises Σᵢ gains[i, p(i)].

    By shortest augmenting paths (Jonker and Volgenant 1987): rows are assigned one after the other;
    each time the cheapest chain of reassignments is found by Dijkstra's algorithm on costs that
    the dual variables keep from being negative. O(n³).

    Args:
        gains: (n, n) finite numbers.

    Returns:
        (n,) the column of each row.
    """
    costs = -numbers("gains", gains)
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1]:
        raise NconvexError(f"gains must be a square matrix, not of shape {costs.shape}")
    require_finite("gains", costs)
    n = len(costs)
    row_prices, column_prices = np.zeros(n), np.zeros(n)
    row_of = np.full(n, -1)
    for start in range(n):
        distances, came_from = np.full(n, np.inf), np.full(n, -1)
        done = np.zeros(n, dtype=bool)
        row, column, reached = start, -1, 0.0
        while row >= 0:
            further = reached + costs[row] - row_prices[row] - column_prices
            shorter = ~done & (further < distances)
            distances[shorter], came_from[shorter] = further[shorter], row
            column = int(np.argmin(np.where(done, np.inf, distances)))
            reached, done[column], row = distances[column], True, row_of[column]
        last = distances[column]
        for visited in np.flatnonzero(done):
            if visited != column:
                row_prices[row_of[visited]] += last - distances[visited]
            column_prices[visited] -= last - distances[visited]
        row_prices[start] += last
        while column >= 0:  # reassign backwards along the chain
            row = came_from[column]
            row_of[column] = row
            previous = np.flatnonzero((row_of == row) & (np.arange(n) != column))
            column = int(previous[0]) if row != start and previous.size else -1
    order = np.empty(n, dtype=np.int64)
    order[row_of] = np.arange(n)
    return order


def permuted(model: MLP, theta: np.ndarray, orders: list[np.ndarray]) -> np.ndarray:
    """Put the units of each hidden layer in another order; the network computes the same.

    Args:
        model: The network.
        theta: (P,) its parameters.
        orders: For each hidden layer of h units (h,), which old unit comes at each place.
    """
    result = theta.copy()
    layers = model.unpack(result)
    for layer, order in enumerate(orders):
        W, b = layers[layer]
        W[:] = W[:, order]
        if b is not None:
            b[:] = b[order]
        layers[layer + 1][0][:] = layers[layer + 1][0][order]
    return result


def aligned(model: MLP, theta1: np.ndarray, theta2: np.ndarray) -> np.ndarray:
    """Put θ₂'s hidden units in the order in which its weights are most like θ₁'s.

    Args:
        model: The network of both.
        theta1: (P,) the one that stays.
        theta2: (P,) the one whose units are put in order.

    Returns:
        (P,) θ₂ with its units in another order: the same function, but **another point**.
    """
    require_kind("model", model, MLP, "MLP((1, 4, 4, 1))")
    theta1, theta2 = require_ends(theta1, theta2, model.n_parameters)
    hidden = [np.arange(units) for units in model.sizes[1:-1]]
    starts = [hidden]
    if len(hidden) > 1 and len(hidden[0]) <= SMALL:
        starts = [
            [np.array(first), *hidden[1:]] for first in itertools.permutations(hidden[0].tolist())
        ]
    ends = [permuted(model, theta2, _ascend(model, theta1, theta2, orders)) for orders in starts]
    return max(ends, key=lambda theta: dot(theta1, theta))


def _ascend(
    model: MLP, theta1: np.ndarray, theta2: np.ndarray, orders: list[np.ndarray]
) -> list[np.ndarray]:
    """Improve the orders of θ₂'s hidden layers, one layer at a time, until none can be improved."""
    fixed = model.unpack(theta1)
    orders = list(orders)
    # With two hidden layers the second is best visited first: it is then the best for the first's.
    last, unchanged = len(orders) - 1, 0
    while unchanged < len(orders):
        layer = last
        last = last - 1 if last else len(orders) - 1
        ordered = model.unpack(permuted(model, theta2, orders))
        (W, b), (V, c) = fixed[layer], ordered[layer]
        gains = product(W.T, V) + product(fixed[layer + 1][0], ordered[layer + 1][0].T)
        if b is not None and c is not None:
            gains = gains + np.outer(b, c)
        better = assignment(gains)
        gain = gains[np.arange(len(better)), better].sum() - np.trace(gains)
        unchanged += 1
        if gain > 1e-9 * (1.0 + abs(float(np.trace(gains)))):
            orders[layer] = orders[layer][better]
            unchanged = 0
    return orders
