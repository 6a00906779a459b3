"""Lower bounds of Γ: the signs are exact, and nothing connects below a proven bound."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import nconvex as nc
from nconvex import lower_bounds
from nconvex.definitions import NconvexError
from nconvex.lower_bounds.separation import Separation
from nconvex.samplers import SAMPLERS

ANGLES = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
EQUILATERAL = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
FAST = nc.RMSProp(learning_rate=2e-2, final_learning_rate=1e-3, budget=500)

#: What keeps the samplers' work small: short descents, one revival; and pairs they are tried on.
SETTINGS = {
    "plain": ({}, 210),
    "revive": ({"rmsprop": FAST, "rounds": 1}, 60),
    "springs": ({"rmsprop": FAST, "depth": 5}, 30),
    "breadth-first": ({}, 210),
}


def triangle(X):
    y = np.roll(X, -1, axis=0)
    return nc.Problem(nc.MLP((2, 3, 2), biases=False), "mse", X, y, X, y, FAST)


def zigzag(h):
    x = np.arange(h + 1.0)[:, None]
    return nc.Problem(nc.MLP((1, h, 1)), "mse", x, x % 2, x, x % 2, FAST)


PROBLEMS = {
    "equilateral": triangle(EQUILATERAL),
    "triangle 1": triangle(np.array([[1.0, 0.1], [-0.3, 0.9], [-0.6, -0.8]])),
    "triangle 2": triangle(np.array([[1.2, 0.4], [0.9, 1.0], [-0.5, 0.7]])),
    "1-2-1": zigzag(2),
    "1-3-1": zigzag(3),
}


def solution(problem, rng):
    """A random net that fits its data exactly, with output weights of at most 4."""
    model = problem.model
    while True:
        theta = rng.normal(size=model.n_parameters)
        layers = model.unpack(theta)
        W, b = layers[0]
        a = np.maximum(problem.X @ W + (0.0 if b is None else b), 0.0)
        V = a if b is None else np.column_stack([a, np.ones(len(a))])
        if abs(np.linalg.det(V)) > 1e-2:
            outputs = np.linalg.solve(V, problem.y)
            if np.abs(outputs).max() < 4.0:
                theta[-outputs.size :] = outputs.ravel()
                return theta


def permuted(model, theta, order):
    result = theta.copy()
    (W, b), (U, _) = model.unpack(theta)
    (W2, b2), (U2, _) = model.unpack(result)
    W2[:], U2[:] = W[:, order], U[order]
    if b is not None:
        b2[:] = b[order]
    return result


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_permutation_of_hidden_units_turns_the_sign_by_its_parity(name):
    problem = PROBLEMS[name]
    theta = solution(problem, np.random.default_rng(1))
    sign = lower_bounds.det_sign(problem.model, theta, problem.X)
    assert sign in (-1, 1)
    for order in itertools.permutations(range(problem.model.sizes[1])):
        parity = round(np.linalg.det(np.eye(len(order))[list(order)]))
        turned = permuted(problem.model, theta, list(order))
        assert problem.loss(turned) == pytest.approx(0.0, abs=1e-20)
        assert lower_bounds.det_sign(problem.model, turned, problem.X) == parity * sign


def test_the_sign_is_numpys_where_numpy_can_tell():
    rng = np.random.default_rng(2)
    model = nc.MLP((2, 4, 3, 1))
    X = rng.normal(size=(4, 2))
    signs = set()
    for _ in range(50):
        theta = rng.normal(size=model.n_parameters)
        a = X
        for W, b in model.unpack(theta)[:-1]:
            a = np.maximum(a @ W + b, 0.0)
        determinant = np.linalg.det(np.column_stack([a, np.ones(4)]))
        if abs(determinant) > 1e-9 or not a.any(axis=0).all():
            sign = lower_bounds.det_sign(model, theta, X)
            assert sign == (np.sign(determinant) if abs(determinant) > 1e-9 else 0)
            signs.add(sign)
    assert signs == {-1, 0, 1}


def test_the_sign_is_exact_where_floats_are_not():
    model = nc.MLP((2, 2, 1), biases=False)
    third, u = 1.0 / 3.0, 2.0**-52
    X = np.array([[third, third], [0.1, 0.1]])
    for shift, sign in ((0.0, 0), (u, 1), (-u, -1)):
        W = np.array([[third, third], [third, third + shift]])
        theta = np.concatenate([W.ravel(), [1.0, 1.0]])
        assert lower_bounds.det_sign(model, theta, X) == 0  # parallel data, whatever the weights
        tilted = X + np.array([[0.0, 0.0], [0.0, 0.1]])
        assert lower_bounds.det_sign(model, theta, tilted) == sign


def test_a_dead_unit_has_the_sign_zero_and_the_bound_applies():
    problem = PROBLEMS["1-2-1"]
    theta = solution(problem, np.random.default_rng(3))
    # (0, 1/2, 1/2) for (0, 1, 0), as good as one unit can be; the other is dead on all data
    dead = np.array([-1.0, 1.0, 1.0, -9.0, -0.5, 1.0, 0.5])
    infimum = lower_bounds.narrower_infimum(problem)
    bound = lower_bounds.lower_bound(problem, theta, dead, infimum)
    assert bound.signs[0] != 0
    assert bound.signs[1] == 0
    assert (bound.value, bound.reason) == (infimum, Separation.ONE_UNIT_FEWER)
    assert infimum <= problem.loss(dead) == pytest.approx(1 / 6)


def test_a_unit_that_is_constant_on_the_data_depends_on_the_row_of_ones_alone():
    problem = PROBLEMS["1-2-1"]
    theta = solution(problem, np.random.default_rng(3))
    constant = theta.copy()
    constant[[0, 2]] = 0.0, 1.0  # the first unit's input weight and bias
    assert lower_bounds.det_sign(problem.model, theta, problem.X) != 0
    assert lower_bounds.det_sign(problem.model, constant, problem.X) == 0


def test_the_bound_says_what_it_follows_from():
    problem = PROBLEMS["equilateral"]
    infimum = lower_bounds.narrower_infimum(problem)
    theta = solution(problem, np.random.default_rng(4))
    odd, even = (permuted(problem.model, theta, order) for order in ([1, 0, 2], [1, 2, 0]))
    bound = lower_bounds.lower_bound(problem, theta, odd, infimum)
    assert (bound.value, bound.reason) == (infimum, Separation.ONE_UNIT_FEWER)
    assert bound.signs[0] == -bound.signs[1] != 0
    bound = lower_bounds.lower_bound(problem, theta, even, infimum)
    assert (bound.value, bound.reason) == (pytest.approx(0.0, abs=1e-20), Separation.ENDS)
    bad = theta + 0.5
    for end in (odd, even):  # an end that is higher than the theorem's bound
        bound = lower_bounds.lower_bound(problem, bad, end, 1e-3)
        assert bound.reason is Separation.ENDS
        assert bound.value <= problem.loss(bad)
        assert bound.value == pytest.approx(problem.loss(bad))


@pytest.mark.parametrize(
    ("model", "X", "words"),
    [
        (nc.MLP((2, 3, 2), biases=False), np.ones((4, 2)), r"needs \(3, 2\)"),
        (nc.MLP((2, 3, 2)), np.ones((3, 2)), r"an output bias needs \(4, 2\)"),
        (nc.MLP((2, 3, 2), "tanh", biases=False), np.ones((3, 2)), "tanh"),
        (nc.MLP((2, 2), biases=False), np.ones((2, 2)), "hidden"),
        (nc.MLP((2, 3, 2), biases=False), np.full((3, 2), np.nan), r"X\[0, 0\] is nan"),
    ],
)
def test_what_has_no_exact_sign_is_refused(model, X, words):
    with pytest.raises(NconvexError, match=words):
        lower_bounds.det_sign(model, np.ones(model.n_parameters), X)


@pytest.mark.parametrize("narrower", [-1.0, np.nan, np.inf])
def test_a_bound_from_no_loss_is_refused(narrower):
    problem = PROBLEMS["equilateral"]
    theta = solution(problem, np.random.default_rng(4))
    with pytest.raises(NconvexError, match="narrower_infimum"):
        lower_bounds.lower_bound(problem, theta, theta, narrower)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_no_sampler_connects_below_a_proven_bound(name, sampler):
    settings, count = SETTINGS[sampler]
    problem = PROBLEMS[name]

    def search(problem, a, b, L0):
        return nc.connect(problem, a, b, L0=L0, sampler=replace(SAMPLERS[sampler], **settings))

    infimum = lower_bounds.narrower_infimum(problem)
    rng = np.random.default_rng(5)
    pool = [solution(problem, rng) for _ in range(60)]
    signs = [lower_bounds.det_sign(problem.model, theta, problem.X) for theta in pool]
    separated = [
        (a, b) for (a, s), (b, r) in itertools.combinations(zip(pool, signs, strict=True), 2)
        if s * r <= 0
    ]  # fmt: skip
    assert len(separated) >= count
    for k, (a, b) in enumerate(separated[:count]):
        L0 = infimum * (0.999, 0.8, 0.3)[k % 3]
        string = search(problem, a, b, L0)
        assert not string.connected
        assert string.max_error >= lower_bounds.lower_bound(problem, a, b, infimum).value == infimum
    # The search is no cripple: it connects such pairs above the bound, and others below it.
    assert any(search(problem, a, b, 3 * infimum).connected for a, b in separated[:30])
    together = [
        (a, b) for (a, s), (b, r) in itertools.combinations(zip(pool, signs, strict=True), 2)
        if s * r > 0
    ]  # fmt: skip
    assert any(search(problem, a, b, 0.9 * infimum).connected for a, b in together[:40])
