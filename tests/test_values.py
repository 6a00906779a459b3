"""Results and settings are values: compared, hashed, shown in a line or two, pickled and copied."""

import copy
import pickle

import numpy as np
import pytest

import nconvex as nc
from nconvex import definitions

X = np.linspace(-1.0, 1.0, 40)[:, None]
PROBLEM = nc.Problem(nc.MLP((1, 4, 1), "tanh"), "mse", X, X**2, X, X**2)
DIGITS = nc.Classification(nc.MLP((1, 3, 2)), X, [0, 1] * 20, X, [0, 1] * 20)
BOWL = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
PAIR = nc.run_pair(PROBLEM, L0=0.05, seed=0)
VALUES = {
    "string": PAIR.string,
    "training": PAIR.trainings[0],
    "pair": PAIR,
    "insertion": definitions.Insertion("L", 1, 0.5, 2.0, 1.0, 7, definitions.DescentStatus.REACHED),
    "peak": definitions.Peak(0.5, 1.0, 1.1, certified=True),
    "tightening": nc.tighten(PROBLEM, PAIR.string),
    "barrier": nc.barrier(BOWL, [1.0, 0.0], [0.0, 1.0]),
    "connectivity": nc.connectivity(BOWL, [[1.0, 0.0], [0.0, 1.0]], L0=[3.0]),
    "mlp": nc.MLP((1, 4, 1)),
    "rmsprop": nc.RMSProp(),
    "plain": nc.Plain(),
    "revive": nc.Revive(rounds=3),
    "springs": nc.Springs(),
    "breadth-first": nc.BreadthFirst(),
    "setting": nc.survey.Setting(),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_compared_hashed_shown_and_copied(name):
    value = VALUES[name]
    for same in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert same == value
        assert hash(same) == hash(value)
    assert value != VALUES["peak" if name != "peak" else "mlp"]
    assert len(repr(value)) <= 240  # two lines of a wide window
    assert "array(" not in repr(value)


def test_a_string_differs_from_its_reverse():
    assert PAIR.string.reversed() != PAIR.string
    assert PAIR.string.reversed().reversed() == PAIR.string


@pytest.mark.parametrize("problem", [PROBLEM, DIGITS], ids=["problem", "classification"])
def test_problems_are_pickled_and_compute_the_same(problem):
    assert len(repr(problem)) < 100
    theta = problem.initial(np.random.default_rng(0))
    before = problem.loss(theta)
    for same in (pickle.loads(pickle.dumps(problem)), copy.deepcopy(problem)):
        assert same.loss(theta) == before
        assert same.max_gamma(theta, -theta, 1e-3) == problem.max_gamma(theta, -theta, 1e-3)
