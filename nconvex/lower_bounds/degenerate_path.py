"""The degenerate path: it passes the set D = 0 at its lowest point and attains Γ's lower bound.

For the 2-3-2 task `width_below` computes L*, the lowest loss at width h - 1, and the plane n that
attains it. A path through a network of that plane closes the bracket: its highest loss is an upper
bound of Γ, as near to the lower bound as one asks. Let W be the input weights, V the hidden units'
activations on the three points, and U the output weights.

*Where V is regular* the best output weights U = Yᵀ V⁻¹ fit the targets, so a path of W on which
det V keeps its sign costs nothing if U follows it. Only one unit moves at a time, along the fan,
from one of finitely many input weights to the next. Its activations then are linear in t and so is
det V, which keeps its sign between two states if it has that sign at both. Dijkstra's algorithm
finds a path that keeps away from zero.

*Where V is degenerate* (D = 0). The plane n meets the fan in two places, p and q. Two units stand
on either side of p, at p - s and p + s, the third at q. U moves, W fixed, from the exact fit to the
best fit of the plane, in which both units at p have the same output weights. The loss is convex in
U and ends at R(n), so it stays below. Then the two units exchange places. On the way v(p - s) +
v(p + s) is constant, hence so are the outputs: the loss is R(n) all the time, while det V passes
zero. The other half is the same backwards.

Straight lines in (W, U) do not follow Yᵀ V⁻¹ exactly. Beads are inserted half-way until the
certificate proves of each segment that its loss is at most (1 + slack) L*.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

import numpy as np

from nconvex.curve import interpolate
from nconvex.definitions import NconvexError, require_positive, require_theta, told_apart
from nconvex.lower_bounds.width_below import Planes, narrower_infimum
from nconvex.network.problem import Problem

#: Determinant of the three units' normalised activations, below which they count as dependent.
REGULAR = 1e-9

#: Halvings of one move after which rounding, not the length of the segment, is what is too large.
MOST_HALVINGS = 40

#: The units' input weights, by their numbers.
State = tuple[int, ...]


def path_through_narrower(
    problem: Problem, theta1: np.ndarray, theta2: np.ndarray, slack: float = 0.01
) -> np.ndarray:
    """Build a path on which the loss is at most (1 + slack) L*, L* being `narrower_infimum`.

    Args:
        problem: A 2-3-2 ReLU network without biases on three points, with "mse".
        theta1: (12,) one end, of a loss of at most (1 + slack) L* and with independent units.
        theta2: (12,) the other; the path need not meet D = 0 if D has one sign at both ends.
        slack: How far above L* the path may go, relatively.

    Returns:
        (n, 12) the path's models in order; `string_through` proves how high the path rises.

    Raises:
        NconvexError: `narrower_infimum` refuses, L* is zero, an end is too high or its units are
            dependent, or slack is not positive or too small for the certificate.

    Example: `examples/counterexample.py`.
    """
    require_positive("slack", slack)
    infimum = narrower_infimum(problem)
    if problem.model.sizes != (2, 3, 2) or infimum <= 0.0:
        raise NconvexError(
            f"a path is known for 2-3-2 networks whose infimum is above zero, not for "
            f"{problem.model.sizes} with infimum {infimum!r}"
        )
    level = (1.0 + slack) * infimum
    ends = [require_theta(f"theta{k}", theta, 12) for k, theta in ((1, theta1), (2, theta2))]
    for k, theta in enumerate(ends, start=1):
        if not (loss := problem.loss(theta)) <= level:
            height, limit = told_apart(loss, level)
            raise NconvexError(
                f"theta{k} has loss {height}, above (1 + slack) L* = {limit}; train it further or "
                "raise slack"
            )
    normal = Planes(problem.X_test, problem.y_test).normal((1.0 + 0.5 * slack) * infimum)
    beads = ends[:1]
    for corner in [*_corners(problem, ends[0], ends[1], normal), ends[1]]:
        beads.extend(_below(problem, beads[-1], corner, level, MOST_HALVINGS))
    return np.array(beads)


def _corners(
    problem: Problem, theta1: np.ndarray, theta2: np.ndarray, normal: np.ndarray
) -> Iterator[np.ndarray]:
    """The models at which the path turns, before beads are inserted between them."""
    kinks = np.array([[-factor * v, factor * u] for u, v in problem.X_test for factor in (1, -1)])
    kinks /= np.linalg.norm(kinks, axis=1, keepdims=True)
    kinks = kinks[np.argsort(_angles(kinks))]
    between = kinks + np.roll(kinks, -1, axis=0)
    p, q = _meetings(problem, kinks, normal)
    given = np.concatenate([kinks, between, p, q, _weights(theta1), _weights(theta2)])
    order = np.argsort(_angles(given), kind="stable")
    weights, number = given[order], np.argsort(order)
    p_numbers, q_numbers, start, goal = number[12:].reshape(4, 3).tolist()
    exchanges = [(p_numbers, q_numbers[1]), (q_numbers, p_numbers[1])]
    states = _cheapest(_determinants(problem, weights), tuple(start), tuple(goal), exchanges)
    yield _best(problem, weights[list(states[0])])
    for before, after in itertools.pairwise(states):
        left, right = weights[list(before)], weights[list(after)]
        moved = np.any(left != right, axis=1)
        if np.sum(moved) == 2:
            met = left.copy()
            met[moved] = 0.5 * np.sum(left[moved], axis=0)
            outputs = _best(problem, met)[6:]
            yield np.concatenate([left.T.ravel(), outputs])
            yield np.concatenate([right.T.ravel(), outputs])
        yield _best(problem, right)


def _meetings(problem: Problem, kinks: np.ndarray, normal: np.ndarray) -> list[np.ndarray]:
    """The places where a plane meets the fan, each between its two neighbours: (3, 2)."""
    places = []
    for left, right in zip(kinks, np.roll(kinks, -1, axis=0), strict=True):
        here, there = _activations(problem, np.array([left, right])) @ normal
        if here * there < 0.0:
            t = here / (here - there)
            step = 0.5 * min(t, 1.0 - t)
            places.append(interpolate(left, right, np.array([[t - step], [t], [t + step]])))
    return places[:2]


def _cheapest(
    determinants: np.ndarray, start: State, goal: State, exchanges: list[tuple[list[int], int]]
) -> list[State]:
    """The states on a way from start to goal, by Dijkstra's algorithm.

    A state costs 1 / |det V|, so that output weights are small on the way. det V keeps its sign on
    every move but an exchange of two units at D = 0.
    """
    costs = {start: 0.0}
    came_from: dict[State, State] = {}
    waiting = [(0.0, start)] if determinants[start] != 0.0 else []
    while waiting:
        cost, state = heapq.heappop(waiting)
        if state == goal:
            break
        for following, exchanged in _moves(state, len(determinants), exchanges):
            if not exchanged and determinants[following] * determinants[state] <= 0.0:
                continue
            total = cost + 1.0 / abs(determinants[following])
            if total < costs.get(following, np.inf):
                costs[following], came_from[following] = total, state
                heapq.heappush(waiting, (total, following))
    else:
        raise NconvexError(
            "no path was found: units at an end or at the degenerate point are nearly dependent; "
            "train the end again from another start, or raise slack"
        )
    states = [goal]
    while states[-1] != start:
        states.append(came_from[states[-1]])
    return states[::-1]


def _moves(
    state: State, count: int, exchanges: list[tuple[list[int], int]]
) -> Iterator[tuple[State, bool]]:
    """The states that can follow, and whether that is an exchange.

    One unit moves to the next input weights, or two change places while the third is where it must.
    """
    for unit in range(3):
        for step in (-1, 1):
            yield (*state[:unit], (state[unit] + step) % count, *state[unit + 1 :]), False
    for (before, _, after), third in exchanges:
        if sorted(state) == sorted((before, after, third)):
            swap = {before: after, after: before, third: third}
            yield tuple(swap[number] for number in state), True


def _below(
    problem: Problem, left: np.ndarray, right: np.ndarray, level: float, halvings: int
) -> list[np.ndarray]:
    """The models after `left` up to `right`, with segments that are proven to lie below a level."""
    if problem.max_gamma(left, right, level).upper <= level:
        return [right]
    if halvings == 0:
        raise NconvexError(
            f"rounding keeps the certificate from proving a loss below {level:.6g} on this path; "
            "raise slack"
        )
    middle = _best(problem, interpolate(_weights(left), _weights(right), 0.5))
    return [
        *_below(problem, left, middle, level, halvings - 1),
        *_below(problem, middle, right, level, halvings - 1),
    ]


def _best(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """The model with input weights (3, 2) that fits best, with the least output weights."""
    outputs = np.linalg.pinv(_activations(problem, weights).T) @ problem.y_test
    return np.concatenate([weights.T.ravel(), outputs.ravel()])


def _determinants(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """det V of the normalised activations of all triples of weights, 0 if too small to tell."""
    V = _activations(problem, weights)
    V /= np.maximum(np.linalg.norm(V, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    determinants = np.einsum("ai,bci->abc", V, np.cross(V[:, None], V[None]))
    return np.where(np.abs(determinants) < REGULAR, 0.0, determinants)


def _activations(problem: Problem, weights: np.ndarray) -> np.ndarray:
    return np.maximum(weights @ problem.X_test.T, 0.0)


def _weights(theta: np.ndarray) -> np.ndarray:
    return theta[:6].reshape(2, 3).T


def _angles(weights: np.ndarray) -> np.ndarray:
    return np.arctan2(weights[:, 1], weights[:, 0])
