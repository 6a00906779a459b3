"""Linear regions against the textbook, which goes sample by sample."""

import os
from itertools import islice, pairwise

import numpy as np
import pytest
from compiled import compiled, run_again

from nconvex import textbook
from nconvex.definitions import RMSProp
from nconvex.kernels import parts, regions
from nconvex.network.engines import ByRegions
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem

crossing, split, residual_sums = map(
    compiled, (regions.crossing, regions.split, regions.residual_sums)
)

NETS = (
    MLP((1, 4, 4, 1)),
    MLP((1, 7, 1)),
    MLP((1, 5, 2, 3, 2)),
    MLP((1, 9, 33, 1)),
    MLP((1, 6, 6, 1), biases=False),
    MLP((1, 3)),
)
SPREADS = {
    "even": lambda rng, n: np.linspace(-1.0, 1.0, n),
    "random": lambda rng, n: rng.normal(size=n),
    "clustered": lambda rng, n: np.append(rng.integers(-3, 4, n - 1) / 4, 1e5),
    "one place": lambda rng, n: np.full(n, 0.3),
}


def stepped(theta, gradient, steps, settings):
    """The textbook's θ after so many steps."""
    return next(islice(textbook.rmsprop(theta, gradient, settings), steps, None))


def make(model, loss="mse", samples=300, spread="random", seed=0, **settings):
    rng = np.random.default_rng(seed)
    X, X_test = (SPREADS[spread](rng, samples)[:, None] for _ in range(2))
    y, y_test = rng.normal(size=(2, samples, model.sizes[-1]))
    theta = rng.normal(size=model.n_parameters)
    return Problem(model, loss, X, y, X_test, y_test, RMSProp(**settings)), theta


@pytest.mark.parametrize("loss", parts.LOSSES)
@pytest.mark.parametrize("net", range(len(NETS)))
def test_loss_and_gradient_agree_with_the_reference(net, loss):
    for seed in range(10):
        problem, theta = make(NETS[net], loss, seed=seed)
        assert isinstance(problem.engine, ByRegions)
        value, gradient = problem.loss_and_gradient(theta)
        data = problem.X, problem.y
        assert value == pytest.approx(textbook.mean_loss(NETS[net], loss, theta, *data), rel=1e-12)
        expected = textbook.gradient(NETS[net], loss, theta, *data)
        close = {"rtol": 1e-10, "atol": 1e-12 * np.abs(expected).max()}
        np.testing.assert_allclose(gradient, expected, **close)
        gradient[seed % theta.size] += 1e-6 * np.abs(expected).max()
        with pytest.raises(AssertionError):  # a wrong one would be seen
            np.testing.assert_allclose(gradient, expected, **close)


@pytest.mark.parametrize("samples", [1, 2, 7, 16, 17, 1000])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("net", [0, 1])
def test_the_samples_may_lie_anywhere(net, spread, samples):
    for seed in range(5):
        problem, theta = make(NETS[net], "mse", samples, spread, seed)
        value, gradient = problem.loss_and_gradient(theta)
        data = problem.X, problem.y
        assert value == pytest.approx(textbook.mean_loss(NETS[net], "mse", theta, *data), rel=1e-11)
        expected = textbook.gradient(NETS[net], "mse", theta, *data)
        atol = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=atol)


@pytest.mark.parametrize("net", [0, 1])
def test_samples_on_a_kink_belong_to_the_side_where_the_unit_is_off(net):
    # with biases of 0 all of the first layer's kinks lie at x = 0, a sample: relu'(0) is 0
    model = NETS[net]
    for seed in range(10):
        problem, theta = make(model, "mse", 101, "even", seed)
        assert 0.0 in problem.X
        for _, bias in model.unpack(theta)[:-1]:
            bias[:] = 0.0
        _, gradient = problem.loss_and_gradient(theta)
        expected = textbook.gradient(model, "mse", theta, problem.X, problem.y)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("net", range(len(NETS)))
def test_steps_by_running_sums_are_those_of_the_formula(net):
    model = NETS[net]
    problem, theta = make(model, budget=8, check_every=3)
    descent = problem.descend(theta, 0.0, np.random.default_rng(0))
    expected = stepped(
        theta,
        lambda v: textbook.gradient(model, "mse", v, problem.X, problem.y),
        8,
        problem.rmsprop,
    )
    # where a gradient is all rounding, its steps are, too
    np.testing.assert_allclose(descent.theta, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("offset", [0.0, 2000.0, -1e6])
def test_running_sums_lose_nothing_to_an_offset(offset):
    rng = np.random.default_rng(0)
    x = np.sort(rng.random(500)) + offset
    Y = rng.random((2, 500)) - 10 * offset
    sums = regions.running_sums(x, Y)
    for start, end in ((0, 500), (17, 18), (100, 350)):
        for k in range(2):
            slope = rng.normal()
            shift = Y[k].mean() - slope * x.mean()  # a line through the data
            total, moment = residual_sums(sums, start, end, slope, shift, k)
            r = (slope * x + shift - Y[k])[start:end]
            # what is rounded are the line's own numbers, as sample by sample
            allowed = 1e-13 * (1.0 + abs(offset)) * (end - start)
            assert total == pytest.approx(2 * r.sum(), rel=1e-9, abs=allowed)
            scale = np.abs(x).max()
            assert moment == pytest.approx(2 * r @ x[start:end], rel=1e-9, abs=allowed * scale)


@pytest.mark.parametrize("far", [30.0, 1e3, 1e5, 1e7, 1e100, -1e7])
def test_steps_stay_exact_where_a_sample_lies_far_away(far):
    # running sums would lose the digits of all others to its square
    model = MLP((1, 1, 1))
    rng = np.random.default_rng(1)
    x = rng.normal(size=300)
    x[0] = far
    y = np.where(np.abs(x) < 4, np.maximum(0.4 - 0.7 * x, 0), 0.0)[:, None]
    problem = Problem(model, "mse", x[:, None], y, x[:, None], y, RMSProp(budget=3, check_every=3))
    assert bool(problem.engine._stepping[3].size) == (far == 30.0)
    theta = np.array([-1.0 if far > 0 else 1.0, 1.5, 0.8, 0.0])
    expected = stepped(
        theta,
        lambda v: textbook.gradient(model, "mse", v, problem.X, problem.y),
        3,
        problem.rmsprop,
    )
    found = problem.descend(theta, 0.0, rng).theta
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_a_range_that_overflows_is_no_harm():
    x = np.array([[-1.7e308], [1.5e308], [1.6e308], [1.7e308]])
    theta = np.array([1e-308, 0.0, 1.0, 0.0])
    problem = Problem(MLP((1, 1, 1)), "mse", x, np.zeros((4, 1)), x, np.zeros((4, 1)))
    with np.errstate(all="ignore"):  # without the JIT NumPy's own numbers would warn
        assert problem.loss(theta) == pytest.approx(np.mean([0.0, 1.5**2, 1.6**2, 1.7**2]))


@pytest.mark.parametrize("spread", SPREADS)
def test_a_crossing_is_where_the_sign_changes(spread):
    rng = np.random.default_rng(1)
    x = np.sort(SPREADS[spread](rng, 200))
    ranks = regions.ranked(x)
    assert ranks[0] == 0
    assert ranks[-1] == x.size
    crossed = 0
    for _ in range(300):
        first, last = sorted(rng.integers(0, 200, 2))
        slope = rng.choice([-1.0, 1.0]) * 2.0 ** rng.integers(-9, 9)  # a product is exact
        shift = -slope * rng.choice([rng.choice(x), rng.normal()])
        positive = slope * x + shift > 0.0
        if positive[first] == positive[last]:
            continue
        crossed += 1
        cut = crossing(slope, shift, x, first, last, ranks)
        expected = first + np.flatnonzero(positive[first : last + 1] != positive[first])[0]
        assert cut == expected
    assert crossed > 20 or spread == "one place"


def test_regions_are_in_order_and_units_known_on_each():
    rng = np.random.default_rng(2)
    x = np.sort(rng.random(100))
    for _ in range(50):
        slopes, shifts = rng.normal(size=(2, 6)) * [[3.0], [1.0]]
        starts, cuts, rises = np.zeros((3, 8), dtype=np.int64)
        count = split(slopes, shifts, x, 10, 90, regions.ranked(x), starts, cuts, rises)
        assert starts[0] == 10
        assert starts[count] == 90
        assert (np.diff(starts[: count + 1]) >= 0).all()
        for start, end in pairwise(starts[: count + 1]):
            on = (start >= cuts[:6]) == rises[:6]
            for n in range(start, end):
                np.testing.assert_array_equal(slopes * x[n] + shifts > 0, on)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("net", [0, 2])
def test_what_is_not_finite_does_no_harm_and_stays_visible(net, bad):
    problem, theta = make(NETS[net], spread="even")
    sound = problem.loss(theta)
    for p in range(theta.size):
        broken = theta.copy()
        broken[p] = bad
        losses = np.empty(2)
        with np.errstate(all="ignore"):  # without the JIT NumPy's own numbers would warn
            engine = problem.engine
            regions.mean_losses(
                np.array([broken, theta]),
                *engine._network,
                engine._test,
                engine._workspace(),
                losses,
            )
            expected = textbook.mean_loss(NETS[net], "mse", broken, problem.X_test, problem.y_test)
        if np.isnan(bad):
            assert np.isnan(losses[0])
        elif np.isfinite(losses[0]):  # infinitely far on the silent side
            assert losses[0] == pytest.approx(expected, rel=1e-12)
        assert losses[1] == sound


def test_a_step_takes_as_long_for_many_samples_as_for_few():
    # counted, not timed: with running sums, a step does not read the targets at all
    problem, theta = make(NETS[1], budget=5, check_every=5)
    X, Y, *rest = problem.engine._stepping
    problem.engine._stepping = X, np.full_like(Y, np.nan), *rest
    descent = problem.descend(theta, 0.0, np.random.default_rng(0))
    assert np.isfinite(descent.theta).all()
    assert (descent.theta != theta).any()


@pytest.mark.skipif("NCONVEX_INNER_RUN" in os.environ, reason="this is the inner run")
def test_the_same_holds_without_the_jit_where_each_index_is_checked():
    run_again(__file__)
