"""Γ of a function of two parameters, bracketed with proof; samplers are tested against it.

In the plane the set below a level can be flooded cell by cell. A rectangle is cut into n x n cells
with centre c, half widths a, b and half diagonal r, r² = a² + b². Let H bound the norm of the
Hessian on the cell.

*Lower value.* By Taylor's theorem f(x) ≥ f(c) + ∇f(c)·(x - c) - H r²/2 on the cell, so

    f ≥ f(c) - |∂₁f(c)| a - |∂₂f(c)| b - H r²/2.

The cells that a path inside the rectangle meets are connected by sides and corners: otherwise they
would be two closed sets without a common point, and the path, which is connected, would lie in
both. Where the cells with a lower value below some level do not join the ends' cells, every path
passes a cell above it. So Γ is at least the lowest level at which they do, and at least f at the
ends.

*Upper value.* f(c) + H r²/2. On the straight line between the centres of two neighbours let f be
highest at s. Unless s is one of the centres, f's derivative along the line vanishes there, and on
the way from s to the nearer centre, which is at most r and stays in that centre's cell, f falls by
at most H r²/2: f(s) is at most that cell's upper value. By the same argument the line from an end
to the centre of its cell stays below the larger of f at the end and the cell's upper value. A path
from centre to centre thus stays below its cells' upper values, and Γ is at most the lowest level at
which cells with upper values below it join.

Both levels are found by taking cells from the lowest up and joining neighbours (union-find) until
the ends' cells are connected.

*Paths outside.* Of the outside nothing is known: it counts as one cell that is as low as can be and
touches all cells on the rim. Whoever leaves the rectangle and comes back must climb, from either
end, to the level at which that end's cell and the outside join. If this is no less than the lower
level, no path gains by leaving, and the bracket holds in the plane.

*Rounding.* f and its gradient are computed in floating point, with errors that only their author
can bound. `rounding` is taken off the lower and added to the upper level; by default it is 1e-12 of
the largest |f| + |∂₁f| a + |∂₂f| b + H r²/2, which covers sums of a few hundred terms of that size.
In either case 16 u of it, u = 2⁻⁵³, are charged for the sums above, of fewer than 16 roundings.
Computed centres are off by less than 16 u times the largest coordinate; a and b are twice that
larger than half a cell, so that cells still cover the rectangle and the lines between centres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nconvex.definitions import (
    NconvexError,
    numbers,
    require_integer,
    require_not_negative,
    require_theta,
    shown,
)
from nconvex.kernels.jit import inlined, kernel

U = 2.0**-53

#: Cells a side at most: so many squared need 0.6 GB.
MOST_CELLS = 4096

#: Cells at which f is evaluated in one call, so that its arrays stay in the processor's cache.
BAND = 2**15

#: Relative rounding error that f is trusted with by default.
ROUNDING = 1e-12

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FloodBracket:
    """What is proven of Γ(θ₁, θ₂) in the plane.

    Attributes:
        lower: Γ is at least this, for paths inside the rectangle.
        upper: Γ is at most this: a path of straight lines between cells' centres stays below it.
        rim: Every path that leaves the rectangle rises at least to this.
        cells: Cells along one side.
        basins: (cells, cells) int8, along x and y: 1 and 2 where cells are flooded from θ₁ and θ₂
            just before the two basins meet, 0 elsewhere.

    Example: see `flood_bracket`.
    """

    lower: float
    upper: float
    rim: float
    cells: int
    basins: np.ndarray

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
        cells: Cells along one side; the bracket's width falls with their square near a smooth pass.
        rounding: How far computed values of f and of its cells' bounds may be off; by default
            1e-12 of the largest, see the module's docstring.

    Example: `examples/mueller_brown.py`.
    """
    require_integer("cells", cells, 3, MOST_CELLS)
    for name, function in (("f", f), ("gradient", gradient)):
        if not callable(function):
            raise NconvexError(f"{name} must be a function of x and y, not {shown(function)}")
    if not callable(hessian):
        require_not_negative("hessian", hessian)
    spans = numbers("box", box)
    if (
        spans.shape != (2, 2)
        or not np.isfinite(spans).all()
        or not (spans[:, 0] < spans[:, 1]).all()
    ):
        raise NconvexError(f"box must be ((x from, x to), (y from, y to)), not {shown(box)}")
    ends = [require_theta(f"theta{k}", theta, 2) for k, theta in ((1, theta1), (2, theta2))]
    for k, theta in enumerate(ends, 1):
        if not ((spans[:, 0] <= theta) & (theta <= spans[:, 1])).all():
            raise NconvexError(f"theta{k} = {theta} lies outside the box {shown(box)}")
    if rounding is not None:
        require_not_negative("rounding", rounding)
    at_ends = [_finite("f", f(*theta[:, None]), (1,))[0] for theta in ends]
    width = (spans[:, 1] - spans[:, 0]) / cells
    half = 0.5 * width + 32.0 * U * np.abs(spans).max(axis=1)
    centres = spans[:, :1] + width[:, None] * (np.arange(cells) + 0.5)
    half_square = 0.5 * float(half @ half)  # r²/2
    lower, upper = np.empty((cells, cells)), np.empty((cells, cells))
    largest = 0.0
    rows = max(1, BAND // cells)
    for band in (slice(first, first + rows) for first in range(0, cells, rows)):
        x, y = np.meshgrid(centres[0, band], centres[1], indexing="ij")
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
        fall = np.abs(slopes[0]) * half[0] + np.abs(slopes[1]) * half[1]
        sag = half_square * curvature
        lower[band], upper[band] = values - fall - sag, values + sag
        largest = max(largest, float((np.abs(values) + fall + sag).max()))
    error = (ROUNDING * largest if rounding is None else float(rounding)) + 16.0 * U * largest

    places = [np.minimum((theta - spans[:, 0]) / width, cells - 1).astype(int) for theta in ends]
    first, second = (int(i * cells + j) for i, j in places)
    order, outside = np.argsort(lower, axis=None), cells * cells
    level, basins = flooded(order, lower.ravel(), cells, first, second)
    rim = max(flooded(order, lower.ravel(), cells, end, outside)[0] for end in (first, second))
    top, _ = flooded(np.argsort(upper, axis=None), upper.ravel(), cells, first, second)
    return FloodBracket(
        float(max(level, *at_ends) - error),
        float(max(top, *at_ends) + error),
        float(rim - error),
        cells,
        basins.reshape(cells, cells),
    )


@inlined
def root(parent, cell):
    """The cell that stands for the basin of a flooded one; the way there is halved on going."""
    while parent[cell] != cell:
        parent[cell] = parent[parent[cell]]
        cell = parent[cell]
    return cell


def flooded(
    order: np.ndarray, values: np.ndarray, cells: int, first: int, second: int
) -> tuple[float, np.ndarray]:
    """Call `flood` with buffers of its own; returns the level and the basins."""
    basins = np.zeros(cells * cells, dtype=np.int8)
    parent = np.full(cells * cells + 1, -1, dtype=np.int32)
    near = np.empty(10, dtype=np.int32)
    return float(flood(order, values, cells, first, second, parent, near, basins)), basins


@kernel
def flood(order, values, cells, first, second, parent, near, basins):
    """Flood cells from the lowest up until the next would join two cells' basins.

    ``order`` (n²,) cells by ``values`` (n²,), n = ``cells``; neighbours share a side or a corner.
    Cell n² is the outside: it is there if it is ``second``, flooded, beside all cells on the rim.
    Returns the level of the cell that joins the two; ``basins`` (n²,) int8, zeros, become 1 and 2
    in their basins. ``parent`` (n² + 1,) int32 is -1 where a cell is dry, as all are at first;
    ``near`` (10,) int32 is for the roots of the basins that a cell joins.
    """
    outside = cells * cells
    if second == outside:
        parent[outside] = outside
    level = np.inf
    for place in range(order.size):
        cell = order[place]
        row, column = cell // cells, cell % cells
        parent[cell] = cell
        count = 0
        for i in range(max(row - 1, 0), min(row + 2, cells)):
            for j in range(max(column - 1, 0), min(column + 2, cells)):
                if parent[i * cells + j] >= 0:
                    near[count] = root(parent, i * cells + j)
                    count += 1
        on_rim = row == 0 or row == cells - 1 or column == 0 or column == cells - 1
        if on_rim and parent[outside] >= 0:
            near[count] = root(parent, outside)
            count += 1
        if parent[first] >= 0 and parent[second] >= 0:
            left, right = root(parent, first), root(parent, second)
            at_left = at_right = False
            for k in range(count):
                at_left = at_left or near[k] == left
                at_right = at_right or near[k] == right
            if at_left and at_right:
                level = values[cell]
                parent[cell] = -1
                break
        for k in range(count):
            parent[near[k]] = cell
    for cell in range(outside):
        if parent[cell] >= 0:
            found = root(parent, cell)
            if parent[first] >= 0 and found == root(parent, first):
                basins[cell] = 1
            elif parent[second] >= 0 and found == root(parent, second):
                basins[cell] = 2
    return level


def _finite(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise NconvexError(f"{name} has shape {array.shape}, not {shape} like its arguments")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise NconvexError(f"{name} is {bad} somewhere in the box; choose a box where it is finite")
    return array
