"""The curvature of a loss surface at a model: leading eigenvalues and trace of its Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nconvex.definitions import (
    NconvexError,
    Result,
    Seed,
    child,
    generator,
    require_integer,
    require_theta,
    shown,
)
from nconvex.landscape import Differentiable
from nconvex.reductions import dot, norm, product

#: Differences on both sides of a model that differ by more than this part have met a kink.
KINK = 1e-2

#: Rows of a matrix whose eigenvalues are computed at most: as large, LAPACK's rounding does not
#: depend on its number of threads.
ROWS = 60

#: Times that a step is made ten times smaller to avoid a kink.
TRIES = 3


@dataclass(frozen=True, eq=False, repr=False)
class Curvature(Result):
    """What is known of a Hessian.

    Attributes:
        eigenvalues: (n,) the largest in absolute value first, in loss per squared weight distance.
        residuals: (n,) for each, how far an eigenvalue can be from it, but for differences' errors.
        trace: Their sum over all parameters, or an estimate of it.
        trace_error: Its standard error; 0 where every column was computed.
        products: Hessian-vector products that were taken.
        kinks: Of these, the ones whose differences have met a kink at every step that was tried.

    Example: see `curvature`.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    trace: float
    trace_error: float
    products: int
    kinks: int


def curvature(
    landscape: Differentiable, theta: ArrayLike, leading: int = 5, products: int = 60,
    seed: Seed = 0,
) -> Curvature:  # fmt: skip
    """Compute leading eigenvalues and the trace of the Hessian of the descents' loss at a model.

    H v ≈ (g(θ + h v) - g(θ - h v)) / 2h, from the gradient g that descents follow: the training
    set's, of all of it where the landscape can. Up to 60 parameters, all of H is computed; beyond
    60 or `products`, eigenvalues are Lanczos's and the trace Hutchinson's, from half of them each.

    ReLU networks have kinks, where H does not exist; elsewhere it is that of the linear region's
    piece. Where the differences on both sides disagree, a kink lies between, and h is made smaller;
    products that met kinks at each h are counted in `kinks`. They mix the pieces' Hessians with the
    jump of the gradient between them.

    Args:
        landscape: Has `gradient`, as `Problem` does.
        theta: (P,) the model.
        leading: Eigenvalues that are returned at most.
        products: Hessian-vector products that may be taken, of three gradients or more.
        seed: Names the random vectors, and the minibatch where the gradient needs one.

    Example:
        >>> import nconvex as nc
        >>> bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
        >>> round(nc.curvature(bowl, [1.0, 0.0]).trace, 6)
        4.0
    """
    theta = require_theta("theta", theta)
    require_integer("leading", leading, 1)
    require_integer("products", products, 4)
    if not callable(getattr(landscape, "gradient", None)):
        raise NconvexError(f"the landscape must have a gradient; {shown(landscape)} has none")
    hessian = _Hessian(landscape, theta, child(seed, 0))
    rng = generator(child(seed, 1))
    if theta.size <= min(products, ROWS):
        columns = np.array([hessian.times(v) for v in np.eye(theta.size)])
        values, vectors = np.linalg.eigh(0.5 * (columns + columns.T))
        residuals = norm(product(vectors.T, columns) - values[:, None] * vectors.T)
        trace, error = float(np.trace(columns)), 0.0
    else:
        values, residuals = _lanczos(hessian, rng, min(products // 2, ROWS))
        probes = 2.0 * rng.integers(2, size=(products - products // 2, theta.size)) - 1.0
        estimates = np.array([dot(probe, hessian.times(probe)) for probe in probes])
        trace = float(np.mean(estimates))
        error = float(np.std(estimates, ddof=1) / np.sqrt(len(estimates)))
    order = np.argsort(-np.abs(values), kind="stable")[:leading]
    return Curvature(values[order], residuals[order], trace, error, hessian.products, hessian.kinks)


class _Hessian:
    """Products with the Hessian at one model, from differences of its gradient."""

    def __init__(self, landscape: Any, theta: np.ndarray, seed: Seed):
        self.landscape, self.theta, self.seed = landscape, theta, seed
        self.products = self.kinks = 0
        self.here = self.gradient(theta)
        single = np.array_equal(self.here, self.here.astype(np.float32))
        precision = float(np.finfo(np.float32 if single and self.here.any() else np.float64).eps)
        self.step = precision ** (1 / 3) * max(1.0, float(norm(theta)))
        self.noise = 8.0 * precision * float(norm(self.here))
        self.largest = 0.0

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """The training set's gradient, or always the same minibatch's."""
        if hasattr(self.landscape, "loss_and_gradient"):
            return np.asarray(self.landscape.loss_and_gradient(theta)[1], dtype=np.float64)
        return np.asarray(self.landscape.gradient(theta, generator(self.seed)), dtype=np.float64)

    def times(self, vector: np.ndarray) -> np.ndarray:
        """H v, (P,)."""
        self.products += 1
        length = float(norm(vector))
        h, widest = self.step, None
        for _ in range(1 + TRIES):
            ahead, behind = (self.gradient(self.theta + s * h / length * vector) for s in (1, -1))
            middle = (ahead - behind) / (2.0 * h)
            bent = float(norm(ahead - 2.0 * self.here + behind)) / h
            widest = middle if widest is None else widest
            largest = max(self.largest, float(norm(middle)))
            if bent <= KINK * largest + self.noise / h:
                self.largest = largest
                break
            h /= 10.0
        else:  # of steps that are all too long, the shortest has the most rounding
            self.kinks += 1
            middle = widest
        return np.asarray(length * middle)


def _lanczos(
    hessian: _Hessian, rng: np.random.Generator, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values of H and their residuals, with all vectors kept at right angles."""
    q = rng.normal(size=hessian.theta.size)
    basis = [q / norm(q)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(steps):
        w = hessian.times(basis[-1])
        diagonal.append(dot(basis[-1], w))
        for _ in range(2):
            for each in basis:
                w = w - dot(each, w) * each
        beside.append(float(norm(w)))
        if beside[-1] <= 1e-9 * max(map(abs, diagonal)):  # the space is closed
            break
        basis.append(w / beside[-1])
    T = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    values, vectors = np.linalg.eigh(T)
    return values, np.abs(beside[-1] * vectors[-1])
