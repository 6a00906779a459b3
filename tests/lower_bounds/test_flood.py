"""The bracket of Γ in two parameters holds known values, and a careless one would not."""

import heapq

import mueller_brown
import numpy as np
import pytest
from differences import check_gradient

import nconvex as nc
from nconvex import lower_bounds
from nconvex.definitions import NconvexError
from nconvex.lower_bounds import flood
from nconvex.samplers import SAMPLERS

X = np.linspace(-2, 2, 9)
KINK = 4 / (3 * np.sqrt(3))  # the largest |tanh''|


def well(x, y):
    """(x² - 1)² + y², whose pass between (-1, 0) and (1, 0) is 1 at the origin."""
    return (x**2 - 1) ** 2 + y**2


def well_slopes(x, y):
    return 4 * x * (x**2 - 1), 2 * y


def well_curvature(x, y, half_x, half_y):
    far = np.maximum(np.abs(x) - half_x, 0), np.abs(x) + half_x
    return np.maximum(2.0, np.maximum(np.abs(12 * far[0] ** 2 - 4), np.abs(12 * far[1] ** 2 - 4)))


WELLS = np.array([-1.0, 0.0]), np.array([1.0, 0.0])
WELL_BOX = ((-2.0, 2.1), (-1.5, 1.55))


def bracket_well(cells):
    return lower_bounds.flood_bracket(well, well_slopes, well_curvature, *WELLS, WELL_BOX, cells)


def of_two_units(y):
    """tanh(w₁ x) + tanh(w₂ x) on nine data: its loss, slopes and a bound of the Hessian."""

    def loss(w1, w2):
        return np.mean((np.tanh(w1[..., None] * X) + np.tanh(w2[..., None] * X) - y) ** 2, axis=-1)

    def slopes(w1, w2):
        t1, t2 = np.tanh(w1[..., None] * X), np.tanh(w2[..., None] * X)
        r = t1 + t2 - y
        return (
            2 * np.mean(r * (1 - t1**2) * X, axis=-1),
            2 * np.mean(r * (1 - t2**2) * X, axis=-1),
        )

    bound = 2 * np.mean(X**2 * (2 + KINK * (2 + np.abs(y))))
    return loss, slopes, float(bound)


def test_a_double_well():
    widths = []
    for cells in (101, 202, 404):
        found = bracket_well(cells)
        assert 1.0 in found
        assert found.whole_plane
        widths.append(found.upper - found.lower)
    assert widths[2] < widths[0] / 8  # nearly of second order: 1/16


def test_nine_cells_by_hand():
    # The ridge -x²/2 in cells of side 1, r² = 1/2: the middle ones lie within r²/2 of its top
    def ridge(x, y):
        return -0.5 * x**2

    def slopes(x, y):
        return -x, 0 * y

    box = ((-1.5, 1.5), (-1.5, 1.5))
    ends = np.array([-1.5, 0.0]), np.array([1.4, 0.1])
    found = lower_bounds.flood_bracket(ridge, slopes, 1.0, *ends, box, 3)
    assert (found.lower, found.upper) == pytest.approx((-0.25, 0.25))
    assert found.rim == pytest.approx(-0.5 - 0.5 - 0.25)  # each end's own cell
    assert found.basins.tolist() == [[1, 1, 1], [0, 0, 0], [2, 2, 2]]


def test_no_path_is_lower_than_its_ends():
    ends = np.array([0.9, 0.0]), np.array([0.0, -0.3])
    found = lower_bounds.flood_bracket(
        lambda x, y: x**2 + y**2,
        lambda x, y: (2 * x, 2 * y),
        2.0,
        *ends,
        ((-1.0, 1.0), (-1.0, 1.0)),
        9,
    )
    assert found.lower == pytest.approx(0.81)
    assert 0.81 in found


def test_mueller_brown():
    found = mueller_brown.bracket(800)
    assert 109.32 < found.lower < 109.335156 < found.upper < 109.35
    assert found.whole_plane
    fine = mueller_brown.bracket(1600)
    assert 109.3330 < fine.lower < 109.335156 < fine.upper < 109.3364
    rng = np.random.default_rng(0)
    for theta in rng.uniform(*np.transpose(mueller_brown.BOX), size=(20, 2)):
        check_gradient(
            mueller_brown.potential, mueller_brown.gradient(theta), theta, tolerance=1e-6
        )


def test_mueller_browns_hessian_is_bounded():
    rng = np.random.default_rng(1)
    half, step = 0.02, 1e-5
    for centre in rng.uniform(*np.transpose(mueller_brown.BOX), size=(200, 2)):
        bound = mueller_brown.curvature(*centre, half, half)
        theta = centre + rng.uniform(-half, half, 2)
        columns = [
            (mueller_brown.gradient(theta + move) - mueller_brown.gradient(theta - move)) / 2 / step
            for move in step * np.eye(2)
        ]
        norm = np.linalg.norm(columns, 2)
        assert norm <= bound * (1 + 1e-6)
        assert bound <= 20 * norm + 100  # not idle either


def test_two_units_that_change_places_must_meet():
    # Every path from (w₁, w₂) to (w₂, w₁) crosses w₁ = w₂, so Γ is the lowest loss there.
    y = np.tanh(0.5 * X) + np.tanh(3 * X)
    loss, slopes, bound = of_two_units(y)
    equal = np.linspace(0, 4, 400_001)
    lowest = loss(equal, equal).min()
    ends = np.array([0.5, 3.0]), np.array([3.0, 0.5])
    found = lower_bounds.flood_bracket(loss, slopes, bound, *ends, ((-1, 5.0), (-1, 5.1)), 500)
    assert lowest in found
    assert found.upper - found.lower < 0.06 * lowest


def test_a_unit_that_changes_its_sign_must_vanish():
    # w₂ tanh(w₁ x) is the same function at (-w₁, -w₂); on the way the output is 0 somewhere.
    y = 0.8 * np.tanh(1.5 * X)

    def loss(w1, w2):
        return np.mean((w2[..., None] * np.tanh(w1[..., None] * X) - y) ** 2, axis=-1)

    def slopes(w1, w2):
        t = np.tanh(w1[..., None] * X)
        r = w2[..., None] * t - y
        return (
            2 * np.mean(r * w2[..., None] * (1 - t**2) * X, axis=-1),
            2 * np.mean(r * t, axis=-1),
        )

    def curvature(w1, w2, half1, half2):
        w = (np.abs(w2) + half2)[..., None]
        r = w + np.abs(y)
        first = np.mean((w * X) ** 2 + r * w * KINK * X**2, axis=-1)
        mixed = np.mean(np.abs(X) * (w + r), axis=-1)
        return 2 * (np.maximum(first, 1.0) + mixed)

    ends = np.array([1.5, 0.8]), np.array([-1.5, -0.8])
    found = lower_bounds.flood_bracket(
        loss, slopes, curvature, *ends, ((-2.5, 2.6), (-1.5, 1.55)), 700
    )
    assert np.mean(y**2) in found
    assert found.upper - found.lower < 0.02 * np.mean(y**2)


def test_a_bound_without_the_hessian_is_none():
    # A ridge that is higher between the cells' centres than at them
    cells = 40
    wave = np.pi * cells

    def ridge(x, y):
        return 1 - 0.5 * np.cos(wave * (x - 1 / cells)) + 0.0 * y

    def flat(x, y):
        return 0 * x, 0 * y

    ends = np.array([-1 + 1 / cells, 0.0]), np.array([1 - 1 / cells, 0.0])
    box = ((-1.0, 1.0), (-1.0, 1.0))
    careless = lower_bounds.flood_bracket(ridge, flat, 0.0, *ends, box, cells)
    assert careless.upper < 0.51  # there are ridges of 1.5 all the way across
    honest = lower_bounds.flood_bracket(ridge, flat, 0.5 * wave**2, *ends, box, cells)
    assert 1.5 in honest


def test_a_lower_bound_without_the_hessian_is_none():
    # Every cell's centre is a top of 1.5, its corners are pits of 0.5, and the passes lie at 1
    cells = 40
    wave = np.pi * cells

    def tops(x, y):
        return 1 + 0.25 * sum(np.cos(wave * (part - 1 / cells)) for part in (x, y))

    def flat(x, y):
        return 0 * x, 0 * y

    arguments = np.array([-0.5, 0.0]), np.array([0.5, 0.0]), ((-1.0, 1.0), (-1.0, 1.0)), cells
    assert lower_bounds.flood_bracket(tops, flat, 0.0, *arguments).lower > 1.4
    assert 1.0 in lower_bounds.flood_bracket(tops, flat, 0.25 * wave**2, *arguments)


@pytest.mark.parametrize(("share", "sound"), [(1.0, True), (0.0, False)])
def test_brackets_of_coarse_and_fine_cells_agree_unless_the_hessian_is_left_out(share, sound):
    agree = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        waves, sizes, phases = rng.normal(0, 3, (4, 2)), rng.normal(size=4), rng.uniform(0, 6, 4)

        def angles(x, y, waves=waves, phases=phases):
            return [k1 * x + k2 * y + p for (k1, k2), p in zip(waves, phases, strict=True)]

        def f(x, y, sizes=sizes, angles=angles):
            return sum(A * np.cos(q) for A, q in zip(sizes, angles(x, y), strict=True))

        def gradient(x, y, sizes=sizes, waves=waves, angles=angles):
            waves = zip(sizes, waves, angles(x, y), strict=True)
            return sum(-A * np.sin(q) * k[:, None, None] for A, k, q in waves)

        bound = share * float(np.sum(np.abs(sizes) * np.sum(waves**2, axis=1)))
        ends = rng.uniform(-1, 1, (2, 2))
        found = [
            lower_bounds.flood_bracket(f, gradient, bound, *ends, ((-1.0, 1.0), (-1.1, 1.0)), cells)
            for cells in (5, 11, 37, 160)
        ]
        agree.append(max(b.lower for b in found) <= min(b.upper for b in found))
    assert all(agree) == sound


@pytest.mark.parametrize("seed", range(5))
def test_the_flood_finds_the_lowest_level_that_joins(seed):
    cells = 9
    values = np.random.default_rng(seed).permutation(cells**2).astype(float)

    def neighbours(cell):
        if cell == cells**2:
            return [k for k in range(cell) if {k // cells, k % cells} & {0, cells - 1}]
        row, column = divmod(cell, cells)
        around = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        inside = [i * cells + j for i, j in around if 0 <= min(i, j) <= max(i, j) < cells]
        return [*inside, cells**2] if len(inside) < 9 else inside

    def lowest_level(start, goal, allowed):  # Dijkstra's search for the lowest maximum
        height = np.append(values, -np.inf)
        queue, seen = [(height[start], start)], set()
        while queue:
            level, cell = heapq.heappop(queue)
            if cell == goal:
                return level
            for other in set(neighbours(cell)) & allowed - seen:
                seen.add(other)
                heapq.heappush(queue, (max(level, height[other]), other))

    order = np.argsort(values)
    within = set(range(cells**2))
    for start, goal in ((0, 80), (30, 33), (40, 40), (12, 81), (40, 81)):
        level, basins = flood.flooded(order, values, cells, start, goal)
        assert level == lowest_level(start, goal, within | {goal})
        if goal in within and level > max(values[start], values[goal]):
            assert (basins[start], basins[goal]) == (1, 2)
            assert values[basins > 0].max() < level
            meeting = [{basins[k] for k in neighbours(cell) if k in within} for cell in within]
            assert [{1, 2} <= met for met in meeting].count(True) >= 1
            assert not any({1, 2} <= meeting[cell] for cell in within if basins[cell])


def test_the_basins_lie_on_either_side_of_the_pass():
    found = bracket_well(101)
    x = np.linspace(*WELL_BOX[0], 102)
    flooded = [np.flatnonzero((found.basins == basin).any(axis=1)) for basin in (1, 2)]
    assert x[flooded[0].max() + 1] <= 0.05
    assert x[flooded[1].min()] >= -0.05
    assert flooded[0].max() < flooded[1].min()
    assert (found.basins > 0).any(axis=0).sum() < 101  # not where y² is above 1


def test_the_number_of_cells_in_one_call_does_not_matter(monkeypatch):
    whole = bracket_well(101)
    monkeypatch.setattr(flood, "BAND", 707)
    parts = bracket_well(101)
    assert (whole.lower, whole.upper, whole.rim) == (parts.lower, parts.upper, parts.rim)
    np.testing.assert_array_equal(whole.basins, parts.basins)


def test_rounding_is_charged():
    arguments = well, well_slopes, well_curvature, *WELLS, WELL_BOX, 101
    none, some = (lower_bounds.flood_bracket(*arguments, rounding=size) for size in (0.0, 0.25))
    for change in (none.lower - some.lower, some.upper - none.upper, none.rim - some.rim):
        assert change == pytest.approx(0.25)
    # an exact answer is not taken for exact: the highest point is an end, where f is 1 + 0
    flat = lower_bounds.flood_bracket(
        lambda x, y: 1 + 0 * x, lambda x, y: (0 * x, 0 * y), 0.0, *WELLS, WELL_BOX, 5, rounding=0.0
    )
    assert flat.lower < 1.0 < flat.upper


def test_a_low_rim_behind_high_passes_does_not_matter():
    # Passes at 0 between the wells and at 40.5 beyond them, and a fall to -65 at the rim
    def f(x, y):
        return 2.5 * x**4 - x**6 / 6 - 4.5 * x**2 + y**2

    def slopes(x, y):
        return 10 * x**3 - x**5 - 9 * x, 2 * y

    def curvature(x, y, half_x, half_y):
        far = np.abs(x) + half_x
        return 30 * far**2 + 5 * far**4 + 9

    found = lower_bounds.flood_bracket(
        f, slopes, curvature, *WELLS, ((-3.9, 3.95), (-7.0, 7.1)), 300
    )
    assert 0.0 in found
    assert f(np.float64(3.9), 0.0) < -60
    assert 39 < found.rim < 40.5
    assert found.whole_plane
    ends = np.array([3.85, 0.0]), WELLS[1]  # to leave is easy for one end, but not to come back
    for theta1, theta2 in (ends, ends[::-1]):
        box = ((-3.9, 3.95), (-7.0, 7.1))
        found = lower_bounds.flood_bracket(f, slopes, curvature, theta1, theta2, box, 300)
        assert 39 < found.rim < 40.5
        assert 40.5 in found


def test_outside_the_box_is_only_known_where_the_rim_is_high():
    box = ((-1.5, 1.5), (-0.2, 0.21))  # y² of the rim is 0.04 only: one could walk round
    found = lower_bounds.flood_bracket(well, well_slopes, well_curvature, *WELLS, box, 101)
    assert not found.whole_plane
    assert found.rim < found.lower


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"theta1": np.array([5.0, 0.0])}, r"theta1 = \[5. 0.\] lies outside the box"),
        ({"f": lambda x, y: np.where(x > 0, np.nan, x)}, "f is nan"),
        ({"f": lambda x, y: 1.0}, r"f has shape \(\)"),
        ({"cells": 2}, "cells must be an integer of at least 3"),
        ({"cells": 100_000}, "cells must be at most 4096"),
        ({"box": ((1.0, -1.0), (0.0, 1.0))}, "box must be"),
        ({"hessian": -1.0}, "hessian must be at least 0"),
        ({"rounding": -1.0}, "rounding"),
        ({"rounding": np.nan}, "rounding"),
        ({"hessian": np.nan}, "hessian must be at least 0 and finite, not nan"),
    ],
)
def test_bad_input_is_refused(changes, words):
    arguments = {
        "f": well,
        "gradient": well_slopes,
        "hessian": 50.0,
        "theta1": WELLS[0],
        "theta2": WELLS[1],
        "box": WELL_BOX,
        "cells": 10,
    }
    with pytest.raises(NconvexError, match=words):
        lower_bounds.flood_bracket(**{**arguments, **changes})


def test_no_sampler_connects_below_the_proven_bound():
    proven = mueller_brown.bracket(400)
    ends = mueller_brown.LEFT, mueller_brown.RIGHT
    for sampler in SAMPLERS:
        for L0 in (0.98 * proven.lower, proven.lower, 108.0):
            settings = {"L0": L0, "alpha": 0.95, "sampler": sampler}
            assert not nc.connect(mueller_brown.landscape(), *ends, **settings).connected
    found = nc.barrier(
        mueller_brown.landscape(),
        *ends,
        lower=proven.lower,
        precision=1e-3,
        sampler="plain",
        alpha=0.95,
    )
    assert proven.lower <= found.upper < 1.001 * proven.upper
