"""The infimum at one unit fewer: exact, never above the truth, and attained by a path."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from test_separation import EQUILATERAL, PROBLEMS, permuted, solution, triangle

import nconvex as nc
from nconvex import lower_bounds
from nconvex.definitions import NconvexError
from nconvex.lower_bounds.rational import determinant, rationals, root_above, rounded_down, solve


def line(x, y, h):
    x, y = np.array(x, dtype=float)[:, None], np.array(y, dtype=float)[:, None]
    return nc.Problem(nc.MLP((1, h, 1)), "mse", x, y, x, y)


def test_rational_arithmetic_is_exact():
    matrix = rationals(np.array([[0.0, 2.0, 1.0], [3.0, 0.5, -1.0], [1.0, 1.0, 1.0]]))
    assert determinant(matrix) == Fraction(-11, 2)
    solution = solve(matrix, rationals(np.array([[1.0, 2.0, 3.0]]))[0])
    assert [sum(a * x for a, x in zip(row, solution, strict=True)) for row in matrix] == [1, 2, 3]
    assert solve(matrix[:2] + matrix[:1], matrix[0]) is None
    for value in (
        Fraction(1, 3),
        Fraction(2),
        Fraction(1, 10**300),
        Fraction(10**300),
        Fraction(4),
    ):
        root = root_above(value)
        assert 0 <= root * root - value < value / 2**80
    assert Fraction(rounded_down(Fraction(1, 3))) <= Fraction(1, 3)
    assert rounded_down(Fraction(1, 10)) < 0.1  # the float is above a tenth
    assert rounded_down(Fraction(3, 4)) == 0.75


# -- 1-h-1 with biases ----------------------------------------------------------------------------


def searched_on_line(x, y, units):
    """The least loss among nets whose kinks lie on a grid, by least squares for the rest.

    Input weights of 1 and -1 do, for a factor goes into the output weights.
    """
    x, y = np.array(x, dtype=float), np.array(y, dtype=float)
    kinks = np.linspace(x.min() - 0.5, x.max() + 0.5, 8 * (len(x) - 1) + 9)
    features = np.concatenate(
        [np.maximum(x - kinks[:, None], 0.0), np.maximum(kinks[:, None] - x, 0.0)]
    )
    best = np.mean((y - y.mean()) ** 2)
    for chosen in itertools.combinations(features, units):
        columns = np.column_stack([np.ones(len(x)), *chosen])
        residual = y - columns @ np.linalg.lstsq(columns, y, rcond=1e-10)[0]
        best = min(best, np.mean(residual**2))
    return best


@pytest.mark.parametrize(
    ("y", "h", "value"), [((0, 1, 0), 2, 1 / 6), ((0, 1, 0, 1), 3, 1 / 8), ((0, 1, 0), 1, 2 / 9)]
)
def test_the_infimum_of_zigzags(y, h, value):
    infimum = lower_bounds.narrower_infimum(line(range(len(y)), y, h))
    assert Fraction(infimum) <= Fraction(value).limit_denominator(100)
    assert infimum == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("x", "y", "h"),
    [
        ((0, 1, 2, 3), (0, 1, 0, 1), 2),
        ((0, 1, 2, 3), (0, 1, 0, 1), 3),
        ((-2, -1, 0, 1, 2), (1, 0, 3, 1, 2), 2),
        ((-2, -1, 0, 1, 2), (1, 0, 3, 1, 2), 3),
        ((0, 1, 1, 2), (0, 1, 2, 0), 2),
    ],
)
def test_no_net_on_a_line_is_below_its_infimum_and_some_are_close(x, y, h):
    infimum = lower_bounds.narrower_infimum(line(x, y, h))
    searched = searched_on_line(x, y, h - 1)
    assert infimum <= searched + 1e-14
    assert searched <= 1.02 * infimum + 1e-14
    shuffled = np.random.default_rng(0).permutation(len(x))
    again = line(np.array(x)[shuffled], np.array(y)[shuffled], h)
    assert lower_bounds.narrower_infimum(again) == infimum


def test_training_at_one_unit_fewer_stays_above_the_infimum():
    infimum = lower_bounds.narrower_infimum(line(range(4), (0, 1, 0, 1), 3))
    narrow = line(range(4), (0, 1, 0, 1), 2)
    losses = [nc.train(narrow, 1e-6, seed, max_starts=1).loss for seed in range(30)]
    assert infimum <= min(losses) <= 1.01 * infimum


# -- 2-3-2 without biases -------------------------------------------------------------------------


def searched_on_triangle(problem, angles):
    """The least loss among nets of two units with input weights at these angles."""
    V = np.maximum(np.column_stack([np.cos(angles), np.sin(angles)]) @ problem.X.T, 0.0)
    best = np.inf
    for v in V:
        normals = np.cross(v, V)
        squares = np.sum(normals**2, axis=1)
        spanned = squares > 1e-18
        if spanned.any():
            residuals = normals[spanned] @ problem.y
            best = min(best, np.min(np.sum(residuals**2, axis=1) / squares[spanned]) / 3)
    return best


@pytest.mark.parametrize("R", [0.3, 1.0, 7.0])
def test_the_equilateral_triangle_has_a_sixth_of_its_squared_radius(R):
    infimum = lower_bounds.narrower_infimum(triangle(R * EQUILATERAL))
    assert infimum == pytest.approx(R * R / 6, rel=1e-14)


def test_triangles_around_the_origin_have_the_closed_form():
    rng = np.random.default_rng(0)
    seen = 0
    while seen < 10:
        X = rng.normal(size=(3, 2))
        weights = np.cross(X[:, 0], X[:, 1])  # of the points, in a sum that is the origin
        if np.abs(np.sign(weights).sum()) < 3:
            continue
        seen += 1
        y = np.roll(X, -1, axis=0)
        lowest = []
        for i, j in itertools.combinations(range(3), 2):
            gram = y[[i, j]] @ y[[i, j]].T
            obtuse = gram[0, 1] < 0
            lowest.append(np.linalg.eigvalsh(gram)[0] if obtuse else gram.diagonal().min())
        assert lower_bounds.narrower_infimum(triangle(X)) == pytest.approx(
            min(lowest) / 3, rel=1e-9
        )


def test_no_net_of_two_units_is_below_the_infimum_and_some_are_close():
    rng = np.random.default_rng(6)
    grid = 2 * np.pi / 600 * np.arange(600)
    close = 0
    for k in range(12):
        X, y = rng.normal(size=(2, 3, 2))
        y[:, 1] *= k % 4 > 0  # targets on a line, now and then
        problem = nc.Problem(nc.MLP((2, 3, 2), biases=False), "mse", X, y, X, y)
        infimum, searched = (
            lower_bounds.narrower_infimum(problem),
            searched_on_triangle(problem, grid),
        )
        assert infimum <= searched * (1 + 1e-13)
        close += searched <= 1.02 * infimum + 1e-3
        turn = np.array([[0.6, -0.8], [0.8, 0.6]])
        turned = nc.Problem(problem.model, "mse", X @ turn, 2 * y, X @ turn, 2 * y)
        assert lower_bounds.narrower_infimum(turned) == pytest.approx(
            4 * infimum, rel=1e-9, abs=1e-12
        )
    assert close >= 10  # a grid comes late to an infimum that is not attained


def test_nets_with_kinks_close_to_the_points_come_close_to_every_infimum():
    # On a uniform grid one misses what is approached but not attained: both units at one kink.
    near = np.geomspace(1e-6, 0.3, 40)
    rng = np.random.default_rng(0)
    for _ in range(8):
        problem = triangle(rng.normal(size=(3, 2)))
        kinks = np.arctan2(problem.X[:, 0], -problem.X[:, 1])
        angles = np.concatenate(
            [kink + side + sign * near for kink in kinks for side in (0, np.pi) for sign in (1, -1)]
            + [np.linspace(0.0, 2 * np.pi, 400)]
        )
        infimum, searched = (
            lower_bounds.narrower_infimum(problem),
            searched_on_triangle(problem, angles),
        )
        assert infimum <= searched * (1 + 1e-9) <= 1.05 * infimum


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (nc.quad.problem(seed=0), r"1, 4, 4, 1"),
        (triangle(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])), "one plane"),
        (triangle(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])), "one plane"),
    ],
)
def test_what_has_no_known_infimum_is_refused(problem, words):
    with pytest.raises(NconvexError, match=words):
        lower_bounds.narrower_infimum(problem)


# -- The path -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["equilateral", "triangle 1", "triangle 2"])
@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [0, 2, 1]])
def test_a_path_attains_the_bound_within_a_percent(name, order):
    problem = PROBLEMS[name]
    theta = solution(problem, np.random.default_rng(7))
    other = permuted(problem.model, theta, order)
    bound = lower_bounds.lower_bound(problem, theta, other, lower_bounds.narrower_infimum(problem))
    beads = lower_bounds.path_through_narrower(problem, theta, other)
    np.testing.assert_array_equal(beads[[0, -1]], [theta, other])
    string = nc.string_through(problem, beads, 1.01 * bound.value)
    assert string.connected
    assert string.certified
    assert bound.value <= string.max_error <= 1.01 * bound.value
    assert len(beads) < 400
    # and the curve itself, looked at point by point, reaches the bound without passing it
    t = np.linspace(0.0, 1.0, 21)
    heights = [problem.gamma(a, b, t) for a, b in itertools.pairwise(beads)]
    assert bound.value <= np.max(heights) <= 1.01 * bound.value


def test_trained_minima_are_ends_too():
    problem = PROBLEMS["equilateral"]
    theta = [nc.train(problem, 1e-3, seed).theta for seed in range(6)]
    signs = [lower_bounds.det_sign(problem.model, end, problem.X) for end in theta]
    assert {-1, 1} <= set(signs)
    a, b = theta[signs.index(1)], theta[signs.index(-1)]
    beads = lower_bounds.path_through_narrower(problem, a, b, slack=0.02)
    assert nc.string_through(
        problem, beads, 1.02 * lower_bounds.narrower_infimum(problem)
    ).connected


def test_ends_that_cannot_be_are_refused():
    problem = PROBLEMS["equilateral"]
    theta = solution(problem, np.random.default_rng(7))
    dead = theta.copy()
    dead[[0, 3]], dead[6:8] = dead[[1, 4]], 0.0  # the first unit's input is a copy of the second's
    for other, slack, words in (
        (theta + 1.0, 0.01, "theta2 has loss"),
        (dead, 6.0, "dependent"),
        (theta, 0.0, "slack"),
        (theta, 1e-16, "raise slack"),
        (theta[:-1], 0.01, "theta2"),
    ):
        with pytest.raises(NconvexError, match=words):
            lower_bounds.path_through_narrower(problem, theta, other, slack)
    with pytest.raises(NconvexError, match="2-3-2"):
        lower_bounds.path_through_narrower(PROBLEMS["1-2-1"], theta, theta)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_gamma_is_known_to_a_hundredth_on_random_triangles(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, 2))
    y = np.roll(X, -1, axis=0)
    problem = nc.Problem(nc.MLP((2, 3, 2), biases=False), "mse", X, y, X, y)
    while True:  # a net that fits exactly, far from a degenerate one
        W = rng.normal(size=(3, 2))
        V = np.maximum(W @ X.T, 0.0)
        if abs(np.linalg.det(V)) > 0.1:
            U = np.linalg.solve(V.T, y)
            if np.abs(U).max() < 4.0:
                break
    theta = np.concatenate([W.T.ravel(), U.ravel()])
    exchanged = np.concatenate([W[[1, 0, 2]].T.ravel(), U[[1, 0, 2]].ravel()])
    bound = lower_bounds.lower_bound(
        problem, theta, exchanged, lower_bounds.narrower_infimum(problem)
    )
    assert bound.signs[0] * bound.signs[1] == -1
    path = lower_bounds.path_through_narrower(problem, theta, exchanged)
    string = nc.string_through(problem, path, 1.01 * bound.value)
    assert string.certified
    assert bound.value <= string.max_error <= 1.01 * bound.value
