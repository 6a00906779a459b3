import numpy as np
import pytest

import nconvex as nc
from nconvex import TrainingStatus
from nconvex.training import ROOM, STUCK, auto_L0


def stubborn(good_starts):
    """A landscape where only the given starts, by number, can be trained."""
    drawn = []

    def initial(rng):
        drawn.append(rng.random())
        return np.array([0.0 if len(drawn) in good_starts else 3.0])

    # a plateau at 2 from x = 1 on, where the gradient is zero
    landscape = nc.FunctionLandscape(
        lambda x: 1 + min(x[0] ** 2, 1.0),
        lambda x: 2 * x if x[0] < 1 else 0 * x,
        nc.RMSProp(budget=30),
        initial,
    )
    return landscape, drawn


def test_untrainable_starts_are_drawn_again_and_counted():
    landscape, drawn = stubborn({4})
    training = nc.train(landscape, L0=1.5)
    assert (training.status, training.starts) == (TrainingStatus.TRAINED, 4)
    assert training.steps == 3 * 30
    assert len(set(drawn)) == 4  # each from a stream of its own


def test_past_the_limit_the_status_says_so():
    landscape, _ = stubborn(set())
    training = nc.train(landscape, L0=1.5, max_starts=3)
    assert (training.status, training.starts) == (TrainingStatus.UNTRAINABLE, 3)
    assert training.loss == 2.0


def test_the_best_start_is_returned_even_among_losses_that_are_no_numbers():
    values = iter([np.nan, 7.0, 5.0, np.nan, 6.0])
    current = []

    def initial(rng):
        current.append(next(values))
        return np.array([1.0])

    landscape = nc.FunctionLandscape(
        lambda x: current[-1], lambda x: 0 * x, nc.RMSProp(budget=1), initial
    )
    assert nc.train(landscape, L0=1.0, max_starts=5).loss == 5.0


def test_quad_is_trained_on_the_test_set_to_L0():
    problem = nc.quad.problem(seed=0)
    training = nc.train(problem, L0=1e-3, seed=1)
    assert training.status is TrainingStatus.TRAINED
    assert training.loss == problem.loss(training.theta) <= 1e-3


@pytest.mark.parametrize("L0", [0.0, -1.0, np.nan, np.inf, "1"])
def test_bad_thresholds_are_refused(L0):
    with pytest.raises(nc.NconvexError, match="L0 must be a positive finite number"):
        nc.train(nc.quad.problem(), L0=L0)


def test_at_least_one_start_is_asked_for():
    with pytest.raises(nc.NconvexError, match="max_starts"):
        nc.train(nc.quad.problem(), L0=1.0, max_starts=0)


@pytest.mark.parametrize(
    ("floors", "level"),
    [((0.5, 0.7, 0.6), 0.7), ((0.7, 0.5, 0.6), 0.7), ((0.5, 90.0, 0.6), STUCK * 0.6)],
)
def test_the_threshold_that_is_chosen_is_one_that_other_networks_reach(floors, level):
    starts = iter(floors)
    landscape = nc.FunctionLandscape(  # ln f falls as a straight line until it comes to the floor
        lambda x: max(np.exp(x[0]), x[1]),
        lambda x: np.array([1.0 * (np.exp(x[0]) > x[1]), 0.0]),
        nc.RMSProp(1e-2, 1e-2, budget=5000),
        lambda rng: np.array([1.0, next(starts)]),
    )
    chosen = auto_L0(landscape, alpha=0.95, seed=0)
    assert 0.999 * level <= chosen * 0.95 / ROOM <= 1.12 * level
