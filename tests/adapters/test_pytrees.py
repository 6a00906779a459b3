"""Any function of a JAX pytree as a landscape."""

import doctest
import pickle

import numpy as np
import pytest

import nconvex as nc
from nconvex.adapters import data

jax = pytest.importorskip("jax", reason="JAX is not installed")
import jax.numpy as jnp  # noqa: E402

from nconvex.adapters import pytrees  # noqa: E402
from nconvex.adapters.pytrees import JaxLandscape  # noqa: E402


def apply(params, X):
    h = jnp.tanh(X @ params["hidden"]["w"] + params["hidden"]["b"])
    return h @ params["out"]


def params(rng):
    return {
        "hidden": {"w": rng.normal(size=(4, 6)).astype(np.float32), "b": np.zeros(6)},
        "out": rng.normal(size=(6, 3)),
    }


def landscape(loss="cross-entropy", one_hot=False):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 4)) * 0.4 + 2.0 * rng.normal(size=(3, 4))[y]
    y = np.eye(3)[y] if one_hot else y
    rmsprop = nc.RMSProp(learning_rate=1e-2, final_learning_rate=1e-3, budget=300)
    pair = (X, y)
    return JaxLandscape(apply, params(rng), loss, pair, pair, rmsprop, batch=20, initial=params)


def reference(theta, surface, loss):
    tree = surface.params_of(theta)
    f = np.tanh(surface.X_test @ tree["hidden"]["w"] + tree["hidden"]["b"]) @ tree["out"]
    y = surface.y_test
    own = f[np.arange(60), y] if y.ndim == 1 else None
    return {
        "cross-entropy": lambda: (np.logaddexp.reduce(f, axis=1) - own).mean(),
        "error": lambda: (f.argmax(1) != y).mean(),
        "mse": lambda: ((f - y) ** 2).sum(1).mean(),
        "mae": lambda: abs(f - y).sum(1).mean(),
    }[loss]()


@pytest.mark.parametrize("loss", data.LOSSES)
def test_losses_are_right_in_float64_and_gradients_theirs(loss):
    surface = landscape(loss, one_hot=loss in ("mse", "mae"))
    rng = np.random.default_rng(1)
    theta = surface.initial(rng)
    assert surface.loss(theta) == pytest.approx(reference(theta, surface, loss), rel=1e-12)
    if loss != "error":
        surface.batch = 60
        direction = rng.normal(size=theta.size)
        ends = [surface.loss(theta + s * direction) for s in (1e-6, -1e-6)]
        expected = (ends[0] - ends[1]) / 2e-6
        assert surface.gradient(theta, rng) @ direction == pytest.approx(expected, rel=1e-5)


def test_trees_go_in_and_out():
    surface = landscape()
    tree = params(np.random.default_rng(3))
    theta = surface.theta_of(tree)
    back = surface.params_of(theta)
    assert jax.tree_util.tree_all(jax.tree_util.tree_map(np.array_equal, tree, back))
    with pytest.raises(nc.NconvexError, match="another structure"):
        surface.theta_of({"out": tree["out"]})


def test_two_pytrees_are_connected_by_sampling():
    surface = landscape()
    a, b = (nc.train(surface, L0=0.15, seed=seed) for seed in (1, 2))
    string = nc.connect(surface, a.theta, b.theta, L0=0.4)
    assert string.connected
    assert string.evidence == "sampled"
    again = nc.connect(pickle.loads(pickle.dumps(surface)), a.theta, b.theta, L0=0.4)
    assert (again.beads == string.beads).all()


def test_the_example_of_the_docstring_runs():
    assert not doctest.testmod(pytrees).failed


def test_wrong_input_is_refused():
    X, y = np.zeros((6, 4)), np.zeros(6, dtype=int)
    tree = params(np.random.default_rng(0))
    with pytest.raises(nc.NconvexError, match="does not take inputs of shape"):
        JaxLandscape(apply, tree, "mse", (X[:, :3], y), (X, y))
    with pytest.raises(nc.NconvexError, match="pytree of floating-point"):
        JaxLandscape(apply, {"w": np.arange(3)}, "mse", (X, y), (X, y))
    with pytest.raises(nc.NconvexError, match="without `initial`"):
        JaxLandscape(apply, tree, "error", (X, y), (X, y)).initial(np.random.default_rng(0))


def test_labels_of_any_form_are_numbered_as_in_a_classification():
    X, numbered = np.random.default_rng(0).normal(size=(6, 4)), np.array([2, 0, 1, 1, 0, 2])
    model = nc.MLP((4, 3, 3))
    for given in (
        np.array(["cat", "dog", "eel"])[numbered],
        np.array(["cat", "dog", "eel"], dtype=object)[numbered],
        numbered + 1,
        1.0 * numbered,
        np.eye(3)[numbered],
        numbered[:, None],
    ):
        surface = JaxLandscape(
            apply, params(np.random.default_rng(0)), "cross-entropy", (X, given), (X, given[::-1])
        )
        same = nc.Classification(model, X, given, X, given[::-1])
        assert surface.classes_.tolist() == same.classes_.tolist()
        assert np.array(surface.y).tolist() == same.labels.tolist() == numbered.tolist()
        assert np.array(surface.y_test).tolist() == same.labels_test.tolist()
    assert landscape("mse", one_hot=True).classes_ is None
