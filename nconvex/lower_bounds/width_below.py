"""The infimum L* of the loss at width h - 1, computed exactly; `separation` needs it.

Two families of small problems are solved, both with ReLU units and the mean squared error, both by
the geometry of what one unit can do on N data. The activations of a unit, as its input weights
vary, sweep a *fan*: finitely many two-dimensional cones in ℝᴺ, one for each set of data on which it
can be active, each spanned by the activations of units whose kink lies on a datum. On a cone the
activations are linear in the weights.

**1-h-1 with biases** (`"mse"`, one output). On data x₁ < … < x_N the fan's rays are
max(x - xₖ, 0) and max(xₖ - x, 0), consecutive ones span its cones, and constants can be left out
since the output bias adds them. So the outputs of h - 1 units are the sums of h - 1 elements of
cones, each with either sign, and a constant. For every choice of cones and signs the best fit is a
non-negative least squares problem; its solution is the ordinary least squares fit on one of the
faces, so it is enough to fit every face and to keep those fits whose coefficients are positive.

**2-3-2 without biases** on three points, the paper's counterexample, whose h - 1 units reach the
outputs of rank two. The rows of the outputs then lie in a plane that is spanned by two elements of
the fan; where the two units are parallel, any other element completes the plane. Given the plane,
by its normal n, and the targets' Gram matrix G, the best loss is

    R(n) = nᵀ G n / (3 nᵀ n).

Which n belong to such a plane? Along the fan n·v changes its sign where the plane meets the fan, so
up to a set that the infimum does not see, those with **two changes of sign** at least (a *valid*
n). For if n·v₁ = n·v₂ = 0 for independent v₁ and v₂ then an n' as near to n as one likes has any
signs at v₁ and v₂; those that differ from the sign at a third v, where n·v ≠ 0, in the order in
which the three stand on the fan, make two changes. (If the fan closes, changes are even in number,
and differing signs at v₁ and v₂ will do.) The normals' space is cut by the planes n·r = 0, r the
rays, into pointed cones, each valid or not as a whole. R has no local minimum inside of one but its
global one, a null vector of G, where L* = 0 (if there is a plane of these, it meets the boundary as
well). Otherwise the minimum over valid n lies on a face between two edges, and there either at an
end or at the smaller eigenvalue of a 2 x 2 pencil. All of them are tried. The minimum may sit where
the two units become one: it is then approached but not attained, with output weights that grow
without bound.

All of this is done in rational arithmetic, in which floats are exact. The number returned is L*
**rounded down** to a float, by one unit in the last place or two, so it is never above L*.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nconvex.curve import interpolate
from nconvex.definitions import NconvexError, require_kind
from nconvex.lower_bounds.rational import (
    Matrix,
    Vector,
    cross,
    dot,
    rationals,
    root_above,
    rounded_down,
    sign,
    solve,
)
from nconvex.network.problem import Problem

#: Activations of the hidden and of the output layer for which this holds.
PLAIN = ("relu", "identity")

#: Beyond this, squares of data and sums of them overflow.
LARGEST = 1e150

#: How far inside of its cone a normal is tried, far ones first: these make smaller weights.
SHARES = 0.8 ** np.arange(150)


def narrower_infimum(problem: Problem) -> float:
    """Compute the infimum L* of the test loss at width h - 1, one hidden unit fewer, rounded down.

    Args:
        problem: A 1-h-1 ReLU network with biases on N data, both small: the faces are of the order
            of (4 N)^(h - 1). Or a 2-3-2 ReLU network without biases on three points. Either with
            the loss "mse".

    Raises:
        NconvexError: The problem is another, or the three points span no more than a plane.

    Example: `examples/counterexample.py`.
    """
    require_kind("problem", problem, Problem, "nc.quad.problem()")
    model = problem.model
    for name, array in (("X_test", problem.X_test), ("y_test", problem.y_test)):
        if np.abs(array).max() >= LARGEST:
            raise NconvexError(
                f"{name} has numbers from {LARGEST:g} on, whose squares overflow; scale the data"
            )
    if problem.loss_name == "mse" and (model.activation, model.output_activation) == PLAIN:
        if len(model.sizes) == 3 and model.sizes[::2] == (1, 1) and model.biases:
            return _infimum_on_line(problem.X_test, problem.y_test, model.sizes[1] - 1)
        if model.sizes == (2, 3, 2) and not model.biases and len(problem.X_test) == 3:
            return rounded_down(Planes(problem.X_test, problem.y_test).infimum.value)
    raise NconvexError(
        f"the infimum is known of mse for ReLU networks 1-h-1 with biases, and 2-3-2 without on "
        f"3 data, not of {problem.loss_name} for {model} on {len(problem.X_test)} data"
    )


# -- 1-h-1 with biases ----------------------------------------------------------------------------


def _infimum_on_line(X: np.ndarray, y: np.ndarray, units: int) -> float:
    x = [row[0] for row in rationals(X)]
    target = _centred([row[0] for row in rationals(y)])
    kinks = sorted(set(x))
    rising = [[max(value - kink, Fraction(0)) for value in x] for kink in kinks[:-1]]
    falling = [[max(kink - value, Fraction(0)) for value in x] for kink in kinks[1:]]
    rays = [
        _centred([factor * value for value in ray])
        for fan in (rising, falling)
        for factor in (1, -1)
        for ray in fan
    ]
    n = len(rising)
    cones = [
        (first + k, first + min(k + 1, n - 1))
        for first in range(0, len(rays), max(n, 1))
        for k in range(max(n - 1, 1))
    ]
    faces = {
        face
        for choice in itertools.combinations_with_replacement(cones, units)
        for size in range(min(n, 2 * units) + 1)
        for face in itertools.combinations(sorted({ray for cone in choice for ray in cone}), size)
    }
    squares = [_squared_residual([rays[k] for k in face], target) for face in sorted(faces)]
    lowest = min((square for square in squares if square is not None), default=dot(target, target))
    return rounded_down(lowest / len(x))


def _centred(values: Vector) -> Vector:
    mean = sum(values, Fraction(0)) / len(values)
    return [value - mean for value in values]


def _squared_residual(columns: Matrix, target: Vector) -> Fraction | None:
    """Of the least squares fit; None if a coefficient is negative or the columns are dependent."""
    weights = [dot(column, target) for column in columns]
    coefficients = solve([[dot(a, b) for b in columns] for a in columns], weights)
    if coefficients is None or min(coefficients, default=0) < 0:
        return None
    return dot(target, target) - dot(coefficients, weights)


# -- 2-3-2 without biases -------------------------------------------------------------------------


@dataclass(frozen=True)
class Lowest:
    """The minimum of R on a face, or on all valid normals.

    Attributes:
        value: Not above it, and closer to it than any float.
        normal: (3,) where it is.
        inside: (3,) a normal in the interior of a valid cone that the face belongs to.
    """

    value: Fraction
    normal: np.ndarray
    inside: np.ndarray


class Planes:
    """The planes that two units can span on three points.

    Args:
        X: (3, 2) points, without which every net would be degenerate.
        y: (3, 2) targets.

    Attributes:
        infimum: The infimum of R over the planes, and where it is approached.

    Raises:
        NconvexError: All activations lie in one plane.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray):
        points, targets = rationals(X), rationals(y)
        kinks = [[-factor * v, factor * u] for u, v in points for factor in (1, -1)]
        kinks.sort(key=functools.cmp_to_key(_by_angle))
        fan = [[max(dot(w, x), Fraction(0)) for x in points] for w in kinks]
        self._closed = all(any(ray) for ray in fan)
        self._rays = _rays(fan)
        normals = itertools.starmap(cross, itertools.permutations(self._rays, 2))
        self._edges = list(dict.fromkeys(_direction(edge) for edge in normals if any(edge)))
        self._sides = [self._signs(edge) for edge in self._edges]
        if not any(map(any, self._sides)):
            raise NconvexError(
                f"all activations on X = {X.tolist()} lie in one plane, so that every net is "
                "degenerate; use three points in three directions from the origin"
            )
        self._gram = [[dot(a, b) for b in targets] for a in targets]
        self.infimum = self._infimum(cross(*map(list, zip(*targets, strict=True))))

    def loss(self, normal: np.ndarray) -> float:
        """R(n) for n (3,)."""
        gram = np.array(self._gram, dtype=np.float64)
        return float(normal @ gram @ normal / (3.0 * normal @ normal))

    def normal(self, level: float) -> np.ndarray:
        """A normal (3,) in the interior of a valid cone with R(n) ≤ level.

        Raises:
            NconvexError: The level is not above L* by more than rounding.
        """
        lowest, inside = (n / np.linalg.norm(n) for n in (self.infimum.normal, self.infimum.inside))
        for share in SHARES:
            normal = interpolate(lowest, inside, share)
            if self.loss(normal) <= level:
                return normal
        raise NconvexError(f"no plane was found with a loss of at most {level!r}; raise slack")

    def _infimum(self, null: Vector) -> Lowest:
        signs = self._signs(null)
        if all(signs) and self._valid(signs):
            normal = np.array(null, dtype=np.float64)
            return Lowest(Fraction(0), normal, normal)
        faces = [
            face
            for ray in range(len(self._rays))
            for first, second in itertools.combinations(range(len(self._edges)), 2)
            if (face := self._face(ray, first, second)) is not None
        ]
        return min(faces, key=lambda face: face.value)

    def _face(self, ray: int, first: int, second: int) -> Lowest | None:
        """The minimum between two edges, if they bound a face in the plane n·ray = 0."""
        sides = list(zip(self._sides[first], self._sides[second], strict=True))
        if any(sides[ray]) or any(a * b < 0 for a, b in sides):
            return None
        # On one side of the face; the other is the same for the antipodal face, where R is equal.
        signs = [a or b or 1 for a, b in sides]
        if not self._valid(signs):
            return None
        value, normal = self._minimum(self._edges[first], self._edges[second])
        return Lowest(value, normal, self._inside(signs))

    def _minimum(self, a: Sequence[Fraction], b: Sequence[Fraction]) -> tuple[Fraction, np.ndarray]:
        """The minimum of R on the cone of a and b, and where it is."""
        G11, G12, G22 = (self._form(*pair) / 3 for pair in ((a, a), (a, b), (b, b)))
        B11, B12, B22 = dot(a, a), dot(a, b), dot(b, b)
        end = min(G11 / B11, G22 / B22)
        # R is nowhere below its value at the ends if and only if G - end B is copositive:
        M11, M12, M22 = G11 - end * B11, G12 - end * B12, G22 - end * B22
        if M12 >= 0 or M12 * M12 <= M11 * M22:
            return end, _floats(a if M11 == 0 else b)
        # else the minimum lies between them, the smaller root of det(G - value B) = 0.
        product, middle = G11 * G22 - G12 * G12, (G11 * B22 + G22 * B11) / 2 - G12 * B12
        root = root_above(middle * middle - product * (B11 * B22 - B12 * B12))
        value = product / (middle + root)
        return value, (value * B12 - G12) * _floats(a) + (G11 - value * B11) * _floats(b)

    def _form(self, a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
        return dot(a, [dot(row, b) for row in self._gram])

    def _signs(self, normal: Sequence[Fraction]) -> list[int]:
        return [sign(dot(normal, ray)) for ray in self._rays]

    def _valid(self, signs: list[int]) -> bool:
        """Whether signs along the fan, none of them zero, change twice."""
        following = signs[1:] + signs[:1] if self._closed else signs[1:]
        return sum(a != b for a, b in zip(signs, following, strict=False)) >= 2

    def _inside(self, signs: list[int]) -> np.ndarray:
        """The sum of the edges of the cone that has these signs."""
        edges = [
            _floats(edge)
            for edge, sides in zip(self._edges, self._sides, strict=True)
            if all(a * b >= 0 for a, b in zip(sides, signs, strict=True))
        ]
        return np.asarray(np.sum(edges, axis=0))


def _by_angle(a: Vector, b: Vector) -> int:
    """Compare two vectors of the plane by their angle from the first axis, exactly."""
    first, second = (v[1] < 0 or (v[1] == 0 and v[0] < 0) for v in (a, b))
    if first != second:
        return 1 if first else -1
    return sign(b[0] * a[1] - b[1] * a[0])


def _rays(fan: Matrix) -> Matrix:
    """The fan's rays in their order, each once; those that no datum excites are left out.

    Where there are such, the fan is open, and its order begins after them.
    """
    first = next((k for k, ray in enumerate(fan) if any(ray) and not any(fan[k - 1])), 0)
    rays = [ray for ray in fan[first:] + fan[:first] if any(ray)]
    return [ray for k, ray in enumerate(rays) if _direction(ray) != _direction(rays[k - 1])]


def _direction(vector: Vector) -> tuple[Fraction, ...]:
    size = sum(map(abs, vector))
    return tuple(value / size for value in vector)


def _floats(vector: Sequence[Fraction]) -> np.ndarray:
    return np.array([float(value) for value in vector])
