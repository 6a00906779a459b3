"""The breadth-first sampler: a path at every level, and an honest end."""

import itertools

import numpy as np
import pytest
from test_dss import LEFT, RIGHT, WELLS, double_well, ring

import nconvex as nc
from nconvex import ConnectionStatus
from nconvex.definitions import Move


def test_it_goes_round_a_ring_and_lowers_all_beads_together():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.15, sampler="breadth-first")
    assert string.connected
    assert (string.sampler, string.L0) == ("breadth-first", 0.15)
    assert (string.losses[1:-1] <= 0.8 * 0.15).all()
    moves = {insertion.move for insertion in string.trace}
    assert moves == {Move.INSERT, Move.LOWER}
    levels = [insertion.attempt for insertion in string.trace]
    assert levels == sorted(levels)
    for below, above in itertools.pairwise(sorted(set(levels))):
        highest = {
            level: max(i.loss_after for i in string.trace if i.attempt == level)
            for level in (below, above)
        }
        assert highest[above] < highest[below]


def test_below_the_pass_it_stops_at_the_level_that_it_reached():
    string = nc.connect(
        double_well, np.array([-1.1]), np.array([1.0]), L0=0.8, sampler="breadth-first"
    )
    assert not string.connected
    assert string.status in (ConnectionStatus.DEPTH_EXHAUSTED, ConnectionStatus.BEAD_UNTRAINABLE)
    assert string.max_error >= 1.5 - 1e-9
    assert string.L0 == 0.8
    above = nc.connect(double_well, *WELLS, L0=1.51, alpha=1.0, sampler="breadth-first")
    assert above.connected


def test_networks_are_connected_with_proof():
    problem = nc.quad.problem(seed=0, samples=200)
    ends = [nc.train(problem, 1e-3, seed).theta for seed in (1, 2)]
    string = nc.connect(problem, *ends, L0=1e-3, sampler="breadth-first")
    assert string.connected
    assert string.certified
    again = nc.connect(problem, *ends, L0=1e-3, sampler="breadth-first")
    np.testing.assert_array_equal(string.beads, again.beads)
    judged = nc.string_through(problem, string.beads, 1e-3)
    assert judged.connected
    np.testing.assert_array_equal(string.beads[[0, -1]], ends)


def test_a_straight_line_below_the_threshold_is_the_answer():
    bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
    string = nc.connect(
        bowl, np.array([1.0, 0]), np.array([0, 1.0]), L0=2.0, sampler="breadth-first"
    )
    assert (string.connected, string.n_beads, string.trace) == (True, 0, ())


@pytest.mark.parametrize("after", [1, 5])
def test_ctrl_c_keeps_the_string(after):
    count = itertools.count(1)

    def stop(insertion):
        if next(count) == after:
            raise KeyboardInterrupt

    with pytest.raises(nc.Interrupted) as caught:
        nc.connect(ring(), LEFT, RIGHT, L0=0.15, progress=stop, sampler="breadth-first")
    string = caught.value.string
    assert string.status is ConnectionStatus.INTERRUPTED
    assert len(string.trace) == after
