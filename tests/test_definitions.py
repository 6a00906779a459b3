import numpy as np
import pytest

from nconvex.definitions import NconvexError, RMSProp, child, generator, require_theta


def test_children_are_named_by_their_place():
    assert child(3) == (3,)
    assert child(3, 1, 0) == child((3, 1), 0) == (3, 1, 0)


def test_streams_of_different_places_differ_and_of_the_same_place_agree():
    def draw(*seed):
        return tuple(generator(seed).integers(0, 2**63, 4).tolist())

    places = [(0,), (1,), (0, 0), (0, 1), (0, 0, 0), (0, 0, 1)]
    assert len({draw(*place) for place in places}) == len(places)
    assert draw(5, 2) == draw(5, 2)
    expected = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(2,)))
    assert draw(5, 2) == tuple(expected.integers(0, 2**63, 4).tolist())


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, 2**63, (), (1, -1)])
def test_bad_seeds_are_refused(seed):
    with pytest.raises((NconvexError, TypeError)):
        child(seed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", np.nan),
        ("final_learning_rate", -1.0),
        ("epsilon", np.inf),
        ("decay", 1.0),
        ("decay", np.nan),
        ("budget", 0),
        ("budget", 10.5),
        ("check_every", 0),
    ],
)
def test_rmsprop_names_the_bad_value(name, value):
    with pytest.raises(NconvexError, match=name):
        RMSProp(**{name: value})


def test_the_rate_falls_geometrically_over_the_budget():
    settings = RMSProp(learning_rate=1e-2, final_learning_rate=1e-4, budget=50)
    assert settings.shrink**50 == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([[1.0, 2.0]], "flat vector"),
        ([], "flat vector"),
        (3.0, "flat vector"),
        (["a"], "array of numbers, not list"),
        ([1.0, np.nan, 2.0], r"theta\[1\] is nan"),
        ([1.0, 2.0, np.inf], r"theta\[2\] is inf"),
        ([1.0], "has 1 parameters; this landscape has 3"),
    ],
)
def test_bad_parameters_are_named(theta, message):
    with pytest.raises(NconvexError, match=message):
        require_theta("theta", theta, 3)
