"""The sampler on surfaces whose answer is known, and the string that it returns."""

import dataclasses

import mueller_brown
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nconvex as nc
from nconvex import ConnectionStatus, NconvexError, definitions
from nconvex.baselines import curves
from nconvex.curve import maximum
from nconvex.definitions import DescentStatus
from nconvex.files import read_arrays, write_arrays


def bowl():
    return nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)


def ring(**settings):
    """A valley of height 0 (plus 0.1) on the unit circle; its middle is a hill of height 1.1."""
    return nc.FunctionLandscape(
        lambda x: 0.1 + (x @ x - 1) ** 2,
        lambda x: 4 * (x @ x - 1) * x,
        nc.RMSProp(**{"learning_rate": 1e-2, "check_every": 1, **settings}),
    )


LEFT, RIGHT = np.array([-1.0, 0.01]), np.array([1.0, 0.02])

#: (x² - 1)² + 0.5 in one dimension: every path between the wells climbs to 1.5.
double_well = nc.FunctionLandscape(
    lambda x: 0.5 + (x[0] ** 2 - 1) ** 2, lambda x: 4 * x * (x**2 - 1), nc.RMSProp(budget=300)
)
WELLS = np.array([-1.0]), np.array([1.0])


# -- Known answers --------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.floats(0.1, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_convex_landscape_needs_no_bead(seed, alpha):
    theta1, theta2 = np.random.default_rng(seed).normal(size=(2, 5))
    L0 = max(bowl().loss(theta1), bowl().loss(theta2))
    string = nc.connect(bowl(), theta1, theta2, L0=L0, alpha=alpha)
    assert string.connected
    assert string.status is ConnectionStatus.CONNECTED
    assert (string.n_beads, string.gradient_evaluations, string.trace) == (0, 0, ())
    assert string.max_error == string.line_max_error == L0
    assert string.normalized_length == pytest.approx(1.0, rel=1e-14)


def test_a_double_well_is_connected_above_its_pass_only():
    above = nc.connect(double_well, *WELLS, L0=1.51, alpha=1.0)
    assert above.connected
    assert above.max_error == pytest.approx(1.5)
    below = nc.connect(double_well, *WELLS, L0=1.49)
    assert not below.connected
    # At t* = 0.5 the gradient is zero: the first bead cannot leave the top.
    assert below.status is ConnectionStatus.BEAD_UNTRAINABLE
    assert (below.n_beads, below.max_error) == (0, 1.5)
    assert below.trace[0].status is DescentStatus.BUDGET_SPENT
    assert [step.steps for step in below.trace] == [300, 300]  # to alpha L0, and to L0


def test_a_double_well_off_its_top_exhausts_the_depth():
    string = nc.connect(double_well, np.array([-1.1]), np.array([1.0]), L0=1.49, depth=4)
    assert string.status is ConnectionStatus.DEPTH_EXHAUSTED
    assert string.max_error >= 1.5 - 1e-9  # no string can hide the pass
    assert string.n_beads == 4
    assert len(string.failures) == 1
    assert max(insertion.depth for insertion in string.trace) == 3


@pytest.mark.parametrize("beads", [0, 1])
def test_depth_counts_recursions(beads):
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2, depth=beads)
    assert string.n_beads == beads
    assert string.status is ConnectionStatus.DEPTH_EXHAUSTED


def test_mueller_brown_is_connected_over_its_pass_and_never_below_it():
    ends = mueller_brown.LEFT, mueller_brown.RIGHT
    string = nc.connect(mueller_brown.landscape(), *ends, L0=109.6, alpha=0.95)
    assert string.connected
    assert mueller_brown.SADDLE <= string.max_error <= 109.6
    assert string.n_beads <= 12
    below = nc.connect(mueller_brown.landscape(), *ends, L0=109.0, alpha=0.95)
    assert not below.connected
    assert below.max_error >= mueller_brown.SADDLE
    slid_off = nc.connect(mueller_brown.landscape(), *ends, L0=119.0, alpha=0.8)
    assert not slid_off.connected


def test_mueller_browns_gradient_is_right():
    from differences import check_gradient

    theta = np.array([-0.3, 0.7])
    check_gradient(mueller_brown.potential, mueller_brown.gradient(theta), theta, tolerance=1e-7)


# -- The algorithm --------------------------------------------------------------------------------


def test_the_strings_parts_agree_with_each_other_and_with_the_landscape():
    landscape = ring()
    string = nc.connect(landscape, LEFT, RIGHT, L0=0.2, alpha=0.8)
    assert string.connected
    assert string.n_beads == len(string.beads) - 2 == len(string.trace) > 1
    np.testing.assert_array_equal(string.beads[[0, -1]], [LEFT, RIGHT])
    assert string.losses.tolist() == [landscape.loss(bead) for bead in string.beads]
    assert (string.losses[1:-1] <= 0.8 * 0.2).all()
    t = np.linspace(0, 1, 10_001)
    for k in range(len(string.beads) - 1):
        gamma = landscape.gamma(string.beads[k], string.beads[k + 1], t)
        assert gamma.max() <= string.segment_upper[k] * (1 + 1e-9)
        at_t_star = landscape.gamma(
            string.beads[k], string.beads[k + 1], string.segment_t_star[[k]]
        )
        assert at_t_star[0] == string.segment_upper[k]
    assert string.max_error == string.segment_upper.max() <= 0.2
    assert string.line_max_error == string.trace[0].gamma_before == pytest.approx(1.1, rel=1e-3)
    assert string.normalized_length == pytest.approx(
        np.linalg.norm(np.diff(string.beads, axis=0), axis=1).sum() / np.linalg.norm(RIGHT - LEFT)
    )
    assert 1.3 < string.normalized_length <= np.pi / 2 + 0.1


def test_the_trace_tells_each_recursion_where_it_happened():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2)
    places = [insertion.place for insertion in string.trace]
    assert places[0] == ""
    assert len(set(places)) == len(places)
    for insertion in string.trace[1:]:
        assert insertion.place[:-1] in places  # its parent had a bead
        assert insertion.depth == len(insertion.place)
        assert insertion.gamma_before > 0.2
        assert insertion.loss_after <= 0.16
    # In the order of the path, the trace's losses are the beads'.
    ordered = sorted(string.trace, key=lambda i: i.place.replace("R", "z") + "m")
    assert [insertion.loss_after for insertion in ordered] == string.losses[1:-1].tolist()


def test_threshold_is_strict():
    landscape = ring()
    string = nc.connect(landscape, LEFT, RIGHT, L0=0.2)
    assert string.connected
    worst = int(np.argmax(string.segment_upper))
    a, b = string.beads[worst], string.beads[worst + 1]
    again = nc.connect(landscape, a, b, L0=string.max_error, depth=0)
    assert again.connected
    barely = np.nextafter(string.max_error, 0)
    if max(landscape.loss(a), landscape.loss(b)) <= barely:
        again = nc.connect(landscape, a, b, L0=barely, depth=0)
        assert not again.connected


def test_every_branch_is_searched_also_after_a_failure():
    # On the upper half circle a plateau of height 5 stands, left of the top and right of it, on
    # which no bead can be trained.
    def blocked(x):
        return 0.3 < abs(x[0]) < 0.7

    landscape = nc.FunctionLandscape(
        lambda x: 5.0 if blocked(x) else 0.1 + (x @ x - 1) ** 2,
        lambda x: 0 * x if blocked(x) else 4 * (x @ x - 1) * x,
        nc.RMSProp(budget=200, check_every=1),
    )
    top = np.array([0.0, 1.0])
    sides = [nc.connect(landscape, end, top, L0=0.3) for end in (LEFT, RIGHT)]
    assert [side.status for side in sides] == [ConnectionStatus.BEAD_UNTRAINABLE] * 2

    class Helped:  # the first bead is set on the top
        loss, gamma = landscape.loss, landscape.gamma

        def descend(self, theta, target, rng):
            first = landscape.descend(top, 0.3, rng)
            self.descend = landscape.descend
            return first

    string = nc.connect(Helped(), LEFT, RIGHT, L0=0.3)
    assert [insertion.place for insertion in string.trace] == ["", "L", "R"]
    assert string.failures == (0, 1)
    assert string.max_error == 5.0


def test_the_status_is_that_of_the_worst_segment():
    base = nc.connect(ring(), LEFT, RIGHT, L0=0.2)
    statuses = [ConnectionStatus.CONNECTED] * len(base.segment_upper)
    statuses[0], statuses[1] = ConnectionStatus.DEPTH_EXHAUSTED, ConnectionStatus.BEAD_UNTRAINABLE
    above = [definitions.Peak(0.5, height, height, certified=False) for height in (0.7, 0.9)]
    string = dataclasses.replace(
        base, segment_status=tuple(statuses), peaks=(*above, *base.peaks[2:])
    )
    assert string.status is ConnectionStatus.BEAD_UNTRAINABLE
    assert string.failures == (0, 1)
    assert not string.connected


def test_a_bead_that_reaches_only_what_is_no_number_is_not_inserted():
    landscape = nc.FunctionLandscape(lambda x: 1.0 if abs(x[0]) > 0.5 else np.nan, lambda x: 0 * x)
    string = nc.connect(landscape, *WELLS, L0=1.0)
    assert string.status is ConnectionStatus.BEAD_DIVERGED
    assert string.max_error == np.inf
    assert string.trace[0].status is DescentStatus.DIVERGED


def test_random_streams_belong_to_places_not_to_the_order_of_work():
    seen = {}

    class Noted:
        def __init__(self, order):
            self.inner, self.order = ring(), order

        loss = property(lambda self: self.inner.loss)
        gamma = property(lambda self: self.inner.gamma)

        def descend(self, theta, target, rng):
            seen.setdefault(self.order, []).append((tuple(theta), rng.random()))
            return self.inner.descend(theta, target, rng)

    nc.connect(Noted("a"), LEFT, RIGHT, L0=0.2, seed=3)
    nc.connect(Noted("b"), LEFT, RIGHT, L0=0.2, seed=3)
    nc.connect(Noted("c"), LEFT, RIGHT, L0=0.2, seed=4)
    assert seen["a"] == seen["b"]
    assert len({draw for _, draw in seen["a"]}) == len(seen["a"])
    assert not {draw for _, draw in seen["a"]} & {draw for _, draw in seen["c"]}


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["descend", "gamma"])
@pytest.mark.parametrize("call", [1, 3, 4])
def test_an_interruption_keeps_the_string_so_far(where, call):
    whole = nc.connect(ring(), LEFT, RIGHT, L0=0.2)

    class Pressed:
        def __init__(self):
            self.inner, self.calls = ring(), 0

        def __getattr__(self, name):
            if name != where:
                return getattr(self.inner, name)

            def method(*args):
                self.calls += 1
                if self.calls == call:
                    raise KeyboardInterrupt
                return getattr(self.inner, name)(*args)

            return method

    with pytest.raises(nc.Interrupted) as caught:
        nc.connect(Pressed(), LEFT, RIGHT, L0=0.2)
    string = caught.value.string
    assert string.status is ConnectionStatus.INTERRUPTED
    assert not string.connected
    assert string.n_beads == len(string.trace) < whole.n_beads
    assert string.trace == whole.trace[: len(string.trace)]
    assert {tuple(bead) for bead in string.beads} <= {tuple(bead) for bead in whole.beads}
    assert len(string.segment_upper) == len(string.beads) - 1


# -- Misuse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"L0": 0.0}, "L0 must be a positive finite number, not 0.0"),
        ({"L0": -1}, "L0 must"),
        ({"L0": np.nan}, "L0 must"),
        ({"alpha": 0.0}, r"alpha must lie in \(0, 1\], not 0.0"),
        ({"alpha": 1.0001}, "alpha must"),
        ({"alpha": np.nan}, "alpha must"),
        ({"depth": -1}, "depth must be an integer of at least 0"),
        ({"depth": 2.5}, "depth must"),
        ({"depth": 65}, "depth must be at most 64"),
        ({"theta1": np.array([np.nan, 0.0])}, r"theta1\[0\] is nan"),
        ({"theta2": np.zeros(3)}, "theta2 has 3 parameters; this landscape has 2"),
        ({"theta1": np.zeros((1, 2))}, "theta1 must be a flat vector"),
        ({"seed": -1}, "seed"),
    ],
)
def test_misuse_is_named(changes, message):
    arguments = {"theta1": LEFT, "theta2": RIGHT, "L0": 0.2, **changes}
    with pytest.raises(NconvexError, match=message):
        nc.connect(ring(), **arguments)


@pytest.mark.parametrize("end", ["theta1", "theta2"])
def test_an_end_above_L0_is_refused_before_any_work(end):
    arguments = {"theta1": LEFT, "theta2": RIGHT, end: np.array([0.5, 0.0])}
    with pytest.raises(nc.EndpointAboveL0, match=f"{end} has loss 0.6625, above L0 = 0.2"):
        nc.connect(ring(), **arguments, L0=0.2)


# -- The string -----------------------------------------------------------------------------------


def test_at_runs_along_the_path_by_arc_length():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2)
    np.testing.assert_array_equal(string.at(0.0), LEFT)
    np.testing.assert_array_equal(string.at(1.0), RIGHT)
    points = np.array([string.at(s) for s in np.linspace(0, 1, 2001)])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    longest = string.path_length / 2000
    assert steps.max() <= longest * (1 + 1e-9)  # corners are cut, never lengthened
    assert np.median(steps) == pytest.approx(longest)
    assert max(ring().loss(point) for point in points) <= 0.2
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(NconvexError, match=r"s must lie in \[0, 1\]"):
            string.at(bad)


def test_a_path_from_a_model_to_itself():
    string = nc.connect(ring(), LEFT, LEFT, L0=0.2)
    assert string.connected
    assert (string.path_length, string.normalized_length) == (0.0, 1.0)
    np.testing.assert_array_equal(string.at(0.5), LEFT)


def test_principal_coordinates_keep_the_distances_of_the_beads():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2)
    x = string.principal_coordinates(3)
    assert x.shape == (len(string.beads), 3)

    def distances(points):
        return np.linalg.norm(points[:, None] - points, axis=2)

    # Beads in the plane: two components say everything, and the third is flat.
    np.testing.assert_allclose(distances(x), distances(string.beads), atol=1e-12)
    np.testing.assert_array_equal(x[:, 2], 0.0)
    assert x[:, 0].std() >= x[:, 1].std() > 0.0


class Described(dict):
    def describe(self):
        return self


@pytest.mark.parametrize("L0", [0.2, 0.11, 1.2])
def test_a_saved_string_comes_back_the_same(tmp_path, L0):
    string = nc.connect(ring(budget=20), LEFT, RIGHT, L0=L0, depth=3, seed=(4, 1))
    string.save(tmp_path / "string.npz", Described({"sizes": np.array([1, 2])}))
    back = nc.load_string(tmp_path / "string.npz")
    assert (back.evidence, back.description["sizes"].tolist()) == ("claimed", [1, 2])
    for field in dataclasses.fields(string)[:-3]:
        one, other = getattr(string, field.name), getattr(back, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert other.dtype == np.float64
        else:
            assert one == other
    assert read_arrays(tmp_path / "string.npz")["sizes"].tolist() == [1, 2]


def test_extra_arrays_must_not_replace_the_strings_own(tmp_path):
    string = nc.connect(bowl(), LEFT, RIGHT, L0=3.0)
    with pytest.raises(NconvexError, match="beads"):
        string.save(tmp_path / "string.npz", Described(beads=np.zeros(3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array(99)}, "not a string of format 3"),
        ({"format": None}, "not a string of format 3"),
        ({"beads": None}, "beads"),
        ({"beads": np.zeros(4)}, "damaged"),
        ({"beads": np.zeros((1, 2))}, "damaged"),
        ({"losses": np.zeros(1)}, "losses"),
        ({"segment_status": np.array(["FINE"])}, "FINE"),
        ({"trace_place": np.array(["", "L"])}, "damaged"),
        ({"L0": np.array([1.0, 2.0])}, "damaged"),
        ({"beads": np.array([["a", "b"]] * 2)}, "damaged"),
        ({"beads": np.full((2, 2), np.nan)}, "damaged"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, changes, message):
    path = tmp_path / "string.npz"
    nc.connect(bowl(), LEFT, RIGHT, L0=3.0).save(path)
    arrays = {**read_arrays(path), **changes}
    write_arrays(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(NconvexError, match=message):
        nc.load_string(path)


class Rounded(nc.FunctionLandscape):
    """A landscape whose bounds are proven up to an error."""

    error = 1e-6

    def max_gamma(self, theta1, theta2, L0, known=None):
        peak = maximum(self, theta1, theta2)
        return definitions.Peak(peak.t_star, peak.lower - self.error, peak.upper + self.error, True)


@pytest.mark.parametrize("sampler", ["plain", "revive", "springs"])
@pytest.mark.parametrize("below", [1e-7, 1e-5])
def test_no_bead_is_spent_on_an_end_that_cannot_be_proven(sampler, below):
    slope = Rounded(
        lambda x: 1.0 + float(x[0]), lambda x: np.array([1.0, 0.0]), nc.RMSProp(budget=50)
    )
    ends = np.zeros(2), np.array([-0.5, 0.0])
    string = nc.connect(slope, *ends, L0=1.0 + below, sampler=sampler)
    assert string.connected == (below > slope.error)
    assert string.trace == ()
    if not string.connected:
        assert string.status is ConnectionStatus.WITHIN_ROUNDING


def test_a_point_is_a_point_however_it_is_gone_through():
    bowl = nc.FunctionLandscape(lambda x: 1 + float(np.sum(x * x)), lambda x: 2 * x)
    theta = np.array([0.3, -0.7, 1.1])
    for method in (curves.polychain, curves.bezier, curves.nudged_elastic_band):
        string = method(bowl, theta, theta.copy(), 9.0, budget=8)
        assert string.normalized_length == 1.0
    loop = nc.string_through(bowl, [theta, theta + 1e-3, theta], 9.0)
    assert loop.normalized_length == np.inf
    small = nc.string_through(bowl, [theta, theta + np.array([1e-9, 0, 0]), theta + 1e-9], 9.0)
    assert small.normalized_length == pytest.approx((1 + 2**0.5) / 3**0.5, rel=1e-6)
    tiny = nc.string_through(bowl, 1e-200 * np.array([[0.0, 0], [1, 0], [1, 1]]), 9.0)
    assert tiny.normalized_length == pytest.approx(2**0.5)


def test_midpoint_insertion_starts_half_way():
    problem = nc.FunctionLandscape(
        lambda x: 1 + (x[0] ** 2 - 1) ** 2 * (1.2 + x[0]) + x[1] ** 2,
        lambda x: np.array([
            4 * x[0] * (x[0] ** 2 - 1) * (1.2 + x[0]) + (x[0] ** 2 - 1) ** 2, 2 * x[1],
        ]),
        nc.RMSProp(budget=1),
    )  # fmt: skip
    starts = []
    descend = problem.descend
    problem.descend = lambda theta, *rest: starts.append(theta) or descend(theta, *rest)
    ends = np.array([-1.0, 0.0]), np.array([1.0, 0.0])
    for insert in ("peak", "midpoint"):
        nc.connect(problem, *ends, L0=1.01, sampler=nc.Plain(insert=insert, depth=1))
    assert abs(starts[0][0]) > 0.1
    assert starts[-1][0] == 0.0
    with pytest.raises(NconvexError, match="insert 'end' is unknown"):
        nc.connect(problem, *ends, L0=1.01, sampler=nc.Plain(insert="end"))
