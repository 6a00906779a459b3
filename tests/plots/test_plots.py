import io
import itertools

import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import nconvex as nc
from nconvex.data.polynomials import quadratic
from nconvex.plots.style import name_few


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
    path = next(collection for collection in axes.collections)
    assert path.norm.vmax <= string.max_error_bounds[1]
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


def legible(figure):
    """Assert that nothing is printed too small on a page, and no two ticks or labels overlap."""
    FigureCanvasAgg(figure).draw()
    scale = min(1.0, 6.5 / figure.get_figwidth())
    renderer = figure.canvas.get_renderer()
    words = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    for text in words:
        assert text.get_fontsize() * scale >= 8.0, text
        assert text.get_text().replace("\N{MINUS SIGN}", "-").isascii()
    for axes in figure.axes:
        if axes.name == "3d" or not axes.axison:
            continue
        assert axes.get_xlabel() or axes.get_images() or not axes.lines or shares_below(axes)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            boxes = [
                tick.label1.get_window_extent(renderer)
                for tick in ticks
                if tick.label1.get_text()
                and low <= tick.get_loc() <= high
                and tick.label1.get_visible()
            ]
            for one, two in itertools.combinations(boxes, 2):
                assert not one.shrunk(0.9, 0.9).overlaps(two.shrunk(0.9, 0.9)), axes
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
    for one, two in itertools.combinations(titles, 2):
        assert not one.overlaps(two)


def shares_below(axes):
    return len(axes.get_shared_x_axes().get_siblings(axes)) > 1


@pytest.mark.parametrize(
    "style", [{}, {"font.size": 15.0}, "dark_background"], ids=["default", "large", "dark"]
)
def test_figures_are_legible_with_any_style(problem, string, style):
    with matplotlib.style.context(style):
        figure = nc.plots.summary(
            problem, string, lambda part: nc.plots.predictions(problem, string, quadratic, part)
        )
        legible(figure)
        legible(nc.plots.loss_along(problem, string))
        found = nc.connectivity(problem, string.beads, L0=[1e-3])
        legible(nc.plots.disconnectivity(found, [1e-3]))
        survey = nc.survey.run(nc.survey.grid(L0=(1e-2, 2e-2), samples=30), pairs=2)
        legible(nc.plots.survey(survey))


def test_ticks_of_a_logarithmic_axis_do_not_touch():
    levels = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    axes = Figure(figsize=(2.6, 2.0)).add_subplot(xscale="log", xlim=(2e-5, 2e-2))
    name_few(axes.xaxis, levels)
    axes.figure.draw_without_rendering()
    labels = axes.get_xticklabels()
    assert [float(label.get_text()) for label in labels] == levels
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_figures_are_drawn_where_they_are_asked_for(problem, string):
    figure = Figure()
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")
    assert nc.plots.loss_along(problem, string, ax=left) is left
    assert nc.plots.string_in_space(problem, string, ax=right) is right
    with pytest.raises(nc.NconvexError, match="three-dimensional"):
        nc.plots.string_in_space(problem, string, ax=left)
    part = Figure()
    assert nc.plots.predictions(problem, string, quadratic, figure=part) is part
    assert len(part.axes) == 2


def tree_of(losses, heights):
    return nc.Connectivity(np.array(losses), np.array(heights), 1)


def test_a_merge_tree_at_and_below_zero_is_drawn_and_coloured():
    found = tree_of([-2.0, -1.0, 0.0], [[-2.0, 1.0, 3.0], [1.0, -1.0, 4.0], [3.0, 4.0, 0.0]])
    assert found.persistence().tolist() == [2.0, 3.0]  # the merges at 1 and 3, less -1 and 0
    tree, count, _ = nc.plots.disconnectivity(found, values=[1.0, 2.0, 4.0], label="w").axes
    low, high = tree.get_ylim()
    assert low < -2.0
    assert high > 3.0
    colours = {line.get_color() for line in tree.lines}
    assert len(colours) == 5  # three leaves and two branches
    assert (np.diff(count.lines[0].get_ydata()) <= 0).all()
    with pytest.raises(nc.NconvexError, match="values must be 3 numbers"):
        nc.plots.disconnectivity(found, values=[1.0])


def test_components_never_rise_with_the_threshold():
    found = tree_of([1.0, 1.1, 1.2], [[1.0, 1.15, 9.0], [1.15, 1.1, 2.0], [9.0, 2.0, 1.2]])
    steps = nc.plots.disconnectivity(found).axes[1].lines[0]
    assert (np.diff(steps.get_ydata()) <= 0).all()
    assert min(steps.get_xdata()) == 1.2  # where all models are there
