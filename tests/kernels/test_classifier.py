"""The classifier's kernels against NumPy in float64, and its bounds against dense samples."""

import itertools

import numpy as np
import pytest
from compiled import run_code
from differences import check_gradient

from nconvex import MLP, Classification, NconvexError, RMSProp, run_pair, textbook, verify
from nconvex.definitions import DescentStatus
from nconvex.kernels.parts import NONLINEAR, TILE
from nconvex.network.classification import _index_type

SHAPES = ((7, 5, 3), (6, 8, 4, 10), (5, 3, 6, 4, 2), (9, 1, 7))


def make(
    seed=0, shape=(7, 5, 3), samples=40, scale=1.0, metric="loss", inked=0.5, activation="relu",
    **options,
):  # fmt: skip
    """A problem with inputs of which some are not zero, and two models."""
    rng = np.random.default_rng(seed)
    model = MLP(shape, activation)
    X, X_test = rng.random((2, samples, shape[0])) * (rng.random((2, samples, shape[0])) < inked)
    labels, labels_test = rng.integers(0, shape[-1], (2, samples))
    theta1, theta2 = rng.normal(size=(2, model.n_parameters)) * scale
    problem = Classification(model, X, labels, X_test, labels_test, metric=metric, **options)
    return problem, theta1, theta2


def logits(problem, theta, X):
    return textbook.forward(problem.model, theta, X.astype(float))[-1]


def cross_entropy(problem, theta, X, labels):
    z = logits(problem, theta, X)
    return (np.logaddexp.reduce(z, axis=1) - z[np.arange(len(X)), labels]).mean()


def error(problem, theta, X, labels):
    z = logits(problem, theta, X)
    mine = z[np.arange(len(X)), labels].copy()
    z[np.arange(len(X)), labels] = -np.inf
    return (z.max(axis=1) >= mine).mean()


def gradient(problem, theta, X, labels):
    """By the chain rule, in float64."""
    layers = textbook.forward(problem.model, theta, X.astype(float))
    e = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
    d = e / e.sum(axis=1, keepdims=True)
    d[np.arange(len(X)), labels] -= 1
    return textbook.backward(problem.model, theta, layers, d / len(X))


# More units than a tile and a panel have, and more samples.
@pytest.mark.parametrize("shape", [*SHAPES, (9, 150, 3), (5, 130, 135, 4)])
@pytest.mark.parametrize("inked", [0.25, 0.9])
def test_loss_and_gradient_agree_with_the_reference(shape, inked):
    scale = 1.0 if shape in SHAPES else 0.1
    problem, theta, _ = make(1, shape, samples=150, scale=scale, inked=inked)
    assert (problem._train_inputs[0] is None) == (inked > 0.5)
    data = problem.X, problem.labels
    exact = gradient(problem, theta, *data)
    if shape in SHAPES:  # the chain rule itself; wide networks have a kink within any step
        check_gradient(lambda v: cross_entropy(problem, v, *data), exact, theta, 1e-7)
        with pytest.raises(AssertionError):  # the checker can fail
            check_gradient(lambda v: cross_entropy(problem, v, *data), 1.01 * exact, theta)
    loss, found = problem.loss_and_gradient(theta)
    assert loss == pytest.approx(cross_entropy(problem, theta, *data), rel=1e-5)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", NONLINEAR)
@pytest.mark.parametrize("inked", [0.25, 0.9])
def test_every_activation_at_any_depth_agrees_with_the_reference(activation, inked):
    options = {"rmsprop": RMSProp(0.01, 0.01, budget=1, check_every=1), "batch": 150}
    for shape in ((7, 5, 3), (5, 6, 130, 4, 2)):
        problem, theta, theta2 = make(
            1, shape, 150, 0.5, inked=inked, activation=activation, **options
        )
        data = problem.X, problem.labels
        exact = gradient(problem, theta, *data)
        if shape == (7, 5, 3):
            check_gradient(lambda v, p=problem: cross_entropy(p, v, p.X, p.labels), exact, theta)
        loss, found = problem.loss_and_gradient(theta)
        assert loss == pytest.approx(cross_entropy(problem, theta, *data), rel=1e-5)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-6)
        t = np.linspace(0, 1, 5)
        mixed = [(1 - s) * theta + s * theta2 for s in t]
        expected = [cross_entropy(problem, v, problem.X_test, problem.labels_test) for v in mixed]
        np.testing.assert_allclose(problem.gamma(theta, theta2, t), expected, rtol=1e-11)
        step = problem.descend(theta, 1e-9, np.random.default_rng(0)).theta - theta
        seen = np.abs(exact) > 1e-5
        expected = -0.01 * exact / (np.sqrt(0.1 * exact**2) + 1e-8)
        np.testing.assert_allclose(step[seen], expected[seen], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "hidden"),
    [("tanh", (6,)), ("sigmoid", (8,)), ("leaky-relu", (6,)), ("relu", (8, 6, 5))],
)
def test_strings_are_certified_and_verified(activation, hidden, tmp_path):
    rng = np.random.default_rng(0)
    X, X_test = rng.normal(size=(2, 120, 4))
    labels, labels_test = ((x[:, :2] > 0.3) @ [1, 2] % 3 for x in (X, X_test))
    problem = Classification(
        MLP((4, *hidden, 3), activation), X, labels, X_test, labels_test,
        RMSProp(0.01, 1e-3, budget=5000), batch=20,
    )  # fmt: skip
    string = run_pair(problem, L0=0.35, seed=3).string
    assert string.connected
    assert string.certified
    assert len(string.beads) > 2
    for a, b in itertools.pairwise(string.beads):
        dense = [
            cross_entropy(problem, (1 - t) * a + t * b, X_test, labels_test)
            for t in np.linspace(0, 1, 51)
        ]
        assert max(dense) <= string.max_error * (1 + 1e-6)
    string.save(tmp_path / "string.npz", problem)
    assert verify.main([str(tmp_path / "string.npz")]) == 0


def test_a_descent_keeps_whole_models_whatever_their_width():
    for shape in (*SHAPES, (9, 150, 3), (5, 130, 300, 4)):
        problem, theta, _ = make(1, shape)
        w = problem._packed(theta)
        np.testing.assert_array_equal(problem._unpacked(w), theta.astype(np.float32))
        assert np.count_nonzero(w) == theta.size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("metric", ["loss", "error"])
def test_gamma_agrees_with_the_reference(shape, metric):
    problem, theta1, theta2 = make(2, shape, samples=300, metric=metric)
    t = np.linspace(0, 1, 7)
    of = cross_entropy if metric == "loss" else error
    expected = [
        of(problem, (1 - s) * theta1 + s * theta2, problem.X_test, problem.labels_test) for s in t
    ]
    np.testing.assert_allclose(problem.gamma(theta1, theta2, t), expected, rtol=1e-11)
    assert problem.loss(theta1) == problem.gamma(theta1, theta2, t[:1])[0]


def test_large_logits_neither_overflow_nor_vanish():
    problem, theta, _ = make(3, scale=1e4)
    loss = problem.loss(theta)
    assert loss == pytest.approx(
        cross_entropy(problem, theta, problem.X_test, problem.labels_test), rel=1e-9
    )
    assert loss > 1e6
    assert np.isfinite(problem.loss_and_gradient(theta)[1]).all()


def test_a_tie_is_an_error():
    problem, theta, _ = make(4, metric="error")
    assert problem.loss(0.0 * theta) == 1.0


@pytest.mark.parametrize("inked", [0.25, 0.9])
@pytest.mark.parametrize("shape", [(7, 5, 3), (9, 150, 4, 3)])
def test_one_step_of_descent_is_the_references(inked, shape):
    once = RMSProp(0.01, 0.01, budget=1, check_every=1)
    problem, theta, _ = make(5, shape, rmsprop=once, batch=40, inked=inked)
    found = problem.descend(theta, 1e-9, np.random.default_rng(0))
    g = gradient(problem, theta, problem.X, problem.labels)  # the batch is all there is
    expected = theta - 0.01 * g / (np.sqrt(0.1 * g**2) + 1e-8)
    assert found.steps == 1
    seen = np.abs(g) > 1e-5  # RMSProp's first step divides by |g|: it must be well above rounding
    np.testing.assert_allclose(found.theta[seen], expected[seen], rtol=1e-3, atol=1e-5)
    assert found.status is DescentStatus.BUDGET_SPENT


@pytest.mark.parametrize("metric", ["loss", "error"])
@pytest.mark.parametrize("inked", [0.25, 0.9])
def test_a_descent_reaches_its_target_in_float64(metric, inked):
    settings = RMSProp(5e-3, 1e-3, check_every=7)
    problem, theta, _ = make(13, (7, 12, 3), 60, metric=metric, rmsprop=settings, inked=inked)
    target = 0.8 * problem.loss(theta)
    found = problem.descend(theta, target, np.random.default_rng(0))
    assert found.status is DescentStatus.REACHED
    assert problem.loss(found.theta) == found.loss <= target
    again = problem.descend(theta, target, np.random.default_rng(0))
    np.testing.assert_array_equal(found.theta, again.theta)
    other = problem.descend(theta, target, np.random.default_rng(1))
    assert (found.theta != other.theta).any()


@pytest.mark.parametrize("inked", [0.25, 0.9])
def test_a_descent_stops_at_the_first_evaluation_that_is_not_above_the_target(inked):
    def descend(target, budget):
        settings = RMSProp(3e-3, 3e-3, budget=budget, check_every=3)
        problem, theta, _ = make(13, (7, 12, 3), 700, rmsprop=settings, inked=inked)
        return problem.descend(theta, target, np.random.default_rng(0))

    losses = np.array([descend(1e-9, budget).loss for budget in range(3, 60, 3)])
    for target in (0.9 * losses[0], losses[4] + 1e-5, losses.min() + 1e-5):
        first = np.flatnonzero(losses <= target)[0]
        assert descend(target, 1000).steps == 3 * (first + 1)


def test_a_descent_that_blows_up_says_so():
    problem, theta, _ = make(7, rmsprop=RMSProp(1e38, 1e38, budget=50, check_every=50))
    found = problem.descend(theta, 1e-9, np.random.default_rng(0))
    assert found.status is DescentStatus.DIVERGED


def test_models_in_float32_and_in_float64_have_the_same_first_layers():
    problem, theta, _ = make(8, (30, 70, 3), samples=300)
    theta = theta.astype(np.float32).astype(np.float64)
    short = problem.first_layer(theta)
    theta[0] += 1e-12  # no float32; it is the weight of one pixel for unit 0
    long = problem.first_layer(theta)
    unit = slice(TILE, None)
    np.testing.assert_array_equal(short[:, unit], long[:, unit])
    assert 0.0 < np.abs(short - long).max() < 1e-11


def test_first_layers_are_computed_once_and_few_are_kept(monkeypatch):
    problem, theta, _ = make(8)
    monkeypatch.setattr("nconvex.network.classification.REMEMBERED", 3)
    first = problem.first_layer(theta)
    assert problem.first_layer(theta.copy()) is first
    for k in range(3):
        problem.first_layer(theta + k + 1)
    assert problem.first_layer(theta) is not first


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_brackets_close(metric):
    for seed, shape in enumerate(SHAPES[:3]):
        problem, theta1, theta2 = make(seed, shape, samples=200, metric=metric)
        peak = problem.bracket(theta1, theta2)
        dense = problem.gamma(theta1, theta2, np.linspace(0, 1, 2001)).max()
        assert peak.certified
        assert dense <= peak.upper
        slack = 0.0 if metric == "loss" else 2.0 / 200
        assert peak.upper <= peak.lower * (1 + 1e-3) + slack + 1e-12
        assert problem.gamma(theta1, theta2, [peak.t_star])[0] >= peak.lower
        decided = problem.max_gamma(theta1, theta2, 1.05 * peak.upper)
        assert decided.upper <= 1.05 * peak.upper
        refuted = problem.max_gamma(theta1, theta2, 0.9 * peak.lower)
        assert refuted.lower > 0.9 * peak.lower


def test_no_index_is_out_of_bounds():
    # Without the JIT, NumPy checks each index.
    code = (
        "import itertools, numpy as np, nconvex as nc, test_classifier as t\n"
        "few = nc.RMSProp(budget=3, check_every=2)\n"
        "shapes = (5, 3, 6, 4, 2), (6, 8, 4, 5), (9, 150, 4, 3)\n"
        "inputs = (0.25, 0.0), (0.25, 0.1), (0.9, 0.0)\n"
        "for shape, (inked, decay) in itertools.product(shapes, inputs):\n"
        "    problem, *ends = t.make(\n"
        "        0, shape, samples=150, inked=inked, weight_decay=decay, rmsprop=few)\n"
        "    assert problem.max_gamma(*ends, 1e9).upper < 1e9\n"
        "    problem.gamma(*ends, np.array([0.0, 0.3]))\n"
        "    problem.loss_and_gradient(ends[0])\n"
        "    problem.descend(ends[0], 0.01, np.random.default_rng(0))\n"
    )
    run_code(code, __file__)


def test_one_kernel_serves_few_inputs_and_many_samples_a_step_and_few():
    for inputs, batch in ((5, 60), (300, 60), (300, 300)):
        X = np.eye(300, inputs, dtype=np.float32)
        problem = Classification(MLP((inputs, 3, 2)), X, X[:, 0] > 0, X, X[:, 0] > 0, batch=batch)
        members = problem._workspace(batch)[1][1]
        assert problem._train_inputs[1].dtype == members.dtype == np.uint16
    assert _index_type(2**16) == np.uint16
    assert _index_type(2**16 + 1) == np.uint32


# -- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": MLP((4, 3, 3), "tanh", "tanh")}, "needs biases and logits"),
        ({"model": MLP((4, 3, 3), biases=False)}, "needs biases and logits"),
        ({"model": MLP((4, 3))}, "no hidden layer"),
        ({"metric": "accuracy"}, "metric 'accuracy' is unknown"),
        ({"batch": 0}, "batch must be an integer of at least 1"),
        ({"X": np.zeros((5, 3))}, r"X has shape \(5, 3\); the model needs \(N, 4\)"),
        ({"X": np.full((5, 4), np.nan)}, r"X\[0, 0\] is nan"),
        ({"X_test": [["a"] * 4] * 5}, "X_test must be an array of numbers"),
        ({"labels": np.full(5, 3)}, r"labels are of 1 classes, \[3\], but the model has 3 outputs"),
        ({"labels_test": np.full(5, 0.5)}, "labels_test must be one for each sample.*not float64"),
        ({"labels": np.zeros(4, int)}, "labels must be one for each sample"),
    ],
)
def test_bad_data_are_refused(change, message):
    good = {
        "model": MLP((4, 3, 3)), "X": np.ones((5, 4)), "labels": np.arange(5) % 3,
        "X_test": np.ones((5, 4)), "labels_test": np.arange(5) % 3,
    }  # fmt: skip
    with pytest.raises(NconvexError, match=message):
        Classification(**{**good, **change})


def test_a_model_of_another_size_is_refused():
    problem, theta, _ = make()
    for call in (problem.loss, problem.loss_and_gradient):
        with pytest.raises(NconvexError, match="parameters"):
            call(theta[:-1])
