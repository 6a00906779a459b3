"""The bracket's two modes, what a grid misses, and the sampler's verdict on top of it."""

import numpy as np
import pytest

import nconvex as nc
from nconvex import MLP, Problem, curve, definitions
from nconvex.kernels.parts import NONLINEAR
from nconvex.proof import certify
from nconvex.proof.certify import GAP, GAP_ABOVE

CENTRE, HALF_WIDTH = 0.505123, 5e-5


@pytest.fixture(scope="module")
def quad():
    problem = nc.quad.problem(seed=0)
    return problem, *(nc.train(problem, 1e-3, seed).theta for seed in (1, 2))


def spike():
    """Two ReLU nets between which γ is 0.01, but for a spike of height 1 and width 1e-4.

    Three hidden units put a tent together, and their biases carry it past the one sample.
    """
    model = MLP((1, 3, 1))
    slope = 1.0 / HALF_WIDTH

    def net(t):
        biases = [slope * (t - CENTRE + shift * HALF_WIDTH) for shift in (1, 0, -1)]
        return np.array([0.0, 0.0, 0.0, *biases, 1.0, -2.0, 1.0, 0.1])

    one = np.ones((1, 1))
    return Problem(model, "mse", one, 0 * one, one, 0 * one), net(0.0), net(1.0)


def test_a_spike_between_the_points_of_a_grid_is_found():
    problem, theta1, theta2 = spike()
    seen = curve.maximum(problem, theta1, theta2)
    assert seen.upper == pytest.approx(0.01, rel=1e-4)  # the search of points sees nothing
    assert problem.gamma(theta1, theta2, np.linspace(0, 1, 1001)).max() < 0.011
    peak = problem.max_gamma(theta1, theta2, L0=0.02)
    assert peak.t_star == pytest.approx(CENTRE, abs=HALF_WIDTH)
    assert peak.lower > 0.02
    assert peak.certified
    assert problem.gamma(theta1, theta2, [peak.t_star])[0] >= peak.lower
    segment = problem.segment(theta1, theta2)
    found = certify.maximum(segment)
    assert found.lower <= 1.1**2 <= found.upper
    assert found.upper - found.lower <= max(GAP * found.lower, 4.0001 * segment.sigma)


@pytest.mark.parametrize("threshold", [0.5, 2.0], ids=["above", "below"])
def test_a_bracket_goes_on_from_where_it_stopped(quad, threshold):
    problem, *ends = quad
    top = problem.bracket(*ends)

    def halvings(known):
        segment = problem.segment(*ends, known)
        count = 1
        while not segment.tighten(-np.inf, GAP, 1):
            count += 1
        return count, segment.peak

    known = problem.max_gamma(*ends, threshold * top.upper)
    (anew, fresh), (more, resumed) = halvings(None), halvings(known)
    assert more < anew
    assert resumed.upper <= min(known.upper, (1.0 + 1.001 * GAP) * resumed.lower)
    assert resumed.lower <= fresh.upper
    assert fresh.lower <= resumed.upper
    one = problem.segment(*ends)  # the same search, never put aside
    certify.maximum(one, threshold * top.upper)
    assert certify.maximum(one) == resumed
    assert halvings(resumed) == (1, resumed)  # nothing is left to be done


def test_the_sampler_is_not_fooled_by_the_spike():
    problem, theta1, theta2 = spike()
    string = nc.connect(problem, theta1, theta2, L0=0.02, depth=0)
    assert not string.connected

    class Sampled:  # the same landscape without its proofs
        loss, descend, gamma = problem.loss, problem.descend, problem.gamma

    fooled = nc.connect(Sampled(), theta1, theta2, L0=0.02, depth=0)
    assert fooled.connected
    assert not fooled.certified


def test_with_a_threshold_it_is_decided_and_no_more(quad):
    problem, theta1, theta2 = quad
    top = problem.bracket(theta1, theta2, gap=1e-6)
    assert top.upper <= top.lower * (1 + 1e-6)
    assert top.t_star == pytest.approx(curve.maximum(problem, theta1, theta2).t_star, abs=1e-3)
    for factor in (0.5, 0.999, 1.001, 2.0):
        L0 = factor * top.upper
        peak = certify.maximum(problem.segment(theta1, theta2), L0, gap=np.inf)
        if factor > 1:
            assert peak.upper <= L0
        else:
            assert peak.lower > L0
            assert problem.gamma(theta1, theta2, [peak.t_star])[0] > L0
    above = problem.max_gamma(theta1, theta2, 0.9 * top.upper)
    assert 0.9 * top.upper < above.lower <= above.upper <= above.lower * (1 + GAP_ABOVE)


def test_ctrl_c_is_heard_between_calls_of_the_search(quad):
    class Interrupting(certify.Segment):
        def tighten(self, L0, gap, splits):
            raise KeyboardInterrupt

    problem, theta1, theta2 = quad
    with pytest.raises(KeyboardInterrupt):
        certify.maximum(Interrupting(problem.proof_data, theta1, theta2))


def test_a_search_without_end_returns_the_bracket_it_has():
    class Endless:
        splits = 0
        splits_between_signals = 100
        peak = definitions.Peak(0.5, 1.0, 2.0, certified=True)

        def tighten(self, L0, gap, splits):
            self.splits += splits
            return False

    search = Endless()
    assert certify.maximum(search) is search.peak
    assert search.splits == certify.MOST_SPLITS


@pytest.mark.parametrize("activation", NONLINEAR)
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log-cosh"])
def test_a_certified_string_stays_below_L0_everywhere(activation, loss):
    L0 = {"mse": 2e-3, "mae": 0.03, "huber": 1e-3, "log-cosh": 1e-3}[loss]
    problem = nc.quad.problem(0, model=MLP((1, 4, 4, 1), activation), loss=loss, samples=200)
    string = nc.run_pair(problem, L0=L0, seed=0).string
    assert string.certified
    lower, upper = string.max_error_bounds
    assert lower <= upper == string.max_error
    t = np.linspace(0, 1, 1001)
    segments = list(zip(string.beads[:-1], string.beads[1:], strict=True))
    dense = [problem.gamma(a, b, t).max() for a, b in segments]
    assert (dense <= string.segment_upper).all()
    highest = int(np.argmax(string.segment_lower))
    t_star = string.segment_t_star[[highest]]
    assert problem.gamma(*segments[highest], t_star)[0] >= lower
    assert upper <= lower * (1 + GAP)
    assert string.connected == (upper <= L0)


def test_a_landscape_of_a_bare_function_is_not_certified():
    bowl = nc.FunctionLandscape(lambda x: 1.0 + x @ x, lambda x: 2 * x)
    string = nc.connect(bowl, np.array([-1.0]), np.array([1.0]), L0=2.0)
    assert string.connected
    assert not string.certified
    assert string.max_error_bounds == (2.0, 2.0)
