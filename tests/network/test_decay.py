"""Weight decay is a part of the loss: of descents, of what is reported, and of what is proven."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import nconvex as nc
from nconvex import MLP, Classification, NconvexError, Problem, RMSProp, verify
from nconvex.kernels.parts import LOSSES
from nconvex.proof import certify

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 1)), RNG.normal(size=(40, 1))
POINTS = RNG.normal(size=(60, 4)).astype(np.float32).astype(np.float64)
LABELS = np.arange(60) % 3
T = np.linspace(0.0, 1.0, 201)


def regression(kappa, engine=None, model=None, loss="mse", **options):
    return Problem(
        model or MLP((1, 4, 1)), loss, X, Y, X[:30], Y[:30], engine=engine, weight_decay=kappa,
        **options,
    )  # fmt: skip


def classification(kappa, sparse=False, **options):
    points = POINTS * (np.abs(POINTS) > 1.2) if sparse else POINTS
    data = points, LABELS, points[:50], LABELS[:50]
    return Classification(MLP((4, 6, 3), "tanh"), *data, weight_decay=kappa, **options)


def kinds(P):
    return 0.03, np.linspace(0.0, 0.1, P)


@pytest.mark.parametrize("engine", ["textbook", "samples", "regions", "classifier"])
def test_loss_gamma_and_gradient_have_the_penalty(engine):
    for kind in (0, 1):
        make = classification if engine == "classifier" else lambda k: regression(k, engine)
        plain = make(0.0)
        theta1, theta2 = RNG.normal(size=(2, plain.model.n_parameters))
        kappa = kinds(theta1.size)[kind]
        problem = make(kappa)
        expected = 0.5 * np.sum(kappa * theta1**2)
        assert problem.loss(theta1) - plain.loss(theta1) == pytest.approx(expected, rel=1e-12)
        values, slopes = zip(
            *(each.loss_and_gradient(theta1) for each in (plain, problem)), strict=True
        )
        assert values[1] - values[0] == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(slopes[1] - slopes[0], kappa * theta1, atol=1e-9)
        thetas = theta1 * (1.0 - T[:, None]) + theta2 * T[:, None]
        higher = problem.gamma(theta1, theta2, T) - plain.gamma(theta1, theta2, T)
        np.testing.assert_allclose(higher, 0.5 * (kappa * thetas**2).sum(axis=1), rtol=1e-9)
        ends = problem.gamma(theta1, theta2, T)[[0, -1]].tolist()
        assert ends == pytest.approx([problem.loss(theta1), problem.loss(theta2)], rel=1e-15)


def test_no_weight_decay_is_none():
    for make in (regression, classification):
        for kappa in (0, 0.0, np.zeros(make(0.0).model.n_parameters)):
            problem = make(kappa)
            assert problem.weight_decay.size == 0
            assert "weight_decay" not in problem.describe()
            assert "decay" not in repr(problem)
        assert "+ weight decay" in repr(make(0.1))


@pytest.mark.parametrize("loss", LOSSES)
def test_all_engines_descend_alike(loss):
    settings = RMSProp(budget=60, check_every=7)
    start = MLP((1, 4, 1)).initial(np.random.default_rng(1))
    found = [
        regression(np.linspace(0, 0.3, 13), engine, loss=loss, rmsprop=settings)
        .descend(start, 0.0, RNG)
        .theta
        for engine in ("textbook", "samples", "regions")
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-8)
    np.testing.assert_allclose(found[2], found[0], atol=1e-8)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_classifiers_descent_follows_the_penalty(sparse):
    kappa = np.linspace(0.0, 0.5, 51)
    settings = RMSProp(budget=30, check_every=10)
    problem = classification(kappa, sparse, rmsprop=settings, batch=60)
    assert (problem._train_inputs[0] is not None) == sparse
    theta = start = problem.model.initial(np.random.default_rng(1))
    v = np.zeros(theta.size)
    for step in range(settings.budget):  # one batch holds all samples
        g = problem.loss_and_gradient(theta)[1]
        v = settings.decay * v + (1 - settings.decay) * g * g
        rate = settings.learning_rate * settings.shrink**step
        theta = theta - rate * g / (np.sqrt(v) + settings.epsilon)
    found = problem.descend(start, 0.0, np.random.default_rng(2))
    np.testing.assert_allclose(found.theta, theta, atol=2e-4)
    unpenalized = classification(0.0, sparse, rmsprop=settings, batch=60)
    other = unpenalized.descend(start, 0.0, np.random.default_rng(2)).theta
    assert np.abs(other - theta).max() > 0.01


def test_a_descent_ends_where_loss_and_penalty_are_below_its_target():
    for make, target, kappa in ((regression, 1.6, 0.02), (classification, 1.0, 0.01)):
        problem = make(kappa, rmsprop=RMSProp(1e-2, 1e-3, budget=3000, check_every=1))
        found = nc.train(problem, target, seed=1)
        assert found.status.name == "TRAINED"
        assert problem.loss(found.theta) == found.loss <= target
        earlier = nc.train(make(0.0, rmsprop=problem.rmsprop), target, seed=1)
        assert earlier.steps <= found.steps
        assert problem.loss(earlier.theta) > target


def test_a_share_of_errors_has_no_penalty_but_its_descents_have():
    plain, problem = classification(0.0, metric="error"), classification(9.0, metric="error")
    theta1, theta2 = RNG.normal(size=(2, 51))
    assert problem.loss(theta1) == plain.loss(theta1) <= 1.0
    assert problem.bracket(theta1, theta2) == plain.bracket(theta1, theta2)
    rng = np.random.default_rng
    slopes = [each.gradient(theta1, rng(0)) for each in (plain, problem)]
    np.testing.assert_allclose(slopes[1] - slopes[0], 9.0 * theta1, atol=1e-5)
    found = [each.descend(theta1, 0.01, rng(0)).theta for each in (plain, problem)]
    assert np.linalg.norm(found[1]) < 0.5 * np.linalg.norm(found[0])


@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("share", [0.0, 1e-3, 1.0, 1e3])
def test_brackets_hold_and_close(make, share):
    plain = make(0.0)
    theta1, theta2 = RNG.normal(size=(2, plain.model.n_parameters))
    if share == 1e3:
        theta2 = -theta1 + 0.1 * theta2  # the penalty dips in the middle
    problem = make(share * np.linspace(0.0, 0.1, theta1.size))
    peak = problem.bracket(theta1, theta2, gap=1e-6)
    seen = problem.gamma(theta1, theta2, T).max()
    assert peak.certified
    assert seen <= peak.upper <= seen * 1.02
    assert peak.lower <= problem.gamma(theta1, theta2, [peak.t_star])[0]
    assert peak.upper <= peak.lower * (1 + 1.1e-6) + 5 * problem.segment(theta1, theta2).sigma


def test_a_bound_on_any_interval_holds():
    problem = regression(3.0)
    theta1, theta2 = RNG.normal(size=(2, 13))
    segment = problem.segment(theta1, theta2)
    for left in range(8):  # each eighth by itself, from its own ends
        ends = [theta1 * (1 - t) + theta2 * t for t in (left / 8, (left + 1) / 8)]
        peak = certify.maximum(problem.segment(*ends), gap=np.inf, L0=0.0)
        assert peak.upper >= problem.gamma(*ends, T).max() - segment.sigma


def test_the_verifier_proves_a_path_with_the_penalty_and_refutes_one_that_only_it_exceeds(tmp_path):
    for make in (regression, classification):
        for kappa in (0.05, None):
            P = make(0.0).model.n_parameters
            problem = make(0.05 if kappa else np.linspace(0.0, 0.2, P))
            beads = RNG.normal(size=(3, P))
            peaks = [problem.bracket(a, b) for a, b in itertools.pairwise(beads)]
            upper = max(peak.upper for peak in peaks)
            without = make(0.0).gamma
            assert max(without(a, b, T).max() for a, b in itertools.pairwise(beads)) < 0.99 * upper
            for L0, verdict in ((1.001 * upper, "proven"), (0.995 * upper, "refuted")):
                nc.string_through(problem, beads, L0).save(tmp_path / "s.npz", problem)
                found = verify.search(verify.Path(tmp_path / "s.npz"), L0, gap=1e-4)
                assert (found["verdict"], found["false_claims"]) == (verdict, [])
                assert found["loss"].endswith(" + weight decay")
                assert found["lower"] <= upper <= found["upper"] * (1 + 1e-3)


def test_huge_weights_are_not_proven_to_be_low():
    problem = regression(1e300)
    peak = problem.bracket(np.full(13, 1e10), np.full(13, 1e10))
    assert (peak.lower, peak.upper) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("kappa", "message"),
    [
        (-0.1, "at least 0, not -0.1"),
        (np.ones(3), r"has shape \(3,\); give one number, or one for each of the"),
        (np.nan, "weight_decay.* is nan"),
        ("much", "weight_decay must be an array of numbers"),
    ],
)
def test_what_is_no_weight_decay_is_refused(kappa, message):
    for make in (regression, classification):
        with pytest.raises(NconvexError, match=message):
            make(kappa)


def test_decay_of_weights_leaves_biases_out():
    model = MLP((2, 3, 1))
    kappa = model.weights_only(0.5)
    for W, b in model.unpack(kappa):
        assert set(W.ravel()) == {0.5}
        assert set(b) == {0.0}


class TestSklearn:
    """With scikit-learn itself, whose `loss_` is that of all samples with lbfgs."""

    @pytest.mark.filterwarnings("ignore:lbfgs failed")
    @pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
    def test_our_loss_is_its_regularized_loss(self, activation):
        network = pytest.importorskip(
            "sklearn.neural_network", reason="scikit-learn is not installed"
        )
        rng = np.random.default_rng(3)
        y = rng.normal(size=60)
        shared = {"hidden_layer_sizes": (5, 3), "activation": activation, "solver": "lbfgs",
                  "alpha": 0.7, "max_iter": 20, "random_state": 0}  # fmt: skip
        for targets in (y, np.stack([y, 2 * y], axis=1)):
            net = network.MLPRegressor(**shared).fit(POINTS, targets)
            model, theta = MLP.from_sklearn(net)
            decay = model.decay_of(net, len(POINTS))
            problem = Problem(model, "mse", *2 * (POINTS, targets), weight_decay=decay)
            assert problem.loss(theta) == pytest.approx(2 * model.sizes[-1] * net.loss_, rel=1e-12)
        for labels in (np.array(["ant", "bee", "cat"])[LABELS], y > 0):
            net = network.MLPClassifier(**shared).fit(POINTS, labels)
            model, theta = MLP.from_sklearn(net)
            decay = model.decay_of(net, len(POINTS))
            problem = Classification(model, *2 * (POINTS, labels), weight_decay=decay)
            assert problem.loss(theta) == pytest.approx(net.loss_, rel=1e-12)


def test_a_penalty_that_is_not_of_our_losses_is_refused():
    for fitted, message in (
        (SimpleNamespace(out_activation_="identity"), "alpha of the fitted model"),
        (SimpleNamespace(alpha=0.1, out_activation_="logistic", coefs_=[np.ones((2, 3))]),
         "none of ours"),
    ):  # fmt: skip
        with pytest.raises(NconvexError, match=message):
            MLP((2, 3)).decay_of(fitted, 10)
