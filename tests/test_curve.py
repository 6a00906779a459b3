import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nconvex.curve import TOLERANCE, interpolate, maximum


class Along:
    """A landscape in one dimension: θ is t itself."""

    def __init__(self, f):
        self.f = f
        self.calls = 0

    def gamma(self, theta1, theta2, t):
        self.calls += t.size
        return np.array([self.f(s) for s in theta1[0] * (1 - t) + theta2[0] * t])


ZERO, ONE = np.array([0.0]), np.array([1.0])
finite = st.floats(-1e6, 1e6)


@given(finite, finite)
def test_interpolation_is_exact_at_its_ends(a, b):
    assert interpolate(np.array([a]), np.array([b]), 0.0)[0] == a
    assert interpolate(np.array([a]), np.array([b]), 1.0)[0] == b


@given(finite, finite, st.floats(0, 1))
def test_interpolation_is_equation_1(a, b, t):
    theta = interpolate(np.array([a]), np.array([b]), t)[0]
    assert theta == pytest.approx(a * (1 - t) + b * t)
    assert min(a, b) - 1e-9 <= theta <= max(a, b) + 1e-9


@given(st.floats(0, 1))
def test_the_top_of_a_hill_is_found_to_the_stated_tolerance(top):
    peak = maximum(Along(lambda t: 5 - abs(t - top)), ZERO, ONE)
    assert abs(peak.t_star - top) <= TOLERANCE
    assert peak.lower == 5 - abs(peak.t_star - top)


def test_the_higher_of_two_near_hills_is_climbed_although_the_grid_prefers_the_other():
    # On the grid 0.30 reads 1.0; the narrow hill at 0.705 reads 0.5 at 0.70 and 0.71, and is 2
    def f(t):
        return max(1 - 10 * abs(t - 0.3), 2 - 300 * abs(t - 0.705))

    peak = maximum(Along(f), ZERO, ONE)
    assert peak.t_star == pytest.approx(0.705, abs=TOLERANCE)
    assert peak.lower == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("top", [0.0, 1.0])
def test_a_maximum_at_an_end_is_the_ends_value(top):
    peak = maximum(Along(lambda t: -((t - top) ** 2)), ZERO, ONE)
    assert (peak.t_star, peak.lower) == (top, 0.0)


def test_a_flat_line_costs_little_and_is_its_own_maximum():
    landscape = Along(lambda t: 0.25)
    assert maximum(landscape, ZERO, ONE).upper == 0.25
    assert landscape.calls < 20_000


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_what_is_not_a_number_counts_as_infinite(hole):
    peak = maximum(Along(lambda t: hole if 0.495 < t < 0.505 else 1.0), ZERO, ONE)
    assert peak.lower == np.inf
    assert peak.t_star == pytest.approx(0.5)
