"""Weights come in and go back: the same outputs, and nothing that is not understood."""

import copy
import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from nconvex import MLP, Classification, NconvexError, Problem, connect

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))]
BIASES = [RNG.normal(size=3), RNG.normal(size=4)]


def test_pack_is_the_way_back_from_unpack():
    for biases in (True, False):
        model = MLP((2, 3, 4), biases=biases)
        theta = model.pack(WEIGHTS, BIASES) if biases else model.pack(WEIGHTS)
        assert theta.shape == (model.n_parameters,)
        for (W, b), V, c in zip(model.unpack(theta), WEIGHTS, BIASES, strict=True):
            np.testing.assert_array_equal(W, V)
            assert not biases or b.tolist() == c.tolist()
        assert not any(np.shares_memory(theta, W) for W in WEIGHTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WEIGHTS,), "biases must be a list of 2 arrays, one for each layer, not None"),
        ((WEIGHTS[:1], BIASES), "weights must be a list of 2 arrays"),
        (
            ([WEIGHTS[0].T, WEIGHTS[1]], BIASES),
            r"weights\[0\] has shape \(3, 2\); it must be \(2, 3\); it is transposed, pass weights",
        ),
        ((WEIGHTS, [BIASES[0], BIASES[1][:3]]), r"biases\[1\] has shape \(3,\); it must be \(4,\)"),
        ((WEIGHTS, [BIASES[0] * np.nan, BIASES[1]]), r"biases\[0\]\[0\] is nan"),
    ],
)
def test_weights_of_other_shapes_are_refused(arguments, message):
    with pytest.raises(NconvexError, match=message):
        MLP((2, 3, 4)).pack(*arguments)


def test_biases_that_a_network_does_not_have_are_refused():
    with pytest.raises(NconvexError, match="has no biases"):
        MLP((2, 3, 4), biases=False).pack(WEIGHTS, BIASES)


def fitted(outputs, activation="tanh", out_activation_="identity"):
    """What scikit-learn's networks have once they are fitted."""
    rng = np.random.default_rng(1)
    return SimpleNamespace(
        coefs_=[rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(3, outputs))],
        intercepts_=[rng.normal(size=3), rng.normal(size=outputs)],
        activation=activation,
        out_activation_=out_activation_,
    )


def logits(given, X):
    a = np.tanh(X @ given.coefs_[0] + given.intercepts_[0])
    return a @ given.coefs_[1] + given.intercepts_[1]


def test_one_logistic_output_becomes_two_logits_of_the_same_probability():
    X = np.random.default_rng(2).normal(size=(9, 2))
    binary = fitted(1, out_activation_="logistic")
    model, theta = MLP.from_sklearn(binary)
    z = logits(binary, X)
    assert (model.sizes, model.output_activation) == ((2, 3, 2), "identity")
    np.testing.assert_allclose(model.predict(theta, X), np.hstack([0 * z, z]), rtol=1e-12)
    labels = z[:, 0] + X[:, 0] > 0
    loss = Classification(model, X, labels, X, labels).loss(theta)
    p = 1 / (1 + np.exp(-z[:, 0]))
    expected = -np.log(np.where(labels, p, 1 - p)).mean()
    assert loss == pytest.approx(expected, rel=1e-6)  # inputs are float32
    other = theta + np.random.default_rng(3).normal(size=theta.size)
    changed = model.load_into(other, copy.deepcopy(binary))
    np.testing.assert_allclose(logits(changed, X), np.diff(model.predict(other, X)), rtol=1e-5)
    back = model.load_into(theta, changed)
    assert back is changed
    for name in ("coefs_", "intercepts_"):
        for new, old in zip(getattr(back, name), getattr(binary, name), strict=True):
            np.testing.assert_array_equal(new, old)
            assert new.dtype == old.dtype


def test_several_logistic_outputs_stay_as_they_are():
    model, _ = MLP.from_sklearn(fitted(3, out_activation_="logistic"))
    assert (model.sizes, model.output_activation) == ((2, 3, 3), "sigmoid")
    model, _ = MLP.from_sklearn(fitted(3, "logistic", "softmax"))
    assert (model.activation, model.output_activation) == ("sigmoid", "identity")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SimpleNamespace(activation="relu"), "pipeline.*has no coefs_, intercepts_, out_"),
        (fitted(1, "elu"), "'elu' is unknown"),
        (fitted(1, out_activation_="exp"), "'exp' is unknown"),
        (SimpleNamespace(**{**vars(fitted(1)), "coefs_": [np.ones(2)]}), r"coefs_\[0\] must be a"),
        (
            SimpleNamespace(**{**vars(fitted(1)), "coefs_": [np.ones((2, 3)), np.ones((1, 3))]}),
            r"weights\[1\] has shape \(1, 3\); it must be \(3, 3\)",
        ),
    ],
)
def test_what_is_no_fitted_network_is_refused(given, message):
    with pytest.raises(NconvexError, match=message):
        MLP.from_sklearn(given)


def test_weights_do_not_go_into_another_network():
    model, theta = MLP.from_sklearn(fitted(3))
    for other in (fitted(2), fitted(3, "relu")):
        with pytest.raises(NconvexError, match=r"the weights of MLP\(sizes=\(2, 3, 3\).* fit MLP"):
            model.load_into(theta, other)


class TestSklearn:
    """With scikit-learn itself."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # descents are cut short
            yield

    @pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
    def test_networks_come_in_and_go_back(self, activation):
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(80, 3)), rng.normal(size=80)
        kinds = np.array(["ant", "bee", "cat"])
        for labels in (y, np.stack([y, -y]).T, kinds[rng.integers(3, size=80)], kinds[1 * (y > 0)]):
            kind = MLPRegressor if labels.dtype == float else MLPClassifier
            net = kind(hidden_layer_sizes=(4, 3), activation=activation, max_iter=9, alpha=0.0)
            net.fit(X, labels)
            model, theta = MLP.from_sklearn(net)
            if kind is MLPRegressor:
                problem = Problem(model, "mse", X, labels, X, labels)
                expected = np.square(net.predict(X) - labels).reshape(80, -1).sum(axis=1).mean()
            else:
                problem = Classification(model, X, labels, X, labels)
                assert problem.classes_.tolist() == net.classes_.tolist()
                p = net.predict_proba(X)[np.arange(80), problem.labels]
                expected = -np.log(p).mean()
                assert labels.tolist() != problem.labels.tolist()
            assert problem.loss(theta) == pytest.approx(expected, rel=1e-5)
            other = theta + rng.normal(size=theta.size)
            once = np.array(model.load_into(other, copy.deepcopy(net)).predict(X))
            if kind is MLPRegressor:
                np.testing.assert_allclose(once, np.squeeze(model.predict(other, X)), rtol=1e-9)
            else:
                best = model.predict(other, X).argmax(axis=1)
                assert once.tolist() == problem.classes_[best].tolist()

    def test_two_fitted_networks_are_connected_with_proof(self):
        from sklearn.datasets import load_diabetes, load_digits
        from sklearn.neural_network import MLPClassifier, MLPRegressor
        from sklearn.preprocessing import scale

        diabetes, (images, digits) = load_diabetes(return_X_y=True), load_digits(return_X_y=True)
        for kind, X, y, half in (
            (MLPRegressor, *map(scale, diabetes), 300),
            (MLPClassifier, images / 16, digits.astype(str), 1200),
        ):
            a, b = (
                kind(hidden_layer_sizes=(8,), max_iter=60, random_state=seed).fit(
                    X[:half], y[:half]
                )
                for seed in (0, 1)
            )
            data = X[:half], y[:half], X[half:], y[half:]
            (model, theta1), (_, theta2) = MLP.from_sklearn(a), MLP.from_sklearn(b)
            regression = kind is MLPRegressor
            problem = Problem(model, "mse", *data) if regression else Classification(model, *data)
            L0 = 1.1 * max(problem.loss(theta1), problem.loss(theta2))
            string = connect(problem, theta1, theta2, L0=L0, alpha=0.95)
            assert string.connected
            assert string.certified
            t = np.linspace(0, 1, 1001)
            heights = [problem.gamma(*ends, t).max() for ends in pairwise(string.beads)]
            assert max(heights) <= L0


class TestTorch:
    """With PyTorch itself."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        self.torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        self.nn = self.torch.nn

    def test_networks_come_in_and_go_back(self):
        nn, X = self.nn, np.random.default_rng(0).normal(size=(9, 4))
        act = nn.Tanh()  # one object, used twice
        for layers in (
            (nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
            (nn.Linear(4, 3), act, nn.Dropout(0.5), nn.Linear(3, 3), act, nn.Linear(3, 1)),
            (nn.Flatten(), nn.Sequential(nn.Linear(4, 3, bias=False), nn.LeakyReLU()),
             nn.Linear(3, 2, bias=False), nn.Sigmoid()),
            (nn.Linear(4, 3), nn.Identity(), nn.Linear(3, 2)),
            (nn.Linear(4, 2),),
        ):  # fmt: skip
            for net in (nn.Sequential(*layers).eval(), nn.Sequential(*layers).double().eval()):
                model, theta = MLP.from_torch(net)
                dtype = next(net.parameters()).dtype
                inputs = self.torch.tensor(X, dtype=dtype)
                exact = dtype == self.torch.float64
                np.testing.assert_allclose(
                    model.predict(theta, X), net(inputs).detach(), rtol=1e-12 if exact else 1e-4,
                    atol=1e-14 if exact else 1e-6,
                )  # fmt: skip
                other = theta + np.random.default_rng(1).normal(size=theta.size)
                before = [id(parameter) for parameter in net.parameters()]
                assert model.to_torch(other, net) is net
                assert [id(parameter) for parameter in net.parameters()] == before
                again = MLP.from_torch(net)[1]
                np.testing.assert_allclose(again, other, rtol=0 if exact else 1e-6)
                assert all(parameter.requires_grad for parameter in net.parameters())

    def test_layers_that_an_mlp_has_not_are_named(self):
        nn = self.nn
        first, last, twice = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(4, 4)
        for layers, message in (
            ((first, nn.GELU(), last), r"layer 1 is GELU.*Linear"),
            (
                (first, nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)), last),
                r"layer 1\.1 is Batch",
            ),
            ((first, nn.LeakyReLU(0.2), last), r"layer 1 is LeakyReLU\(negative_slope=0.2"),
            ((first, nn.ReLU(), nn.Tanh(), last), "layer 2 is Tanh"),
            ((first, nn.ReLU(), last, nn.LogSoftmax(1)), r"layer 3 .*goes by sequential\[:-1\]"),
            ((twice, nn.ReLU(), twice), "layer 2 is Linear.*used once"),
            ((first, nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), last), "activations relu, tanh"),
            ((first, nn.ReLU(), nn.Linear(3, 2, bias=False)), "some Linear layers have biases"),
            ((nn.Dropout(),), "has no Linear layer"),
        ):
            with pytest.raises(NconvexError, match=message):
                MLP.from_torch(nn.Sequential(*layers))
        with pytest.raises(NconvexError, match="the module is 3"):
            MLP.from_torch(3)
        model, theta = MLP.from_torch(nn.Sequential(first, nn.ReLU(), last))
        with pytest.raises(NconvexError, match="do not fit"):
            model.to_torch(theta, nn.Sequential(first, nn.Tanh(), last))
