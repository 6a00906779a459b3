"""The string as a value: turned round, put together, judged although it was given."""

import numpy as np
import pytest

import nconvex as nc
from nconvex.definitions import ConnectionStatus, NconvexError
from nconvex.string import joined

problem = nc.quad.problem(seed=0, samples=100)
A, B, C = (nc.train(problem, L0=1e-2, seed=seed).theta for seed in (1, 2, 3))


def test_a_given_path_is_judged_as_strictly_as_our_own():
    string = nc.connect(problem, A, B, L0=1e-2, depth=12)
    again = nc.string_through(problem, string.beads, L0=1e-2)
    assert string.connected
    assert again.connected
    assert again.certified
    assert (again.sampler, again.gradient_evaluations) == ("given", 0)
    np.testing.assert_array_equal(again.segment_upper, string.segment_upper)
    line = nc.string_through(problem, [A, B], L0=1e-2)
    assert line.status is ConnectionStatus.PATH_ABOVE_L0
    assert line.failures == (0,)


@pytest.mark.parametrize(
    ("beads", "words"),
    [
        ([A], "two models"),
        ([A, B[:-1]], r"beads\[1\] has 32"),
        ([A, np.nan * B], r"beads\[1\]\[0\]"),
    ],
)
def test_a_path_that_is_none_is_refused(beads, words):
    with pytest.raises(NconvexError, match=words):
        nc.string_through(problem, beads, L0=1e-2)


def test_strings_are_turned_round_and_joined():
    first = nc.connect(problem, B, A, L0=1e-2, depth=12)
    second = nc.connect(problem, B, C, L0=1e-2, depth=12)
    whole = joined([first.reversed(), second])
    np.testing.assert_array_equal(whole.beads[[0, -1]], [A, C])
    assert len(whole.beads) == len(first.beads) + len(second.beads) - 1
    judged = nc.string_through(problem, whole.beads, L0=1e-2)
    np.testing.assert_allclose(whole.losses, judged.losses, rtol=0, atol=0)
    assert len(whole.segment_upper) == len(whole.beads) - 1
    for k, (t, lower) in enumerate(zip(whole.segment_t_star, whole.segment_lower, strict=True)):
        height = problem.gamma(whole.beads[k], whole.beads[k + 1], np.array([t]))[0]
        assert height == pytest.approx(lower, rel=1e-6)
