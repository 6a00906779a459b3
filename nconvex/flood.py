"""Γ of a landscape in two parameters, bracketed with proof: the truth that samplers are judged by.

In the plane the set below a level can be flooded cell by cell. A rectangle is cut into n x n cells
with centre c, half widths a, b and half diagonal r, r² = a² + b². Let H bound the norm of the
Hessian on the cell.

*Lower value.* By Taylor's theorem f(x) ≥ f(c) + ∇f(c)·(x - c) - H r²/2 on the cell, so

    f ≥ f(c) - |∂₁f(c)| a - |∂₂f(c)| b - H r²/2.

A path inside the rectangle goes through cells each of which shares a side or a corner with the one
before. Where the cells with a lower value below some level do not join the ends' cells, every path
passes a cell above it. So Γ is at least the lowest level at which they do, and at least f at the
ends.

*Upper value.* On the straight line between the centres of two neighbours, of length ℓ, f exceeds
the larger of its values at the ends of the line by at most H ℓ²/8. That line is at most 2 r long
and touches only cells that surround both, so a cell's upper value is f(c) + M r²/2, with M the
largest H of the 3 x 3 cells around it. The line from an end to the centre of its cell is at most r
long; it stays below the larger of f at the end and the cell's upper value. A path from centre to
centre thus stays below its cells' upper values, and Γ is at most the lowest level at which cells
with upper values below it join.

Both levels are found by taking cells from the lowest up and joining neighbours (union-find) until
the ends' cells hang together.

*Paths outside.* Whoever leaves the rectangle crosses its rim. If the lower values of the cells on
the rim are all above the upper level, leaving does not pay, and the bracket holds in the plane.

*Rounding.* f and its gradient are computed in floating point, with errors that only their author
can bound. `rounding` is taken off the lower and added to the upper level; by default it is 1e-12 of
the largest |f|, which covers sums of a few hundred terms of that size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nconvex.definitions import NconvexError, require_integer, require_theta
from nconvex.jit import kernel

#: Cells a side at most: 12 arrays of this many squared float64 are 1.6 GB.
MOST_CELLS = 4096

#: Relative rounding error that f is trusted with by default.
ROUNDING = 1e-12

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FloodBracket:
    """What is proven of Γ(θ₁, θ₂) in the plane.

    Attributes:
        lower: Γ is at least this, for paths inside the rectangle.
        upper: Γ is at most this: a path of straight lines between cells' centres stays below it.
        rim: f is at least this along the rectangle's rim.
        cells: Cells a side.
    """

    lower: float
    upper: float
    rim: float
    cells: int

    @property
    def whole_plane(self) -> bool:
        """Whether `lower` holds for all paths, also those that leave the rectangle."""
        return self.rim >= self.lower

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper


def flood_bracket(
    f: Function,
    gradient: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    hessian: Callable[[np.ndarray, np.ndarray, float, float], np.ndarray] | float,
    theta1: np.ndarray,
    theta2: np.ndarray,
    box: tuple[tuple[float, float], tuple[float, float]],
    cells: int = 800,
    rounding: float | None = None,
) -> FloodBracket:
    """Bracket Γ(θ₁, θ₂) of f(x, y), a function of two parameters, with proof.

    Args:
        f: Maps arrays x and y of one shape to the values there.
        gradient: Maps them to ∂f/∂x and ∂f/∂y.
        hessian: Bounds the norm of the Hessian from above: a number for all of the box, or a
            function of cells' centres x and y and half widths a and b, one bound a cell.
        theta1: (2,) one end, in the box.
        theta2: (2,) the other.
        box: ((x from, x to), (y from, y to)).
        cells: Cells a side; the bracket's width falls with their square near a smooth pass.
        rounding: How far computed values of f and of its cells' bounds may be off; by default
            1e-12 of the largest |f|.

    Raises:
        NconvexError: An argument is out of its range, an end is outside the box, or a value is
            not finite.
    """
    require_integer("cells", cells, 3)
    if cells > MOST_CELLS:
        raise NconvexError(f"cells must be at most {MOST_CELLS}, not {cells}: memory would run out")
    spans = np.asarray(box, dtype=np.float64)
    if (
        spans.shape != (2, 2)
        or not np.isfinite(spans).all()
        or not (spans[:, 0] < spans[:, 1]).all()
    ):
        raise NconvexError(f"box must be ((x from, x to), (y from, y to)), not {box!r}")
    ends = [require_theta(f"theta{k}", theta, 2) for k, theta in ((1, theta1), (2, theta2))]
    for k, theta in enumerate(ends, 1):
        if not ((spans[:, 0] <= theta) & (theta <= spans[:, 1])).all():
            raise NconvexError(f"theta{k} = {theta} lies outside the box {box!r}")
    half = (spans[:, 1] - spans[:, 0]) / (2 * cells)
    centres = spans[:, :1] + half[:, None] * (2 * np.arange(cells) + 1)
    x, y = np.meshgrid(*centres, indexing="ij")
    values = _finite("f", f(x, y), x.shape)
    slopes = [
        _finite(f"the gradient's part {k}", part, x.shape)
        for k, part in enumerate(gradient(x, y), 1)
    ]
    bound = hessian(x, y, *half.tolist()) if callable(hessian) else np.full(x.shape, hessian)
    curvature = _finite("the Hessian's bound", bound, x.shape)
    if curvature.min() < 0.0:
        raise NconvexError(
            f"the Hessian's bound is {curvature.min()!r} somewhere; it bounds a norm"
        )
    at_ends = [_finite("f", f(*theta[:, None]), (1,))[0] for theta in ends]
    error = ROUNDING * float(np.abs(values).max()) if rounding is None else float(rounding)
    if not 0.0 <= error < math.inf:
        raise NconvexError(f"rounding must be at least 0 and finite, not {rounding!r}")

    square = float(half @ half)  # r²
    lower = values - np.abs(slopes[0]) * half[0] - np.abs(slopes[1]) * half[1]
    lower -= 0.5 * square * curvature
    upper = values + 0.5 * square * _largest_around(curvature)
    places = [
        np.clip(((theta - spans[:, 0]) / (2 * half)).astype(np.int64), 0, cells - 1)
        for theta in ends
    ]
    first, second = (int(i * cells + j) for i, j in places)
    rim = min(lower[0].min(), lower[-1].min(), lower[:, 0].min(), lower[:, -1].min())
    levels = [
        float(joining_level(np.argsort(cut, axis=None), cut.ravel(), first, second))
        for cut in (lower, upper)
    ]
    return FloodBracket(
        max(levels[0], *at_ends) - error,
        max(levels[1], *at_ends) + error,
        float(rim) - error,
        cells,
    )


@kernel
def joining_level(order, values, first, second):
    """The level at which two cells of a square grid hang together, cells taken from the lowest up.

    ``order`` (n²,) cells by ``values`` (n²,), lowest first; neighbours share a side or a corner.
    """
    cells = int(math.sqrt(values.size) + 0.5)
    parent = np.full(values.size, -1)
    for place in range(order.size):
        cell = order[place]
        parent[cell] = cell
        row, column = cell // cells, cell % cells
        for i in range(max(row - 1, 0), min(row + 2, cells)):
            for j in range(max(column - 1, 0), min(column + 2, cells)):
                other = i * cells + j
                if parent[other] < 0 or other == cell:
                    continue
                while parent[other] != other:  # halve the way to the root while going there
                    parent[other] = parent[parent[other]]
                    other = parent[other]
                root = parent[cell]
                while parent[root] != root:
                    parent[root] = parent[parent[root]]
                    root = parent[root]
                parent[other] = root
        if parent[first] >= 0 and parent[second] >= 0:
            left, right = first, second
            while parent[left] != left:
                left = parent[left]
            while parent[right] != right:
                right = parent[right]
            if left == right:
                return values[cell]
    return values[order[-1]]


def _largest_around(values: np.ndarray) -> np.ndarray:
    """The largest of the 3 x 3 values around each, as far as there are any."""
    for axis in (0, 1):
        padded = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], "edge")
        parts = [np.take(padded, np.arange(k, k + values.shape[axis]), axis) for k in range(3)]
        values = np.maximum(np.maximum(*parts[:2]), parts[2])
    return values


def _finite(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise NconvexError(f"{name} has shape {array.shape}, not {shape} like its arguments")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise NconvexError(f"{name} is {bad} somewhere in the box; choose a box where it is finite")
    return array
