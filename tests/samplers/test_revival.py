"""The sampler that revives: what it finds, what it counts, and that it hides nothing."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_dss import WELLS, double_well, ring

import nconvex as nc
from nconvex import ConnectionStatus
from nconvex.definitions import Move, NconvexError, child
from nconvex.samplers import revival

L0 = 1e-4


def pair(k):
    problem = nc.quad.problem(seed=k, samples=200)
    ends = [nc.train(problem, L0, child(k, end)).theta for end in (1, 2)]
    return problem, *ends


def test_it_connects_what_plain_leaves_unconnected():
    for k in (9, 11):
        assert not nc.connect(*pair(k), L0=L0, seed=child(k, 3)).connected
        string = nc.connect(*pair(k), L0=L0, seed=child(k, 3), sampler="revive")
        assert string.connected
        assert string.certified
        assert string.sampler == "revive"
        assert Move.REVIVE in {insertion.move for insertion in string.trace}


def test_a_path_through_revived_ends_is_one_path_and_judged_as_such():
    problem, *ends = pair(13)
    string = nc.connect(problem, *ends, L0=L0, seed=child(13, 3), sampler="revive")
    assert string.connected
    assert max(insertion.attempt for insertion in string.trace) > 1
    np.testing.assert_array_equal(string.beads[[0, -1]], ends)
    again = nc.string_through(problem, string.beads, L0)
    assert again.connected
    assert again.certified
    np.testing.assert_array_equal(again.losses, string.losses)


def test_every_gradient_evaluation_is_counted():
    class Counting:
        """Passes everything on, and counts."""

        def __init__(self, landscape, steps):
            self.landscape, self.steps = landscape, steps

        def descend(self, theta, target, rng):
            descent = self.landscape.descend(theta, target, rng)
            self.steps.append(descent.steps)
            return descent

        def with_descents(self, rmsprop):
            return Counting(self.landscape.with_descents(rmsprop), self.steps)

        def __getattr__(self, name):
            return getattr(self.landscape, name)

    problem, *ends = pair(2)
    steps = []
    string = nc.connect(Counting(problem, steps), *ends, L0=L0, seed=child(2, 3), sampler="revive")
    assert string.gradient_evaluations == sum(steps) > 0
    assert [insertion.steps for insertion in string.trace] == steps


def test_the_same_seed_gives_the_same_string_on_any_thread():
    problem, *ends = pair(2)
    with ThreadPoolExecutor(2) as pool:
        strings = list(
            pool.map(
                lambda _: nc.connect(problem, *ends, L0=L0, seed=7, sampler="revive"), range(4)
            )
        )
    for string in strings[1:]:
        np.testing.assert_array_equal(string.beads, strings[0].beads)
        assert string.trace == strings[0].trace


def test_where_nothing_can_be_revived_it_is_the_drafts_search():
    string = nc.connect(
        ring(), np.array([-1.0, 0.01]), np.array([1.0, 0.02]), L0=0.2, sampler="revive"
    )
    assert string.connected
    assert {insertion.move for insertion in string.trace} == {Move.INSERT}
    below = nc.connect(double_well, *WELLS, L0=1.49, sampler="revive")
    assert below.status is ConnectionStatus.BEAD_UNTRAINABLE
    assert below.max_error == 1.5


def test_segments_left_after_a_failure_are_said_to_be_untried():
    problem, *ends = pair(11)
    string = nc.connect(problem, *ends, L0=L0, depth=2, sampler=nc.Revive(rounds=0))
    assert not string.connected
    assert string.status in (
        ConnectionStatus.BEAD_UNTRAINABLE,
        ConnectionStatus.DEPTH_EXHAUSTED,
    )
    assert ConnectionStatus.NOT_TRIED in string.segment_status
    assert string.max_error > L0


@pytest.mark.parametrize("after", [1, 20])
def test_ctrl_c_keeps_what_was_found(after, tmp_path):
    problem, *ends = pair(2)
    seen = []

    def stop(insertion):
        seen.append(insertion)
        if len(seen) == after:
            raise KeyboardInterrupt

    with pytest.raises(nc.Interrupted) as caught:
        nc.connect(problem, *ends, L0=L0, seed=child(2, 3), progress=stop, sampler="revive")
    string = caught.value.string
    assert string.status is ConnectionStatus.INTERRUPTED
    assert string.trace == tuple(seen)
    string.save(tmp_path / "string.npz")
    assert nc.load_string(tmp_path / "string.npz").trace == string.trace


def test_the_shortest_route_is_taken():
    flat = nc.FunctionLandscape(lambda x: 1.0, lambda x: 0 * x)
    ends = np.array([0.0, 0.0]), np.array([2.0, 0.0])
    attempt = revival._Attempt(flat, 2.0, nc.Revive(depth=3), (0,), None)
    graph = revival._Graph(attempt, *ends)
    graph._nodes += [np.array([1.0, 5.0]), np.array([1.0, 1.0])]
    graph._component += [2, 3]
    for edge in ((0, 2), (1, 2), (1, 3), (0, 3)):
        graph._join(edge, graph._attempt(*(graph._nodes[node] for node in edge)))
    string = graph.string()
    np.testing.assert_array_equal(string.beads, [ends[0], [1.0, 1.0], ends[1]])


def test_bad_input_is_refused():
    problem, *ends = pair(2)
    with pytest.raises(NconvexError, match="rounds"):
        nc.connect(problem, *ends, L0=L0, sampler=nc.Revive(rounds=-1))
    with pytest.raises(nc.EndpointAboveL0):
        nc.connect(problem, *ends, L0=1e-9, sampler="revive")


def test_the_switch_is_one_word(capsys):
    from nconvex import quad

    problem = nc.quad.problem(seed=9)
    assert nc.run_pair(problem, L0=L0, seed=9, sampler="revive").string.connected
    assert not nc.run_pair(problem, L0=L0, seed=9).string.connected
    with pytest.raises(NconvexError, match="sampler 'best' is unknown; choose from plain, revive"):
        nc.run_pair(problem, L0=L0, sampler="best")
    arguments = ["--L0", "1e-4", "--seed", "9", "--no-figure", "--quiet"]
    assert quad.main([*arguments, "--sampler", "revive"]) == 0
    assert "connected: the loss" in capsys.readouterr().out
