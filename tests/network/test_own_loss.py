"""A loss of one's own: two functions of the residuals, sampled."""

import itertools

import numpy as np
import pytest

import nconvex as nc
from nconvex import MLP, NconvexError, Problem, RMSProp, textbook, verify
from nconvex.kernels.parts import LOSSES

X = np.linspace(-1, 1, 24)[:, None]
Y = np.concatenate([X**2, np.sin(2 * X)], axis=1)
MODEL = MLP((1, 5, 2), "tanh")


def tilted(r):
    """Three times as high for outputs that are too low: neither even nor a loss of ours."""
    return np.where(r < 0.0, 3.0, 1.0) * r * r


def slope(r):
    return np.where(r < 0.0, 6.0, 2.0) * r


def problem(loss=(tilted, slope), **options):
    return Problem(MODEL, loss, X[::2], Y[::2], X[1::2], Y[1::2], **options)


@pytest.mark.parametrize("name", LOSSES)
def test_the_pair_of_a_loss_is_that_loss(name):
    own = problem((textbook.LOSSES[name], textbook.LOSS_SLOPES[name]))
    ours = problem(name, engine="textbook")
    theta = MODEL.initial(np.random.default_rng(0))
    assert own.loss(theta) == ours.loss(theta)
    for one, two in zip(own.loss_and_gradient(theta), ours.loss_and_gradient(theta), strict=True):
        np.testing.assert_array_equal(one, two)


def test_loss_and_gradient_are_those_of_the_functions():
    surface = problem(weight_decay=0.1)
    rng = np.random.default_rng(1)
    theta, direction = rng.normal(size=(2, MODEL.n_parameters))
    r = MODEL.predict(theta, X[1::2]) - Y[1::2]
    expected = tilted(r).sum() / len(r) + 0.05 * theta @ theta
    assert surface.loss(theta) == pytest.approx(expected, rel=1e-12)
    up, down = (surface.loss_and_gradient(theta + s * direction)[0] for s in (1e-6, -1e-6))
    g = surface.loss_and_gradient(theta)[1]
    assert g @ direction == pytest.approx((up - down) / 2e-6, rel=1e-6)


def test_two_models_are_connected_and_the_verdict_says_sampled(tmp_path):
    surface = problem(rmsprop=RMSProp(1e-2, 1e-3, budget=3000))
    L0 = 0.1
    a, b = (nc.train(surface, L0, seed=seed) for seed in (1, 2))
    string = nc.connect(surface, a.theta, b.theta, L0=L0)
    assert string.connected
    assert (string.evidence, string.certified) == ("sampled", False)
    t = np.linspace(0, 1, 201)
    seen = max(surface.gamma(*ends, t).max() for ends in itertools.pairwise(string.beads))
    assert seen <= string.max_error * (1 + 1e-3)
    string.save(tmp_path / "s.npz", surface)
    assert nc.load_string(tmp_path / "s.npz", surface).evidence == "sampled"
    assert verify.main([str(tmp_path / "s.npz")]) == 2  # a file holds no functions
    with pytest.raises(NconvexError, match="nothing is proven of a loss of your own"):
        surface.segment(a.theta, b.theta)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ((tilted,), "pair of functions"),
        ((tilted, 3), "pair of functions"),
        (tilted, "is unknown"),
        ((np.sum, slope), r"value must return an array of its residuals' shape, \(2, 2\), not"),
        ((tilted, lambda r: r[0]), r"slope must return an array .* not \(2,\)"),
        ((lambda r: r + np.inf, slope), "value at 0, .* is inf"),
        ((tilted, lambda: 0), "slope fails at residuals of 0: .*takes 0 positional"),
    ],
)
def test_what_is_no_loss_is_refused(loss, message):
    with pytest.raises(NconvexError, match=message):
        problem(loss)


def test_only_the_textbook_computes_it():
    assert problem(engine="textbook").loss(np.zeros(MODEL.n_parameters)) > 0.0
    with pytest.raises(NconvexError, match="'samples' is unknown; choose from textbook"):
        problem(engine="samples")
