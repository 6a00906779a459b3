"""Whatever a public function is given, it works or says on one line what is wrong."""

from types import SimpleNamespace

import numpy as np
import pytest

import nconvex as nc
from nconvex import definitions
from nconvex.baselines import curves
from nconvex.baselines.assignment import aligned
from nconvex.data import polynomials as data
from nconvex.definitions import NconvexError, generator, told_apart

MODEL = nc.MLP((1, 2, 1))
X, Y = np.linspace(0, 1, 6)[:, None], np.linspace(0, 1, 6)[:, None] ** 2
PROBLEM = nc.Problem(MODEL, "mse", X, Y, X, Y, nc.RMSProp(budget=20))
THETA = MODEL.initial(generator(0))
FITTED = SimpleNamespace(
    coefs_=[np.ones((1, 2)), np.ones((2, 1))],
    intercepts_=[np.ones(2), np.ones(1)],
    activation="relu",
    out_activation_="identity",
    alpha=1e-4,
)
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
SEARCH = ENDS | {"alpha": 0.8, "depth": 2, "sampler": "plain"}
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
    nc.Problem: {"model": MODEL, "weight_decay": 0.1, **NETWORK},
    nc.split: {"X": X, "y": Y, "test": 0.5, "seed": 0},
    nc.Classification: {
        "model": DIGITS,
        "X": POINTS,
        "labels": LABELS,
        "X_test": POINTS,
        "labels_test": LABELS,
        "rmsprop": None,
        "batch": 2,
        "metric": "error",
        "weight_decay": 0.1,
    },
    nc.FunctionLandscape: {"f": sum, "gradient": sum, "rmsprop": None, "gamma": None},
    nc.quad.problem: {"seed": 0, "samples": 4, "model": MODEL, "loss": "mae", "task": "cubic"},
    data.polynomial: {"task": "cubic", "samples": 3, "seed": 0},
    nc.train: {"problem": BOWL, "L0": 2.0, "seed": 0, "max_starts": 2},
    nc.connect: SEARCH,
    nc.Plain: {"alpha": 0.5, "depth": 2, "insert": "midpoint"},
    nc.Revive: {"alpha": 0.5, "depth": 2, "rmsprop": nc.RMSProp(budget=9), "rounds": 1},
    nc.Springs: {"zeta": 0.1, "kappa": 1.0, "rmsprop": nc.RMSProp(budget=9)},
    nc.BreadthFirst: {"alpha": 0.5, "depth": 2},
    curves.straight_line: ENDS,
    curves.polychain: ENDS | {"budget": 16, "bends": 2, "rmsprop": nc.RMSProp()},
    curves.nudged_elastic_band: ENDS | {"budget": 16, "rmsprop": nc.RMSProp()},
    curves.align: {"landscape": PROBLEM, "theta1": THETA, "theta2": THETA, "L0": 9.0, "seed": 0},
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
    MODEL.pack: {"weights": [[[1, 2]], [[1], [2]]], "biases": [[1, 2], [3]]},
    MODEL.unpack: {"theta": THETA},
    MODEL.weights_only: {"factor": 0.1},
    MODEL.decay_of: {"fitted": FITTED, "samples": 6},
    nc.MLP.from_sklearn: {"fitted": FITTED},
    MODEL.load_into: {"theta": THETA, "fitted": FITTED},
    nc.lower_bounds.det_sign: {"model": PLANE, "theta": np.ones(12), "X": CORNERS},
    nc.lower_bounds.narrower_infimum: {"problem": THREE},
    nc.lower_bounds.lower_bound: {
        "problem": THREE,
        "theta1": np.ones(12),
        "theta2": np.ones(12),
        "narrower": 0.1,
    },
    nc.lower_bounds.path_through_narrower: {
        "problem": THREE,
        "theta1": PLANE.initial(generator(1)),
        "theta2": PLANE.initial(generator(2)),
        "slack": 1e3,
    },
    nc.lower_bounds.flood_bracket: FLOOD,
    nc.mnist.problem: {"source": "subset"},
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


@pytest.mark.filterwarnings("ignore:random starts lie below L0")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__qualname__)
def test_junk_is_refused_on_one_line(call):
    right = CALLS[call]
    if call is not nc.lower_bounds.path_through_narrower:  # whose ends must be trained
        call(**right)
    for name in right:
        for junk in JUNK:
            try:
                call(**right | {name: junk})
            except NconvexError as error:
                message = str(error)
            except TypeError as error:  # a function of another number of arguments
                message = str(error) if junk is sum else "\n"
            else:
                continue
            assert "\n" not in message, (name, junk)
            assert len(message) < 500, (name, junk)


NAMES = np.array(["cat", "dog", "eel"])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (LABELS.astype(float), [0, 1, 2]),
        (NAMES[LABELS], NAMES),
        (NAMES[LABELS].astype(object), NAMES),
        (NAMES[LABELS].astype("S"), NAMES.astype("S")),
        (LABELS + 1, [1, 2, 3]),
        (LABELS - 1, [-1, 0, 1]),
        (10.0 * LABELS, [0, 10, 20]),
        ([LABELS.tolist()[0], *LABELS.astype(float)[1:]], [0, 1, 2]),
        (LABELS.astype(object), [0, 1, 2]),
        (np.eye(3)[LABELS], [0, 1, 2]),
        (np.eye(3, dtype=bool)[LABELS], [0, 1, 2]),
        (LABELS[:, None], [0, 1, 2]),
        (NAMES[LABELS][:, None].tolist(), NAMES),
        (LABELS.astype(np.uint8), [0, 1, 2]),
        (LABELS.astype(">i4"), [0, 1, 2]),
        (LABELS.tolist(), [0, 1, 2]),
    ],
)
def test_labels_of_any_form_are_numbered_as_scikit_learn_does(labels, classes):
    labels = labels if isinstance(labels, list) else Foreign(labels)
    problem = nc.Classification(DIGITS, POINTS, labels, POINTS[:6], labels)
    assert problem.labels.tolist() == problem.labels_test.tolist() == LABELS.tolist()
    assert problem.labels.dtype == problem.labels_test.dtype == np.int64
    assert np.array_equal(problem.classes_, classes)
    theta = DIGITS.initial(generator(0))
    plain = nc.Classification(DIGITS, POINTS, LABELS, POINTS, LABELS)
    assert problem.loss(theta) == plain.loss(theta)


def test_truth_values_are_two_classes():
    two = nc.MLP((2, 3, 2))
    for labels in (LABELS == 1, (LABELS == 1).astype(object), [False] * 6):
        problem = nc.Classification(two, POINTS, labels, POINTS, [0, 1, 0, 0, 1, 0])
        assert problem.labels.tolist() == np.asarray(labels, dtype=int).tolist()
        assert problem.classes_.tolist() == [False, True]
    missing = nc.Classification(two, POINTS, [1] * 6, POINTS, [0] * 6)  # both are in the range
    assert missing.classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (LABELS + 0.5, "one for each sample"),
        (LABELS * np.nan, "one for each sample"),
        (LABELS == 1, r"of 2 classes, \[False, True\], but the model has 3 outputs"),
        (NAMES[LABELS % 2], r"of 2 classes, \['cat', 'dog'\], but the model has 3 outputs"),
        (LABELS * 2 - LABELS % 2 * 2, r"of 2 classes, \[0, 4\], but"),
        (np.arange(6), r"of 6 classes"),
        (np.eye(3)[LABELS] + np.eye(3)[0], "single 1"),
        (POINTS, "one for each sample"),
        (LABELS[:5], "here 6 of 3 classes"),
        ([0, 1, 2, 0, 1, None], "one for each sample"),
        ([[0], [1, 2]], r"must be an array"),
    ],
)
def test_labels_without_sense_are_refused(labels, reason):
    with pytest.raises(NconvexError, match=reason):
        nc.Classification(DIGITS, POINTS, labels, POINTS, LABELS)


@pytest.mark.parametrize(
    ("labels", "labels_test", "reason"),
    [
        (LABELS, LABELS + 1, r"labels_test\[2\] is 3, which is none of the classes"),
        (LABELS, LABELS - 1, r"labels_test\[0\] is -1, which is none"),
        (LABELS, NAMES[LABELS], r"labels_test\[0\] is 'cat', which is none"),
        (NAMES[LABELS], LABELS, r"labels_test\[0\] is 0, which is none.*: \['cat', 'dog', 'eel'\]"),
        (NAMES[LABELS], ["cat"] * 5 + ["dot"], r"labels_test\[5\] is 'dot', which is none"),
        (LABELS, LABELS + 0.5, "labels_test must be one for each sample"),
    ],
)
def test_test_labels_are_of_the_training_labels_classes(labels, labels_test, reason):
    with pytest.raises(NconvexError, match=reason):
        nc.Classification(DIGITS, POINTS, labels, POINTS, labels_test)


def test_data_may_be_arrays_of_any_kind(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    loss = PROBLEM.loss_and_gradient(THETA)[0]
    for x, y in ((X[:, 0], Y[:, 0]), (mapped, Y.ravel().tolist()), (Foreign(X), Foreign(Y[:, 0]))):
        problem = nc.Problem(MODEL, "mse", x, y, x, y)
        assert problem.y_test.shape == (6, 1)
        assert problem.loss(THETA) == PROBLEM.loss(THETA)
        assert problem.loss_and_gradient(THETA)[0] == loss
        np.testing.assert_array_equal(MODEL.predict(THETA, x), MODEL.predict(THETA, X))
    np.save(tmp_path / "labels.npy", LABELS)
    mapped = np.load(tmp_path / "labels.npy", mmap_mode="r")
    problem = nc.Classification(DIGITS, Foreign(POINTS), mapped, Foreign(POINTS), mapped)
    assert problem.labels.tolist() == LABELS.tolist()


def test_missing_values_are_not_what_stands_behind_their_mask():
    for given in (X, Y):
        hidden = np.ma.masked_array(given, mask=given == given[2])
        with pytest.raises(NconvexError, match="masked: missing values must be filled or left out"):
            nc.Problem(MODEL, "mse", *(hidden if each is given else each for each in (X, Y)), X, Y)
        whole = np.ma.masked_array(given, mask=False)
        nc.Problem(MODEL, "mse", whole, Y, X, whole)
    hidden = np.ma.masked_array(LABELS, mask=LABELS == 1)
    with pytest.raises(NconvexError, match="some of labels are masked"):
        nc.Classification(DIGITS, POINTS, hidden, POINTS, LABELS)


class Foreign:
    """Another package's array, which NumPy sees without being allowed to write to it."""

    def __init__(self, array):
        self._array = array.copy()
        self._array.flags.writeable = False

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


def test_parameters_may_be_arrays_of_any_kind(tmp_path):
    np.save(tmp_path / "theta.npy", THETA)
    frozen = THETA.copy()
    frozen.flags.writeable = False
    strided = np.repeat(THETA, 2)[::2]
    swapped = THETA.astype(">f8")
    mapped = np.load(tmp_path / "theta.npy", mmap_mode="r")
    for theta in (frozen, strided, swapped, mapped, THETA.tolist(), Foreign(THETA)):
        assert PROBLEM.loss(theta) == PROBLEM.loss(THETA)
        np.testing.assert_array_equal(PROBLEM.gamma(theta, THETA, [0.5]), PROBLEM.loss(THETA))
        assert PROBLEM.bracket(theta, theta) == PROBLEM.bracket(THETA, THETA)
        assert PROBLEM.descend(theta, 0.0, None).loss == PROBLEM.descend(THETA, 0.0, None).loss
        np.testing.assert_array_equal(nc.connect(PROBLEM, theta, theta, L0=9.0).beads[0], THETA)
    for name, number in (("float", 1e-3), ("int", 1)):
        exact = np.round(THETA) if name == "int" else THETA.astype(np.float32)
        theta = exact.astype(int) if name == "int" else exact
        assert PROBLEM.loss(theta) == PROBLEM.loss(exact.astype(float)), number


def test_a_training_is_not_its_parameters():
    training = nc.train(PROBLEM, 9.0)
    with pytest.raises(NconvexError, match=r"theta1 is a Training; pass its parameters, \.theta"):
        nc.connect(PROBLEM, training, THETA, L0=9.0)


def test_what_another_package_says_is_passed_on():
    with pytest.raises(NconvexError, match=r"not Awkward: Can't call numpy\(\) on Tensor"):
        PROBLEM.loss(Awkward())


def test_sizes_are_one_argument():
    with pytest.raises(NconvexError, match=r"e\.g\. MLP\(\(30, 8, 1\)\), not 30"):
        nc.MLP(30, 8, 1)


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from arrays_in(each)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_data_are_copied(dtype, share):
    points = ((np.arange(60) < 60 * share).reshape(30, 2)).astype(dtype)  # sparse and dense
    labels = np.arange(30) % 3
    for problem in (
        nc.Classification(DIGITS, points, labels, points, labels),
        nc.Problem(nc.MLP((2, 3, 2)), "mse", points, points, points, points),
        nc.Problem(MODEL, "mse", *[points[:, :1]] * 4),
    ):
        for name, value in vars(problem).items():
            for array in arrays_in(value):
                assert not np.shares_memory(array, points), name
                assert not np.shares_memory(array, labels), name


def test_thresholds_that_nothing_exceeds_are_refused():
    digits = nc.Classification(DIGITS, POINTS, LABELS, POINTS, LABELS, metric="error")
    with pytest.raises(NconvexError, match="L0 must be below 1, not 2: the share of errors never"):
        nc.train(digits, 2)
    theta = digits.initial(generator(0))
    with pytest.raises(NconvexError, match="L0 must be below 1"):
        nc.connect(digits, theta, theta, L0=1.0)
    share = digits.loss(theta)
    with pytest.raises(nc.EndpointAboveL0, match="theta1 has the share of errors"):
        nc.connect(digits, theta, theta, L0=share / 2)


def test_two_numbers_in_a_message_differ_where_they_differ():
    L0 = float(np.nextafter(BOWL.loss(LEFT), 0))
    with pytest.raises(nc.EndpointAboveL0, match=f"has loss 2.25, above L0 = {L0!r}"):
        nc.connect(BOWL, LEFT, RIGHT, L0=L0)
    assert told_apart(0.1, 0.2) == ("0.1", "0.2")
    assert told_apart(0.13019601, 0.13019602) == ("0.13019601", "0.13019602")


def test_a_gradient_that_is_no_number_is_a_divergence():
    class Blind(nc.FunctionLandscape):
        def __init__(self):
            super().__init__(lambda x: 0.5, lambda x: x * np.nan, nc.RMSProp(budget=20))

    descent = Blind().descend(LEFT, 0.1, generator(0))
    assert descent.status is definitions.DescentStatus.DIVERGED
    # A loss that no longer sees the weights must not pass for one that was reached.
    steep = nc.FunctionLandscape(
        lambda x: float(np.tanh(abs(x[0])) if abs(x[0]) < 2 else 0.0),
        lambda x: np.where(x == LEFT, np.inf, 0.0),
        nc.RMSProp(budget=20),
    )
    assert steep.descend(LEFT, 0.1, generator(0)).status is definitions.DescentStatus.DIVERGED
    hill = nc.FunctionLandscape(
        lambda x: float(np.exp(-np.sum(x * x))), lambda x: x * np.nan, nc.RMSProp(budget=20)
    )
    string = nc.connect(hill, 2 * LEFT, 2 * RIGHT, L0=0.1)
    assert string.trace[0].status is definitions.DescentStatus.DIVERGED
    assert string.status is nc.ConnectionStatus.BEAD_DIVERGED


def test_targets_whose_squares_overflow_are_refused():
    for X_, y in ((X, Y * 1e200), (X * 1e200, Y)):
        with pytest.raises(NconvexError, match="squares overflow"):
            nc.lower_bounds.narrower_infimum(nc.Problem(MODEL, "mse", X_, y, X_, y))


def test_an_integer_threshold_is_the_number_that_it_says():
    string = nc.connect(BOWL, LEFT, RIGHT, L0=10**30, sampler="breadth-first")
    assert string.connected
