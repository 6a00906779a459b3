import numpy as np
import pytest

import nconvex as nc
from nconvex.geometry.planes import Plane, filter_normalized, plane_through, principal_plane


@pytest.fixture(scope="module")
def problem():
    return nc.quad.problem(seed=0, samples=50)


@pytest.fixture(scope="module")
def string(problem):
    return nc.run_pair(problem, L0=1e-2, seed=0).string


def test_a_plane_has_its_models_and_their_losses(problem):
    a, b, c = (problem.initial(np.random.default_rng(k)) for k in range(3))
    through = plane_through(a, b, c)
    places = through.coordinates(np.array([a, b, c]))
    assert places[0] == pytest.approx(0.0, abs=1e-12)
    assert places[1] == pytest.approx([np.linalg.norm(b - a), 0.0])
    assert through.distances(np.array([a, b, c])) == pytest.approx(0.0, abs=1e-9)
    x, y = np.sort([0.0, places[1, 0], places[2, 0]]), np.array([0.0, places[2, 1]])
    losses = through.losses(problem, x, y)
    for theta, (at_x, at_y) in zip((a, b, c), places, strict=True):
        column, row = np.argmin(abs(x - at_x)), np.argmin(abs(y - at_y))
        assert losses[row, column] == pytest.approx(problem.loss(theta), rel=1e-9)
    off = through.u + through.v + 2.0 * np.eye(33)[0]
    expected = off - (off @ through.u) * through.u - (off @ through.v) * through.v
    assert through.distances(a + off[None]) == pytest.approx(np.linalg.norm(expected))


def test_models_on_one_line_span_no_plane():
    with pytest.raises(nc.NconvexError, match="on one line"):
        nc.plots.plane(None, [0.0, 0, 0], [1.0, 1, 1], [3.0, 3, 3])


def test_the_figure_says_what_is_projected_and_draws_the_threshold(problem, string):
    a, b = string.beads[[0, -1]]
    c = problem.initial(np.random.default_rng(5))
    axes = nc.plots.plane(problem, a, b, c, string, points=9).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    off = plane_through(a, b, c).distances(string.beads).max()
    if string.n_beads:
        assert f"string, projected: up to {off:.3g} off the plane" in labels
    assert "$L_0$ = 0.01" in labels
    line = next(line for line in axes.lines if line.get_label() == "straight line")
    assert np.ptp(line.get_xdata()) == pytest.approx(np.linalg.norm(b - a))


def test_two_parameters_are_their_own_plane():
    import mueller_brown

    landscape = mueller_brown.landscape()
    ends = mueller_brown.LEFT, mueller_brown.RIGHT
    axes = nc.plots.plane(landscape, *ends, [0.0, 0.0], L0=110.0, points=9).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "straight line")
    assert np.asarray(line.get_xydata()).tolist() == np.array(ends).tolist()
    assert axes.get_xlabel() == "first parameter"


def test_directions_are_as_long_as_each_units_weights(problem):
    theta = problem.initial(np.random.default_rng(1))
    direction = filter_normalized(problem, theta, 3)
    layers = zip(problem.model.unpack(direction), problem.model.unpack(theta), strict=True)
    for (drawn, biases), (weights, _) in layers:
        assert np.linalg.norm(drawn, axis=0) == pytest.approx(np.linalg.norm(weights, axis=0))
        assert not biases.any()
    assert (direction == filter_normalized(problem, theta, 3)).all()
    assert (direction != filter_normalized(problem, theta, 4)).any()
    assert np.linalg.norm(filter_normalized(None, theta, 0)) == pytest.approx(1.0)


def test_a_slice_shows_the_losses_along_its_direction(problem):
    theta = problem.initial(np.random.default_rng(1))
    line = nc.plots.slice(problem, theta, 1, 0.5, seed=2, points=5).axes[0].lines[0]
    u = filter_normalized(problem, theta, (2, 0))
    assert np.asarray(line.get_ydata()) == pytest.approx(
        [problem.loss(theta + s * u) for s in np.asarray(line.get_xdata())]
    )
    v = filter_normalized(problem, theta, (2, 1))
    losses = Plane(theta, u, v).losses(problem, np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 1.0]))
    assert losses[1, 0] == pytest.approx(problem.loss(theta - u + v))


def test_a_trajectory_lies_in_the_plane_of_its_components():
    thetas = np.random.default_rng(0).normal(size=(6, 2)) @ np.array([[1.0, 2, 0], [0, 1, 3.0]])
    plane, shares = principal_plane(thetas, thetas[-1])
    assert plane.distances(thetas) == pytest.approx(0.0, abs=1e-9)
    assert shares.sum() == pytest.approx(1.0)
    spread = np.linalg.svd(thetas - thetas[-1], compute_uv=False)[:2] ** 2
    assert shares == pytest.approx(spread / spread.sum())
