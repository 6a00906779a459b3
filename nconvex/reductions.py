"""Sums of products whose order is fixed, so that no result depends on the number of threads.

NumPy hands `@`, `dot` and `linalg` to BLAS and LAPACK, which split long sums among their threads:
the last bits then differ with OPENBLAS_NUM_THREADS. `np.sum` and `np.einsum` add in one order.
"""

from __future__ import annotations

import numpy as np

#: Weight of the ridge that keeps `triangle` regular, relative to the largest column.
RIDGE = 1e-12


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Σ aᵢ bᵢ of two vectors (n,)."""
    return float(np.sum(a * b))


def norm(a: np.ndarray) -> np.ndarray:
    """Euclidean lengths of the rows of an array (…, n): (…,).

    Rows are scaled by a power of two first, which is exact: squares neither overflow nor vanish.
    """
    a = np.ascontiguousarray(a)
    _, exponent = np.frexp(np.max(np.abs(a), initial=0.0))
    return np.asarray(np.ldexp(np.sqrt(np.sum(np.square(np.ldexp(a, -exponent)), -1)), exponent))


def product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The matrix product A B of (m, n) and (n, k)."""
    return np.asarray(np.einsum("mn,nk->mk", A, B))


def triangle(A: np.ndarray) -> np.ndarray:
    """The triangular factor R (n, n) of A (m, n) = Q R, by Householder's reflections.

    Whatever least squares asks of A's columns, R's columns answer the same, however large m is.
    """
    A = A.copy()
    for k in range(min(A.shape)):
        v = A[k:, k].copy()
        v[0] += np.copysign(norm(v), v[0])
        square = np.sum(v * v)
        if square > 0.0:
            A[k:, k:] -= v[:, None] * (2.0 / square * np.einsum("m,mn->n", v, A[k:, k:]))
    R = np.zeros((A.shape[1], A.shape[1]))
    R[: len(A)] = np.triu(A[: len(R)])
    return R


def inverse_gram(A: np.ndarray) -> np.ndarray:
    """(AᵀA + ρ²)⁻¹ of A (m, n), with ρ `RIDGE` times the largest column's length.

    From A's triangular factor, so that dependent columns are told apart as finely as A itself
    allows; AᵀA would round that away.
    """
    n = A.shape[1]
    ridge = max(RIDGE * float(np.max(norm(A.T), initial=0.0)), 1e-150)
    R = triangle(np.concatenate([triangle(A), ridge * np.eye(n)]))
    S = np.eye(n)  # becomes R⁻¹, from the last row up
    for k in reversed(range(n)):
        S[k] = (S[k] - np.einsum("j,jn->n", R[k, k + 1 :], S[k + 1 :])) / R[k, k]
    return product(S, S.T)
