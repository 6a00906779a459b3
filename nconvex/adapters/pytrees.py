"""Any function of a JAX pytree as a landscape for `train` and `connect`, sampled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nconvex import textbook
from nconvex.adapters.data import labelled, require_loss, require_pair, require_targets
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    NconvexError,
    RMSProp,
    require_ends,
    require_integer,
    require_kind,
    require_number,
    require_t,
    require_theta,
)
from nconvex.landscape import descent_status, settings


class JaxLandscape:
    """Function of a pytree + loss + data, as a landscape for `train` and `connect`.

    θ is all leaves, one behind the other, in float64 for everything that is computed here. Losses
    are the test set's; descents are minibatch RMSProp on the training set. Nothing is proven.

    Args:
        apply: Maps (params, X) to outputs (N, …); it is compiled, and pickled by its name.
        params: A pytree of arrays that shows the structure.
        loss: "cross-entropy", "error" (descents follow the cross-entropy), "mse" or "mae" (summed
            over outputs, mean over samples), or a function of (outputs, targets).
        train: (X, y): inputs (N, …), and targets, or labels in any form that `Classification`
            takes; `classes_` names them.
        test: (X, y), likewise.
        rmsprop: Settings of the descents.
        batch: Samples a step.
        initial: Draws a start, a pytree or θ, from a generator; needed for `train`.

    Example:
        >>> model = {"w": np.zeros((3, 1)), "b": np.zeros(1)}
        >>> data = np.ones((8, 3)), np.ones(8)
        >>> line = JaxLandscape(lambda p, x: x @ p["w"] + p["b"], model, "mse", data, data)
        >>> line.loss(line.theta_of(model))
        1.0
    """

    def __init__(
        self,
        apply: Callable[[Any, Any], Any],
        params: Any,
        loss: str | Callable[[Any, Any], Any],
        train: tuple[Any, Any],
        test: tuple[Any, Any],
        rmsprop: RMSProp | None = None,
        batch: int = 100,
        initial: Callable[[np.random.Generator], Any] | None = None,
    ):
        if not callable(apply):
            raise NconvexError("apply must be a function of (params, X)")
        require_loss(loss)
        require_integer("batch", batch, 1)
        self.apply, self._loss, self._initial = apply, loss, initial
        self.loss_name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
        self.quantity = "the share of errors" if loss == "error" else "loss"
        self.highest = 1.0 if loss == "error" else np.inf
        self.rmsprop = settings(rmsprop)
        leaves, self._structure = jax.tree_util.tree_flatten(params)
        if not leaves or not all(np.issubdtype(np.result_type(a), np.floating) for a in leaves):
            raise NconvexError("params must be a pytree of floating-point arrays")
        self._shapes = [np.shape(leaf) for leaf in leaves]
        self.n_parameters = sum(np.size(leaf) for leaf in leaves)
        (self.X, y, shape), (self.X_test, y_test, _) = (
            self._checked(name, pair) for name, pair in (("train", train), ("test", test))
        )
        self.y, self.y_test, self.classes_ = require_targets(loss, y, y_test, shape)
        self.batch = min(batch, len(self.X))

    def __repr__(self) -> str:
        return f"JaxLandscape({self.n_parameters} numbers, {self.loss_name}; sampled)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: a for name, a in self.__dict__.items() if name not in ("_value", "_slope")}

    def _checked(self, name: str, pair: Any) -> tuple[np.ndarray, Any, tuple[int, ...]]:
        X, y = require_pair(name, pair)
        try:
            with jax.enable_x64(True):
                theta = np.zeros(self.n_parameters)
                outputs = jax.eval_shape(lambda x: self.apply(self._tree(theta), x), X)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise NconvexError(f"apply does not take inputs of shape {X.shape}: {reason}") from None
        return X, y, outputs.shape[1:]

    def _tree(self, theta: Any) -> Any:
        """The pytree of θ (P,)."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        parts = jnp.split(theta, ends)
        leaves = [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return jax.tree_util.tree_unflatten(self._structure, leaves)

    def params_of(self, theta: np.ndarray) -> Any:
        """Return the pytree of θ (P,), float64 NumPy arrays."""
        theta = require_theta("theta", theta, self.n_parameters)
        with jax.enable_x64(True):
            return jax.tree_util.tree_map(np.array, self._tree(theta))

    def theta_of(self, params: Any) -> np.ndarray:
        """Return θ (P,) of a pytree of the same structure."""
        leaves, structure = jax.tree_util.tree_flatten(params)
        if structure != self._structure or [np.shape(leaf) for leaf in leaves] != self._shapes:
            raise NconvexError(f"the pytree has another structure than {self._structure}")
        theta = np.concatenate([np.asarray(leaf, dtype=np.float64).ravel() for leaf in leaves])
        return require_theta("theta", theta, self.n_parameters)

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ (P,)."""
        if self._initial is None:
            raise NconvexError(
                "this landscape was made without `initial`; pass a function that draws params "
                "from a generator"
            )
        start = self._initial(rng)
        flat = isinstance(start, np.ndarray) and start.ndim == 1
        return require_theta("the start", start) if flat else self.theta_of(start)

    def _mean(self, name: Any, theta: Any, X: Any, y: Any) -> Any:
        """The mean loss called `name` of θ."""
        f = self.apply(self._tree(theta), X)
        if callable(name):
            return name(f, y)
        if not labelled(name):
            residuals = (f - y).reshape(len(y), -1)
            return jnp.mean(jnp.sum(jnp.abs(residuals) ** (2 if name == "mse" else 1), axis=1))
        own = jnp.take_along_axis(f, y[:, None], axis=1)
        if name == "cross-entropy":
            return jnp.mean(jax.scipy.special.logsumexp(f - own, axis=1))
        others = jnp.where(jnp.arange(f.shape[1]) == y[:, None], -jnp.inf, f)
        return jnp.mean((~(own > others).all(axis=1)).astype(f.dtype))

    @cached_property
    def _value(self) -> Callable[[Any], Any]:
        return jax.jit(lambda theta: self._mean(self._loss, theta, self.X_test, self.y_test))

    @cached_property
    def _slope(self) -> Callable[..., Any]:
        name = "cross-entropy" if self._loss == "error" else self._loss
        return jax.jit(jax.grad(lambda theta, X, y: self._mean(name, theta, X, y)))

    def loss(self, theta: np.ndarray) -> float:
        """Return the loss on the test set for θ (P,)."""
        theta = require_theta("theta", theta, self.n_parameters)
        with jax.enable_x64(True):
            return float(self._value(theta))

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set, at each t (T,)."""
        theta1, theta2 = require_ends(theta1, theta2, self.n_parameters)
        return np.array([self.loss(interpolate(theta1, theta2, s)) for s in require_t(t)])

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the gradient on one minibatch, (P,), drawn with `rng`."""
        theta = require_theta("theta", theta, self.n_parameters)
        samples = rng.permutation(len(self.X))[: self.batch]
        with jax.enable_x64(True):
            return np.array(self._slope(theta, self.X[samples], self.y[samples]))

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run minibatch RMSProp until the loss on the test set is at most `target`."""
        require_number("target", target)
        require_kind("rng", rng, np.random.Generator, "np.random.default_rng(0)")
        theta = require_theta("theta", theta, self.n_parameters).copy()
        with np.errstate(over="ignore", invalid="ignore"):  # a descent may diverge
            theta, loss, steps = textbook.descend(
                theta, lambda x: self.gradient(x, rng), self.loss, target, self.rmsprop
            )
        return Descent(theta, loss, steps, descent_status(loss, target))
