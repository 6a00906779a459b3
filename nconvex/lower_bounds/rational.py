"""Exact arithmetic: floats are rational numbers, and so are their sums and products.

Every float64 is an integer times a power of two. Sums, products and quotients of such numbers are
computed here as fractions of integers, so that a sign or a comparison is a fact and no estimate.
Only small systems can be afforded: numbers grow with every operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Vector = list[Fraction]
Matrix = list[Vector]


def rationals(array: np.ndarray) -> Matrix:
    """Return the rows of a matrix (m, n) of floats as exact fractions."""
    return [[Fraction(value) for value in row] for row in np.asarray(array).tolist()]


def dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    """Σ aᵢ bᵢ."""
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def cross(a: Sequence[Fraction], b: Sequence[Fraction]) -> Vector:
    """a x b in three dimensions."""
    return [a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)]


def sign(value: Fraction) -> int:
    """-1, 0 or +1."""
    return (value > 0) - (value < 0)


def determinant(matrix: Matrix) -> Fraction:
    """The determinant of a matrix (n, n), by elimination."""
    rows = [list(row) for row in matrix]
    product = Fraction(1)
    for column in range(len(rows)):
        pivot = next((k for k in range(column, len(rows)) if rows[k][column]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != column:
            rows[column], rows[pivot] = rows[pivot], rows[column]
            product = -product
        product *= rows[column][column]
        for row in rows[column + 1 :]:
            factor = row[column] / rows[column][column]
            for k in range(column, len(rows)):
                row[k] -= factor * rows[column][k]
    return product


def solve(matrix: Matrix, right: Vector) -> Vector | None:
    """The solution of a system (n, n) by Cramer's rule, or None if it has not exactly one."""
    whole = determinant(matrix)
    if whole == 0:
        return None
    return [
        determinant([[*row[:k], b, *row[k + 1 :]] for row, b in zip(matrix, right, strict=True)])
        / whole
        for k in range(len(right))
    ]


def root_above(value: Fraction) -> Fraction:
    """A number that is not below √value, and above it by less than a part in 2⁹⁰."""
    shift = 200 + 2 * max(0, value.denominator.bit_length() - value.numerator.bit_length())
    shift += shift % 2
    scaled = -(-(value.numerator << shift) // value.denominator)
    return Fraction(math.isqrt(scaled) + 1, 1 << shift // 2)


def rounded_down(value: Fraction) -> float:
    """The largest float64 that is not above value."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
