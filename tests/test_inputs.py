"""Whatever a public function is given, it works or says on one line what is wrong."""

import numpy as np
import pytest

import nconvex as nc
from nconvex import data, rivals
from nconvex.assignment import aligned
from nconvex.definitions import NconvexError, generator

MODEL = nc.MLP((1, 2, 1))
X, Y = np.linspace(0, 1, 6)[:, None], np.linspace(0, 1, 6)[:, None] ** 2
PROBLEM = nc.Problem(MODEL, "mse", X, Y, X, Y, nc.RMSProp(budget=20))
THETA = MODEL.initial(generator(0))
DIGITS = nc.MLP((2, 3, 3))
LABELS = np.array([0, 1, 2, 0, 1, 2])
POINTS = np.arange(12.0).reshape(6, 2)
BOWL = nc.FunctionLandscape(
    lambda x: 1 + float(np.sum(np.minimum(abs(x), 1e9) ** 2)),
    lambda x: 2 * np.clip(x, -1e9, 1e9),
    nc.RMSProp(budget=20),
    lambda rng: rng.normal(size=2),
)
LEFT, RIGHT = np.array([-1.0, 0.5]), np.array([1.0, 0.5])
STRING = nc.string_through(BOWL, [LEFT, np.array([0.0, 0.2]), RIGHT], 3.0)
PLANE = nc.MLP((2, 3, 2), biases=False)
CORNERS = np.array([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])
THREE = nc.Problem(PLANE, "mse", CORNERS, np.roll(CORNERS, 1, 0), CORNERS, np.roll(CORNERS, 1, 0))

ENDS = {"landscape": BOWL, "theta1": LEFT, "theta2": RIGHT, "L0": 3.0, "seed": 0}
SEARCH = ENDS | {"alpha": 0.8, "depth": 2, "insert": "peak"}
NETWORK = {"loss": "mse", "X": X, "y": Y, "X_test": X, "y_test": Y, "rmsprop": None}
FLOOD = {
    "f": lambda x, y: x * x + y * y,
    "gradient": lambda x, y: (2 * x, 2 * y),
    "hessian": 4.0,
    "theta1": LEFT,
    "theta2": RIGHT,
    "box": ((-2, 2), (-2, 2)),
    "cells": 8,
    "rounding": 0.0,
}
#: Public functions with arguments that are right.
CALLS = {
    nc.MLP: {
        "sizes": (1, 2, 1),
        "activation": "tanh",
        "output_activation": "relu",
        "biases": True,
        "initialisation": "uniform",
    },
    nc.RMSProp: {
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-4,
        "decay": 0.5,
        "epsilon": 1e-8,
        "budget": 5,
        "check_every": 2,
    },
    nc.Problem: {"model": MODEL, **NETWORK},
    nc.Classification: {
        "model": DIGITS,
        "X": POINTS,
        "labels": LABELS,
        "X_test": POINTS,
        "labels_test": LABELS,
        "rmsprop": None,
        "batch": 2,
        "metric": "error",
    },
    nc.FunctionLandscape: {"f": sum, "gradient": sum, "rmsprop": None},
    nc.quad.problem: {"seed": 0, "samples": 4, "model": MODEL, "loss": "mae", "task": "cubic"},
    data.polynomial: {"task": "cubic", "samples": 3, "seed": 0},
    nc.train: {"problem": BOWL, "L0": 2.0, "seed": 0, "max_starts": 2},
    nc.connect: SEARCH,
    nc.connect_breadth_first: SEARCH,
    nc.connect_reviving: SEARCH | {"rmsprop": nc.RMSProp(budget=9), "rounds": 1},
    nc.connect_with_springs: SEARCH | {"zeta": 0.1, "kappa": 1.0, "rmsprop": nc.RMSProp(budget=9)},
    rivals.straight_line: ENDS,
    rivals.polychain: ENDS | {"budget": 16, "bends": 2, "rmsprop": nc.RMSProp()},
    rivals.bezier: ENDS | {"budget": 16, "bends": 2, "rmsprop": nc.RMSProp()},
    rivals.nudged_elastic_band: ENDS | {"budget": 16, "rmsprop": nc.RMSProp()},
    rivals.align: {"landscape": PROBLEM, "theta1": THETA, "theta2": THETA, "L0": 9.0, "seed": 0},
    aligned: {"model": MODEL, "theta1": THETA, "theta2": THETA},
    nc.barrier: {
        "landscape": BOWL,
        "theta1": LEFT,
        "theta2": RIGHT,
        "lower": 0.0,
        "precision": 0.5,
        "sampler": "plain",
        "alpha": 0.8,
        "depth": 2,
        "seed": 0,
        "max_searches": 2,
    },
    nc.run_pair: {
        "problem": BOWL,
        "L0": 2.0,
        "alpha": 0.8,
        "depth": 2,
        "seed": 0,
        "sampler": "plain",
    },
    nc.connectivity: {
        "landscape": BOWL,
        "thetas": [LEFT, RIGHT],
        "L0": [3.0],
        "alpha": 0.8,
        "depth": 2,
        "seed": 0,
    },
    nc.string_through: {"landscape": BOWL, "beads": [LEFT, RIGHT], "L0": 3.0, "seed": 0},
    nc.tighten: {"landscape": BOWL, "string": STRING, "sweeps": 1},
    STRING.at: {"s": 0.5},
    STRING.principal_coordinates: {"n": 2},
    PROBLEM.loss: {"theta": THETA},
    PROBLEM.loss_and_gradient: {"theta": THETA},
    PROBLEM.descend: {"theta": THETA, "target": 0.1, "rng": generator(0)},
    PROBLEM.gamma: {"theta1": THETA, "theta2": THETA, "t": [0.5]},
    PROBLEM.bracket: {"theta1": THETA, "theta2": THETA, "gap": 0.1},
    PROBLEM.max_gamma: {"theta1": THETA, "theta2": THETA, "L0": 0.1},
    PROBLEM.with_descents: {"rmsprop": nc.RMSProp()},
    BOWL.gamma: {"theta1": LEFT, "theta2": RIGHT, "t": [0.5]},
    BOWL.descend: {"theta": LEFT, "target": 0.1, "rng": generator(0)},
    MODEL.predict: {"theta": THETA, "X": X},
    MODEL.unpack: {"theta": THETA},
    nc.det_sign: {"model": PLANE, "theta": np.ones(12), "X": CORNERS},
    nc.narrower_infimum: {"problem": THREE},
    nc.lower_bound: {
        "problem": THREE,
        "theta1": np.ones(12),
        "theta2": np.ones(12),
        "narrower": 0.1,
    },
    nc.path_through_narrower: {
        "problem": THREE,
        "theta1": np.ones(12),
        "theta2": np.ones(12),
        "slack": 0.1,
    },
    nc.flood_bracket: FLOOD,
    nc.mnist.problem: {"source": "subset", "model": None, "metric": "error", "batch": 50},
}


class Awkward:
    """Another package's array that refuses to be converted, as a tensor with a gradient does."""

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on\nTensor that requires grad")


JUNK = [
    *(None, True, "x", "", b"x", -1, 0, 0.5, 1e400, float("nan"), -float("inf"), 1e308, 1e-320, 2j),
    *(10**30, 10**400, -(10**400), 10**5000, [], (), {}, [[]], [1, [2]], [None], ["a"], ["1", "2"]),
    *(object(), Awkward(), sum, np.array(3.0), np.array([1e308, 1e308]), np.ones((2, 2, 2))),
    *(np.array([np.nan, 1.0]), np.array(["a"]), np.array([1j, 2]), np.array([None, 1])),
    *(np.array([], dtype=int), np.array(["2020-01-01"], dtype="M8[D]"), np.array([True, False])),
    *(nc.RMSProp(), MODEL, PROBLEM, STRING, range(3), "a\nb" * 99, np.ma.masked_all(2)),
    nc.Training(LEFT, 0.1, 1, 1, nc.TrainingStatus.TRAINED),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__qualname__)
def test_junk_is_refused_on_one_line(call):
    right = CALLS[call]
    call(**right)
    for name in right:
        for junk in JUNK:
            try:
                call(**right | {name: junk})
            except NconvexError as error:
                message = str(error)
                assert "\n" not in message, (name, junk)
                assert len(message) < 500, (name, junk)
