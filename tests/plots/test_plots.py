import io

import numpy as np
import pytest
from matplotlib.figure import Figure

import nconvex as nc
from nconvex.data.polynomials import quadratic


@pytest.fixture(scope="module")
def problem():
    return nc.quad.problem(seed=0)


@pytest.fixture(scope="module")
def string(problem):
    return nc.run_pair(problem, L0=1e-3, seed=0).string


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def test_the_losses_drawn_are_the_landscapes(problem, string):
    figure = nc.plots.loss_along(problem, string)
    assert isinstance(figure, Figure)
    line, along, beads, L0 = figure.axes[0].lines
    t = np.asarray(line.get_xdata())
    np.testing.assert_allclose(
        line.get_ydata(), problem.gamma(string.beads[0], string.beads[-1], t)
    )
    s = np.asarray(along.get_xdata())
    assert (np.diff(s) >= 0).all()
    lower, upper = string.max_error_bounds
    assert lower * (1 - 1e-9) <= max(along.get_ydata()) <= upper
    np.testing.assert_allclose(
        along.get_ydata(), [problem.loss(string.at(u)) for u in s], rtol=1e-9
    )
    assert np.asarray(beads.get_ydata()).tolist() == string.losses.tolist()
    assert set(L0.get_ydata()) == {1e-3}
    assert png(figure)


def test_the_string_in_space_has_a_shadow_on_each_wall(problem, string):
    figure = nc.plots.string_in_space(problem, string)
    axes = figure.axes[0]
    walls = [
        axis
        for line in axes.lines
        for axis, values in enumerate(line.get_data_3d())
        if len(values) == len(string.beads) and np.ptp(values) == 0
    ]
    assert walls == [0, 1, 2]
    assert png(figure)


def test_the_predictions_drawn_are_the_models(problem, string):
    figure = nc.plots.predictions(problem, string, quadratic)
    above, below = figure.axes
    polynomial, first, last, _ = above.lines
    x = np.asarray(first.get_xdata()).reshape(-1, 1)
    y = [problem.model.predict(string.beads[end], x).ravel() for end in (0, -1)]
    truth = quadratic(x).ravel()
    for line, expected in (
        (polynomial, truth),
        (first, y[0]),
        (last, y[1]),
        (below.lines[0], y[0] - truth),
        (below.lines[1], y[1] - truth),
    ):
        np.testing.assert_allclose(np.ravel(line.get_ydata()), expected)
    assert png(figure)


def test_strings_without_beads_and_from_a_model_to_itself_are_drawn(problem, string):
    def models(of):
        return lambda part: nc.plots.predictions(problem, of, quadratic, part)

    line = nc.connect(problem, string.beads[0], string.beads[-1], L0=1.0)
    assert line.n_beads == 0
    assert png(nc.plots.summary(problem, line, models(line)))
    point = nc.connect(problem, string.beads[0], string.beads[0], L0=1.0)
    assert png(nc.plots.summary(problem, point, models(point)))


def test_a_two_dimensional_string_is_drawn():
    import mueller_brown

    landscape = mueller_brown.landscape()
    string = nc.connect(landscape, mueller_brown.LEFT, mueller_brown.RIGHT, L0=120.0, alpha=0.95)
    assert png(nc.plots.string_in_space(landscape, string))
    assert png(nc.plots.loss_along(landscape, string))
