"""How a string grew: its stages, the iterates of its descents, and what is drawn of them."""

import dataclasses

import numpy as np
import pytest
from matplotlib.animation import PillowWriter

import nconvex as nc
from nconvex import NconvexError
from nconvex.definitions import Move

PROBLEM = nc.quad.problem(samples=100)
STRING = nc.run_pair(PROBLEM, L0=1e-3, seed=0).string


def ring(radius=1.0):
    """Two parameters: a valley around a hill, and descents that lead to a radius."""
    return nc.FunctionLandscape(
        lambda x: 0.1 + (x @ x - 1.0) ** 2,
        lambda x: 4.0 * (x @ x - radius**2) * x,
        nc.RMSProp(learning_rate=1e-2, check_every=1),
    )


LEFT, RIGHT = np.array([-1.0, 0.01]), np.array([1.0, 0.02])


def test_the_last_stage_is_the_string_and_each_adds_its_bead():
    stages = STRING.stages()
    assert STRING.n_beads == len(stages) >= 3
    np.testing.assert_array_equal(stages[-1].beads, STRING.beads)
    before = STRING.beads[[0, -1]]
    for stage in stages:
        added = [k for k in range(len(stage.beads)) if (stage.beads[k] == stage.bead).all()]
        np.testing.assert_array_equal(np.delete(stage.beads, added, axis=0), before)
        assert (stage.beads[added[0] - 1] == stage.left).all()
        assert (stage.beads[added[0] + 1] == stage.right).all()
        t_star = stage.insertion.t_star
        found = PROBLEM.gamma(stage.left, stage.right, np.array([t_star]))[0]
        assert found == pytest.approx(stage.insertion.gamma_before, rel=1e-7)
        before = stage.beads


def test_a_descent_is_the_search_s_bit_for_bit_and_falls():
    for stage in STRING.stages():
        iterates = stage.descent(PROBLEM)
        np.testing.assert_array_equal(iterates[0], stage.start)
        np.testing.assert_array_equal(iterates[-1], stage.bead)
        losses = [PROBLEM.loss(theta) for theta in iterates]
        assert losses == sorted(losses, reverse=True)
        assert 2 <= len(iterates) <= 12
    first = STRING.stages()[0]
    assert len(first.descent(PROBLEM, iterates=2)) == 2


def test_a_descent_on_another_surface_is_refused():
    with pytest.raises(NconvexError, match="ends elsewhere"):
        STRING.stages()[0].descent(nc.quad.problem(seed=1, samples=100))


def test_midpoints_and_springs_and_repeats_have_stages():
    surface = ring()
    half = nc.connect(surface, LEFT, RIGHT, L0=0.2, sampler=nc.Plain(insert="midpoint"))
    np.testing.assert_array_equal(half.stages()[0].descent(surface)[-1], half.stages()[0].bead)
    further = ring(radius=1.5)  # its descents pass the valley and rise again
    string = nc.connect(further, LEFT, RIGHT, L0=0.2, alpha=0.4)
    first, again = string.stages()[:2]
    assert again.insertion.move is Move.REPEAT
    assert (first.bead, first.target) == (None, pytest.approx(0.08))
    assert len(first.beads) == 2
    assert again.target == 0.2
    np.testing.assert_array_equal(again.descent(further)[-1], again.bead)


def test_a_string_of_several_attempts_has_none():
    pieced = dataclasses.replace(
        STRING, trace=(*STRING.trace, dataclasses.replace(STRING.trace[0], move=Move.REVIVE))
    )
    given = nc.string_through(PROBLEM, STRING.beads, L0=1e-3)
    orphan = dataclasses.replace(
        STRING, trace=(dataclasses.replace(STRING.trace[0], place="LL"), *STRING.trace[1:])
    )
    for string in (pieced, given, orphan, STRING.reversed()):
        with pytest.raises(NconvexError, match='sampler="plain"'):
            string.stages()


def test_stages_of_a_file_are_those_of_the_search(tmp_path):
    STRING.save(tmp_path / "string.npz")
    assert nc.load_string(tmp_path / "string.npz").stages() == STRING.stages()


def test_training_keeps_iterates_if_asked_and_is_the_same_otherwise():
    plain = nc.train(PROBLEM, L0=1e-3, seed=1)
    kept = nc.train(PROBLEM, L0=1e-3, seed=1, keep=True)
    assert plain.iterates is None
    assert dataclasses.replace(kept, iterates=None) == plain
    np.testing.assert_array_equal(kept.iterates[-1], plain.theta)
    losses = [PROBLEM.loss(theta) for theta in kept.iterates]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) > 2
    nc.plots.trajectory(PROBLEM, kept.iterates, points=5)


def test_the_cartoon_has_the_panels_of_figure_1_with_the_run_s_numbers():
    figure = nc.plots.cartoon(PROBLEM, STRING)
    letters = [axes.get_title()[0] for axes in figure.axes if axes.get_title()]
    assert letters == list("abcdefg")
    first, second = STRING.stages()[:2]
    for panel, stage in ((3, first), (6, second)):
        ends = [line.get_ydata()[-1] for line in figure.axes[panel].lines]
        assert PROBLEM.loss(stage.bead) in ends
    one = nc.connect(ring(), LEFT, RIGHT, L0=1.05)
    assert one.n_beads == 1
    figure = nc.plots.cartoon(ring(), one)
    assert [axes.get_title()[0] for axes in figure.axes if axes.get_title()] == list("abcde")
    line = nc.string_through(PROBLEM, STRING.beads[:2], L0=1.0)
    with pytest.raises(NconvexError, match="no bead"):
        nc.plots.cartoon(PROBLEM, line)


@pytest.mark.parametrize("surface", [PROBLEM, ring()], ids=["QUAD", "two parameters"])
def test_the_animation_grows_to_the_whole_string(surface, tmp_path):
    string = STRING if surface is PROBLEM else nc.connect(surface, LEFT, RIGHT, L0=0.2)
    animation = nc.plots.animate(surface, string, iterates=3)
    animation.save(tmp_path / "growth.gif", PillowWriter(fps=3), dpi=40)
    with (tmp_path / "growth.gif").open("rb") as file:
        assert file.read(6) == b"GIF89a"
    figure = animation._fig
    shown = [line for axes in figure.axes[:2] for line in axes.lines]
    assert any(len(line.get_xdata()) == len(string.beads) for line in shown)
    assert f"{string.n_beads} in all" in figure.get_suptitle()
