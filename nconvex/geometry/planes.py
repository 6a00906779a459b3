"""Planes through weight space: through three models, of principal components, along directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nconvex.definitions import NconvexError, Result, Seed, generator, require_models
from nconvex.landscape import Landscape
from nconvex.reductions import dot, norm, product


@dataclass(frozen=True, eq=False, repr=False)
class Plane(Result):
    """The points origin + x u + y v; u and v are of length 1 and at right angles.

    Attributes:
        origin: (P,).
        u: (P,) the first direction.
        v: (P,) the second.
    """

    origin: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def at(self, x: float, y: float) -> np.ndarray:
        """θ (P,) at coordinates x and y, in weight distance."""
        return np.asarray(self.origin + x * self.u + y * self.v)

    def coordinates(self, thetas: np.ndarray) -> np.ndarray:
        """Project models (n, P): (n, 2)."""
        return product(thetas - self.origin, np.array([self.u, self.v]).T)

    def distances(self, thetas: np.ndarray) -> np.ndarray:
        """How far models (n, P) are off the plane, (n,)."""
        flat = product(self.coordinates(thetas), np.array([self.u, self.v]))
        return norm(thetas - self.origin - flat)

    def losses(self, landscape: Landscape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The losses at a grid of coordinates, (len(y), len(x)): one call of γ for each row."""
        t = (x - x[0]) / (x[-1] - x[0])
        t[-1] = 1.0
        return np.array(
            [landscape.gamma(self.at(x[0], each), self.at(x[-1], each), t) for each in y]
        )


def plane_through(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Plane:
    """The plane through three models: a is its origin, and b lies along u.

    Two parameters are a plane already, so there its directions are theirs and its origin is 0.
    """
    a, b, c = require_models("a, b, c", [a, b, c])
    if a.size == 2:
        return Plane(np.zeros(2), *np.eye(2))
    length = float(norm(b - a))
    u = (b - a) / (length or 1.0)
    off = c - a - dot(c - a, u) * u
    off = off - dot(off, u) * u  # once more, for the rounding of the first
    if length == 0.0 or float(norm(off)) <= 1e-9 * float(norm(c - a)):
        raise NconvexError("a, b and c lie on one line and span no plane; choose another c")
    return Plane(a, u, off / norm(off))


def principal_plane(thetas: np.ndarray, origin: np.ndarray) -> tuple[Plane, np.ndarray]:
    """The plane through a model along the two principal components of the others around it.

    Returns:
        The plane, and the shares of the sum of squared distances along u and v, (2,).
    """
    around = thetas - origin
    spread, vectors = np.linalg.eigh(product(around, around.T))
    spread = np.maximum(spread[::-1], 0.0)
    if len(spread) < 2 or spread[1] <= 1e-14 * spread[0]:
        raise NconvexError("the models lie on one line through the last one and span no plane")
    u, v = product(vectors[:, :-3:-1].T, around)
    u = u / norm(u)
    v = v - dot(u, v) * u
    return Plane(origin, u, v / norm(v)), spread[:2] / spread.sum()


def filter_normalized(landscape: object, theta: np.ndarray, seed: Seed) -> np.ndarray:
    """Draw a random direction, scaled unit by unit as in Li et al. 2018, (P,).

    The incoming weights of each unit are drawn from a normal distribution and scaled to the norm of
    the model's own; biases stay as they are. A landscape without layers has one direction of
    length 1 for all its parameters.
    """
    direction = generator(seed).normal(size=theta.size)
    model = getattr(landscape, "model", None)
    if model is None:
        return np.asarray(direction / norm(direction))
    layers = zip(model.unpack(direction), model.unpack(theta), strict=True)
    for (drawn, biases), (weights, _) in layers:
        drawn *= norm(weights.T) / norm(drawn.T)
        if biases is not None:
            biases[:] = 0.0
    return direction
