"""Units that the others can stand in for: folding and redrawing them changes no output."""

import numpy as np
import pytest

import nconvex as nc
from nconvex.definitions import generator
from nconvex.network import redundancy

MODEL = nc.MLP((1, 4, 4, 1))


def redundant():
    """A network at a minimum; unit 0 is dead, units 1 and 2 are both on everywhere."""
    theta = MODEL.initial(generator(5))
    (W, b), *_ = MODEL.unpack(theta)
    W[0], b[:] = [-1.0, 2.0, 0.5, -3.0], [-0.5, 0.3, 1.0, 1.4]
    return theta


def noisy(theta):
    """A task that theta fits up to noise which no network of the size can fit."""
    x = np.linspace(0, 1, 300)[:, None]
    y = MODEL.predict(theta, x) + 0.1 * (-1.0) ** np.arange(300)[:, None]
    return nc.Problem(MODEL, "mse", x, y, x, y)


problem = noisy(redundant())


def test_both_segments_have_constant_loss():
    theta = redundant()
    folded, revived = problem.revive(theta, generator(0))
    assert not np.array_equal(theta, folded)
    assert not np.array_equal(folded, revived)
    for left, right in ((theta, folded), (folded, revived)):
        peak = problem.bracket(left, right, gap=1e-12)
        assert peak.upper == pytest.approx(problem.loss(theta), rel=1e-7)
        gamma = problem.gamma(left, right, np.linspace(0, 1, 101))
        np.testing.assert_allclose(gamma, problem.loss(theta), rtol=1e-12)


def test_what_was_folded_is_drawn_anew_with_its_kink_inside_the_data():
    theta = redundant()
    folded, revived = problem.revive(theta, generator(0))
    (W1, b1), (W2, _), _ = problem.model.unpack(folded)
    drawn = np.flatnonzero((W2 == 0).all(axis=1))
    assert 0 in drawn  # the dead one
    assert len({1, 2} & set(drawn)) == 1  # one of two that do the same
    assert 3 not in drawn  # the only one with a kink
    (V1, a1), _, _ = problem.model.unpack(revived)
    kinks = -a1[drawn] / V1[0, drawn]
    assert ((problem.X.min() <= kinks) & (kinks <= problem.X.max())).all()
    np.testing.assert_array_equal(V1[0, 3], W1[0, 3])
    np.testing.assert_array_equal(a1[3], b1[3])


def test_outgoing_weights_must_be_handed_on():
    theta = redundant()
    wrong = theta.copy()
    problem.model.unpack(wrong)[1][0][1] = 0.0  # unit 1 dropped, not folded into unit 2
    assert abs(problem.loss(wrong) / problem.loss(theta) - 1) > 1e-3


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_without_a_redundant_unit_one_that_is_little_needed_is_folded(activation):
    smooth = nc.quad.problem(seed=0, model=nc.MLP((1, 4, 4, 1), activation), samples=300)
    theta = nc.train(smooth, L0=1e-3, seed=1).theta
    folded, revived = smooth.revive(theta, generator(3))
    gone = [(W == 0).all(axis=1).sum() for W, _ in smooth.model.unpack(folded)[1:]]
    assert sum(gone) >= 1
    assert smooth.loss(revived) == pytest.approx(smooth.loss(folded), rel=1e-12)
    dropped = []  # without least squares the same units cost more
    for layer in (1, 2):
        for unit in range(4):
            without = theta.copy()
            smooth.model.unpack(without)[layer][0][unit] = 0.0
            dropped.append(smooth.loss(without))
    assert smooth.loss(folded) < min(dropped)


def test_networks_without_biases_are_revived_too():
    authors = nc.quad.problem(seed=0, model=nc.MLP.of_the_authors(), loss="mae", samples=100)
    theta = authors.initial(generator(0))
    folded, revived = authors.revive(theta, generator(1))
    assert authors.loss(revived) == pytest.approx(authors.loss(folded), rel=1e-12)


def test_need_is_the_residual_of_a_regression_on_the_other_units():
    theta = problem.initial(generator(2))
    layers = problem.model.activations(theta, problem.X_test)[1:-1]
    inverses = [
        redundancy._inverse(problem.model, np.column_stack([A, np.ones(len(A))]), layer, [])
        for layer, A in enumerate(layers)
    ]
    for need, layer, unit in redundancy._needs(problem.model, theta, inverses):
        A = layers[layer]
        M = np.column_stack([np.delete(A, unit, axis=1), np.ones(len(A))])
        residual = A[:, unit] - M @ np.linalg.lstsq(M, A[:, unit], rcond=None)[0]
        W = problem.model.unpack(theta)[layer + 1][0]
        expected = np.sqrt(np.sum(residual**2)) * np.linalg.norm(W[unit])
        assert need == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_classifiers_are_revived_and_shallow_networks_stay_as_they_are():
    digits = nc.mnist.problem("subset", nc.MLP((784, 16, 10)))
    theta = digits.initial(generator(0))
    (W, b), *_ = digits.model.unpack(theta)
    W[:, 3], b[3] = -abs(W[:, 3]), -1.0
    folded, revived = digits.revive(theta, generator(1))
    assert digits.loss(revived) == pytest.approx(digits.loss(folded), rel=1e-12)
    assert (digits.model.unpack(folded)[1][0][3] == 0).all()
    assert not (digits.model.unpack(revived)[0][0][:, 3] == W[:, 3]).any()
    x = np.ones((2, 1))
    line = nc.Problem(nc.MLP((1, 1)), "mse", x, x, x, x)
    np.testing.assert_array_equal(line.revive(np.ones(2), generator(0)), np.ones((2, 2)))
