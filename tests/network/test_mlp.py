import numpy as np
import pytest

from nconvex import MLP, NconvexError, textbook
from nconvex.kernels.parts import NONLINEAR


@pytest.mark.parametrize("biases", [True, False])
def test_unpack_gives_views_in_the_documented_layout(biases):
    model = MLP((2, 3, 1), biases=biases)
    theta = np.arange(float(model.n_parameters))
    (W1, b1), (W2, b2) = model.unpack(theta)
    assert W1.tolist() == [[0, 1, 2], [3, 4, 5]]
    if biases:
        assert (b1.tolist(), W2.tolist(), b2.tolist()) == ([6, 7, 8], [[9], [10], [11]], [12])
    else:
        assert (b1, W2.tolist(), b2) == (None, [[6], [7], [8]], None)
    W2[0, 0] = -1.0
    assert -1.0 in theta


@pytest.mark.parametrize("activation", NONLINEAR)
def test_predict_agrees_with_the_reference(activation):
    model = MLP((2, 5, 3, 2), activation, output_activation="sigmoid")
    rng = np.random.default_rng(0)
    theta, X = rng.normal(size=model.n_parameters), rng.normal(size=(7, 2))
    expected = textbook.forward(model, theta, X)[-1]
    np.testing.assert_allclose(model.predict(theta, X), expected, rtol=1e-13)


def test_initialisations_have_the_stated_spread():
    rng = np.random.default_rng(0)
    for activation, variance, bias in (
        ("relu", 2 / 300, 0.1),
        ("leaky-relu", 2 / 300, 0.1),
        ("tanh", 2 / 700, 0.0),
        ("sigmoid", 16 * 2 / 700, 0.0),
    ):
        model = MLP((300, 400, 1), activation)
        (W, b), (_, output_bias) = model.unpack(model.initial(rng))
        assert W.var() == pytest.approx(variance, rel=0.02)
        assert W.mean() == pytest.approx(0.0, abs=3e-3)
        assert set(b.tolist()) == {bias}
        assert output_bias.tolist() == [0.0]


def test_the_authors_network():
    model = MLP.of_the_authors((1, 4, 4, 1))
    assert (model.activation, model.output_activation, model.biases) == (
        "sigmoid",
        "sigmoid",
        False,
    )
    assert model.n_parameters == 4 + 16 + 4
    theta = np.concatenate([model.initial(np.random.default_rng(seed)) for seed in range(200)])
    assert -1 <= theta.min() < -0.99
    assert 0.99 < theta.max() <= 1
    assert theta.var() == pytest.approx(1 / 3, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (1,)}, "inputs and outputs"),
        ({"sizes": (1, 0, 1)}, "not 0"),
        ({"sizes": (1, 2.5, 1)}, r"not 2\.5"),
        ({"sizes": (1, 4, 1), "activation": "elu"}, "'elu' is unknown"),
        ({"sizes": (1, 4, 1), "output_activation": ""}, "is unknown"),
        ({"sizes": (1, 4, 1), "initialisation": "zeros"}, "'zeros' is unknown"),
    ],
)
def test_bad_shapes_are_refused(arguments, message):
    with pytest.raises(NconvexError, match=message):
        MLP(**arguments)


def test_wrong_sizes_are_named():
    model = MLP((2, 3, 1))
    with pytest.raises(NconvexError, match=r"\(N, 2\)"):
        model.predict(np.zeros(model.n_parameters), np.zeros((5, 3)))
    with pytest.raises(NconvexError, match="12 parameters; this landscape has 13"):
        model.predict(np.zeros(12), np.zeros((5, 2)))
    with pytest.raises(NconvexError, match=r"of shape \(13,\), not an array of shape \(12,\)"):
        model.unpack(np.zeros(12))
