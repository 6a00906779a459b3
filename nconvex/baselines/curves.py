"""Baselines: other methods that connect two models, on the same landscape and gradient budget.

Each takes a landscape and two ends and returns a `String`. The beads are the corners of the path.
Its maximum is bracketed as for a sampler's string, with proof where the landscape has one, and it
is connected only if that is at most L₀. Every gradient counts as one evaluation. We implemented
these methods anew; their authors' code is not used:

- `straight_line`: no search at all.
- `polychain`, `bezier` (Garipov et al. 2018): a curve φ(t) = Σₖ cₖ(t) θₖ between fixed ends, with
  free θₖ in between, is trained to a low mean loss ∫ L(φ(t)) dt. Each step draws t in [0, 1], one
  in each of `STRATA` equal parts, and moves θₖ by RMSProp along the mean of cₖ(t) ∇L(φ(t)). The
  coefficients cₖ are hats for the chain of straight lines, Bernstein's polynomials for Bézier
  curves. A Bézier curve is certified, and returned, as the polygon through `CORNERS` of its points.
- `nudged_elastic_band` (Draxler et al. 2018): pivots move by RMSProp along -∇L, less its part
  along the path, plus a spring force along the path that keeps them apart evenly. After each cycle
  a pivot is inserted at the highest point of each segment above L₀; learning rates fall from cycle
  to cycle.
- `align` (Ainsworth et al. 2022): puts the second network's units in the order of the first's,
  then goes straight. It ends at P(θ₂), **not at θ₂**, and so answers another question.

Training stops as soon as the path is proven to be below L₀.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from math import comb
from typing import Protocol

import numpy as np

from nconvex.baselines.assignment import aligned
from nconvex.curve import interpolate, peak_between
from nconvex.definitions import (
    DescentStatus,
    Insertion,
    Move,
    NconvexError,
    Peak,
    RMSProp,
    Seed,
    generator,
    require_integer,
    require_kind,
)
from nconvex.landscape import Differentiable, Landscape, accepted
from nconvex.network.base import NetworkLandscape
from nconvex.reductions import norm, product
from nconvex.string import String, string_through

#: Gradient evaluations that a baseline may take by default.
BUDGET = 60_000

#: Points of a curve that one step takes gradients at, one in each part of [0, 1].
STRATA = 8

#: Straight segments of the polygon that stands for a Bézier curve.
CORNERS = 64

#: Free corners at most: from a degree of 1,030 on, Bézier curves' coefficients overflow.
MOST_BENDS = 1_000

#: Steps between two checks of a curve or a band, as between two evaluations of a test loss.
CHECK_EVERY = 10

#: Pivots of an elastic band between its ends at first, and at most. With at most 40 it connects a
#: third as many pairs of 1-4-4-1 networks at 1e-4; with 70 to 1,000 it did the same on 20 pairs.
PIVOTS = 1
MOST_PIVOTS = 100

#: Steps of an elastic band in one cycle, each a gradient for every pivot.
CYCLE = 200

#: Strength of its springs, relative to the gradient's norm.
SPRING = 1.0

#: Learning rates of curves and bands, from the first to the last evaluation: the best of those
#: tried on 1-4-4-1 networks, from 2e-3 to 2e-2 at first and from 1e-5 to 1e-4 at last.
RATES = RMSProp(learning_rate=1e-2, final_learning_rate=1e-4)


class _Surface(Landscape, Differentiable, Protocol):
    """What a curve can be trained on."""


def straight_line(
    landscape: Landscape, theta1: np.ndarray, theta2: np.ndarray, L0: float, seed: Seed = 0
) -> String:
    """Connect θ₁ and θ₂ by the straight line.

    Raises:
        NconvexError: An end has the wrong shape, or L0 is not positive.
        EndpointAboveL0: An end's loss exceeds L₀.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> straight_line(bowl, [1.0, 0.0], [0.0, 1.0], 2.5).connected
        True
    """
    theta1, theta2, seed = accepted(landscape, theta1, theta2, L0, seed)
    return string_through(landscape, [theta1, theta2], L0, sampler="line", seed=seed)


def align(
    landscape: Landscape, theta1: np.ndarray, theta2: np.ndarray, L0: float, seed: Seed = 0
) -> String:
    """Connect θ₁ and P(θ₂) by the straight line; P puts θ₂'s hidden units in the order of θ₁'s.

    Raises:
        NconvexError: The landscape is not that of a network, or as for `straight_line`.
        EndpointAboveL0: An end's loss exceeds L₀.

    Example: `examples/baselines.py`.
    """
    if not isinstance(landscape, NetworkLandscape):
        raise NconvexError("only networks have units that can be aligned; pass a Problem")
    theta1, theta2, seed = accepted(landscape, theta1, theta2, L0, seed)
    end = aligned(landscape.model, theta1, theta2)
    return string_through(landscape, [theta1, end], L0, sampler="align", seed=seed)


def polychain(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    budget: int = BUDGET,
    seed: Seed = 0,
    bends: int = 7,
    rmsprop: RMSProp = RATES,
) -> String:
    """Train a chain of straight lines with free bends; see the module.

    Args:
        landscape: The loss surface; it must be `Differentiable`.
        theta1: (P,) one end, with loss ≤ L₀.
        theta2: (P,) the other.
        L0: The threshold.
        budget: Gradient evaluations.
        seed: Of the t that are drawn, and of gradients that are estimates.
        bends: Free corners.
        rmsprop: Learning rates of the first and the last step; `RATES` by default.

    Raises:
        NconvexError: An argument is out of its range, an end has the wrong shape, or the landscape
            has no gradients.
        EndpointAboveL0: An end's loss exceeds L₀.

    Example: `examples/baselines.py`.
    """
    require_integer("bends", bends, 1, MOST_BENDS)

    def hats(t: np.ndarray) -> np.ndarray:
        return np.maximum(0.0, 1.0 - np.abs(t[:, None] * (bends + 1) - np.arange(bends + 2)))

    corners = np.linspace(0.0, 1.0, bends + 2)
    return _curve(
        "polychain", hats, corners, landscape, theta1, theta2, L0, budget, seed, bends, rmsprop
    )


def bezier(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    budget: int = BUDGET,
    seed: Seed = 0,
    bends: int = 7,
    rmsprop: RMSProp = RATES,
) -> String:
    """Train a Bézier curve of degree bends + 1; see the module and `polychain`.

    Example: `examples/baselines.py`.
    """
    require_integer("bends", bends, 1, MOST_BENDS)
    degree = bends + 1
    k = np.arange(degree + 1)
    binomials = np.array([comb(degree, j) for j in k], dtype=np.float64)

    def bernstein(t: np.ndarray) -> np.ndarray:
        return np.asarray(binomials * t[:, None] ** k * (1.0 - t[:, None]) ** (degree - k))

    corners = np.linspace(0.0, 1.0, CORNERS + 1)
    return _curve(
        "bezier", bernstein, corners, landscape, theta1, theta2, L0, budget, seed, bends, rmsprop
    )


def _curve(
    name: str,
    coefficients: Callable[[np.ndarray], np.ndarray],
    corners: np.ndarray,
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    budget: int,
    seed: Seed,
    bends: int,
    rmsprop: RMSProp,
) -> String:
    landscape, theta1, theta2, numbers = _trainable(
        landscape, theta1, theta2, L0, budget, seed, rmsprop
    )
    rng = generator(numbers)
    points = interpolate(theta1, theta2, np.linspace(0.0, 1.0, bends + 2)[:, None])
    mean_square = np.zeros((bends, theta1.size))
    evaluations = 0

    def path() -> np.ndarray:
        beads = product(coefficients(corners), points)
        beads[0], beads[-1] = theta1, theta2
        return beads

    before = peak_between(landscape, theta1, theta2, L0)
    while evaluations + STRATA <= budget:
        if evaluations % (CHECK_EVERY * STRATA) == 0 and _low(landscape, path(), L0):
            break
        t = (np.arange(STRATA) + rng.random(STRATA)) / STRATA
        weights = coefficients(t)
        g = curve_gradient(landscape, points, weights, rng)
        evaluations += STRATA
        points[1:-1] -= _step(g, mean_square, evaluations / budget, rmsprop)
    return _finished(name, landscape, path(), L0, numbers, before, evaluations)


def curve_gradient(
    landscape: Differentiable, points: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The gradient of 1/T Σ L(Σₖ cₖ(t) θₖ) with respect to the inner θₖ, (K-2, P).

    Args:
        landscape: Gives ∇L.
        points: (K, P) the θₖ, ends included.
        weights: (T, K) the cₖ(t).
        rng: For gradients that are estimates.
    """
    gradients = np.array([landscape.gradient(theta, rng) for theta in product(weights, points)])
    return product(weights[:, 1:-1].T, gradients) / len(weights)


def nudged_elastic_band(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    budget: int = BUDGET,
    seed: Seed = 0,
    rmsprop: RMSProp = RATES,
) -> String:
    """Relax a nudged elastic band, inserting pivots where it is too high.

    See the module; arguments and errors are those of `polychain`.

    Example: `examples/baselines.py`.
    """
    landscape, theta1, theta2, numbers = _trainable(
        landscape, theta1, theta2, L0, budget, seed, rmsprop
    )
    rng = generator(numbers)
    beads = interpolate(theta1, theta2, np.linspace(0.0, 1.0, PIVOTS + 2)[:, None])
    beads[0], beads[-1] = theta1, theta2
    before = peak_between(landscape, theta1, theta2, L0)
    evaluations = 0
    while True:
        peaks = [
            peak_between(landscape, left, right, L0) for left, right in itertools.pairwise(beads)
        ]
        high = [k for k, peak in enumerate(peaks) if not peak.upper <= L0]
        if not high or evaluations + len(beads) - 2 > budget:
            break
        if evaluations:
            room = max(0, MOST_PIVOTS + 2 - len(beads))
            for k in sorted(sorted(high, key=lambda k: -peaks[k].upper)[:room], reverse=True):
                pivot = interpolate(beads[k], beads[k + 1], peaks[k].t_star)
                beads = np.insert(beads, k + 1, pivot, axis=0)
        mean_square = np.zeros_like(beads[1:-1])
        for step in range(1, CYCLE + 1):
            if evaluations + len(beads) - 2 > budget:
                break
            gradients = np.array([landscape.gradient(theta, rng) for theta in beads[1:-1]])
            g = _nudged(gradients, beads)
            evaluations += len(g)
            beads[1:-1] -= _step(g, mean_square, evaluations / budget, rmsprop)
            if step % CHECK_EVERY == 0 and _low(landscape, beads, L0):
                break
    return _finished("elastic band", landscape, beads, L0, numbers, before, evaluations)


def _nudged(gradients: np.ndarray, beads: np.ndarray) -> np.ndarray:
    """Gradients (n, P) of the pivots without their part along the path, plus the springs' pull.

    The tangent at a pivot points from the one before to the one after. The pull is along it, in
    proportion to how much farther one neighbour is than the other, and as strong as the gradient.
    """
    steps = np.diff(beads, axis=0)
    lengths = norm(steps)
    tangents = beads[2:] - beads[:-2]
    tangents /= np.maximum(norm(tangents)[:, None], 1e-300)
    along = np.sum(gradients * tangents, axis=1, keepdims=True)
    uneven = (lengths[1:] - lengths[:-1]) / np.maximum(lengths[1:] + lengths[:-1], 1e-300)
    strength = SPRING * norm(gradients) * uneven
    return np.asarray(gradients - along * tangents - strength[:, None] * tangents)


def _step(g: np.ndarray, mean_square: np.ndarray, spent: float, rmsprop: RMSProp) -> np.ndarray:
    """RMSProp's step when a part of the budget is spent; brings the mean square up to date."""
    rate = rmsprop.learning_rate
    rate *= (rmsprop.final_learning_rate / rmsprop.learning_rate) ** spent
    mean_square[:] = rmsprop.decay * mean_square + (1.0 - rmsprop.decay) * g * g
    return np.asarray(rate * g / (np.sqrt(mean_square) + rmsprop.epsilon))


def _trainable(
    landscape: Landscape,
    theta1: np.ndarray,
    theta2: np.ndarray,
    L0: float,
    budget: int,
    seed: Seed,
    rmsprop: RMSProp,
) -> tuple[_Surface, np.ndarray, np.ndarray, tuple[int, ...]]:
    require_integer("budget", budget, 1)
    require_kind("rmsprop", rmsprop, RMSProp, "RMSProp(learning_rate=1e-2)")
    if not isinstance(landscape, Differentiable):
        raise NconvexError("this method needs a landscape with a method gradient(theta, rng)")
    return landscape, *accepted(landscape, theta1, theta2, L0, seed)


def _low(landscape: Landscape, beads: np.ndarray, L0: float) -> bool:
    """Whether the path is proven to be at most L₀; the corners are evaluated first."""
    return all(landscape.loss(theta) <= L0 for theta in beads[1:-1]) and all(
        peak_between(landscape, left, right, L0).upper <= L0
        for left, right in itertools.pairwise(beads)
    )


def _finished(
    name: str,
    landscape: Landscape,
    beads: np.ndarray,
    L0: float,
    seed: tuple[int, ...],
    before: Peak,
    evaluations: int,
) -> String:
    string = string_through(landscape, beads, L0, sampler=name, seed=seed)
    status = DescentStatus.REACHED if string.connected else DescentStatus.BUDGET_SPENT
    step = Insertion(
        "", 0, before.t_star, before.lower, string.max_error, evaluations, status, Move.RESHAPE
    )
    return replace(string, trace=(step,))
