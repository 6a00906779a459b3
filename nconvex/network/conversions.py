"""Networks of scikit-learn and PyTorch, read and written without an import of either.

Both are known by their attributes. scikit-learn's weights are (m, n), one row an input, as here;
PyTorch's are (n, m) and are transposed on the way in and out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from nconvex.definitions import (
    NconvexError,
    numbers,
    require_choice,
    require_not_negative,
    shown,
)
from nconvex.kernels.parts import LEAKY_SLOPE

#: scikit-learn's names of activations, and ours. Softmax is a part of the loss here.
SKLEARN = {
    "identity": "identity",
    "relu": "relu",
    "tanh": "tanh",
    "logistic": "sigmoid",
    "softmax": "identity",
}

#: PyTorch's classes of activations, and our names.
TORCH = {"ReLU": "relu", "LeakyReLU": "leaky-relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}

#: PyTorch's classes that change nothing in evaluation mode where a sample is a row.
PASSED = ("Dropout", "Flatten", "Identity")

#: What each layer has: its weights (m, n), and its biases (n,) or None.
Weights = list[tuple[np.ndarray, np.ndarray | None]]


class Network(NamedTuple):
    """What makes an MLP and its θ; activations by the MLP's names."""

    weights: list[np.ndarray]
    biases: list[np.ndarray] | None
    activation: Any
    output_activation: Any


def of_sklearn(fitted: Any) -> Network:
    """Read a fitted MLPRegressor or MLPClassifier; one logistic output z becomes logits (0, z)."""
    needed = ("coefs_", "intercepts_", "activation", "out_activation_")
    if missing := [name for name in needed if not hasattr(fitted, name)]:
        raise NconvexError(
            "from_sklearn needs a fitted MLPRegressor or MLPClassifier, of a pipeline its last "
            f"step, pipeline[-1]; {shown(fitted)} has no {', '.join(missing)}"
        )
    for name in (fitted.activation, fitted.out_activation_):
        require_choice("activation", name, SKLEARN)
    weights = [_matrix(f"coefs_[{k}]", W) for k, W in enumerate(fitted.coefs_)]
    biases = [numbers(f"intercepts_[{k}]", b) for k, b in enumerate(fitted.intercepts_)]
    output = SKLEARN[fitted.out_activation_]
    if _is_binary(fitted):
        weights[-1] = np.insert(weights[-1], 0, 0.0, axis=1)
        biases[-1] = np.insert(biases[-1], 0, 0.0)
        output = "identity"
    return Network(weights, biases, SKLEARN[fitted.activation], output)


def into_sklearn(layers: Weights, fitted: Any) -> None:
    """Give a fitted model other weights; of two logits a binary classifier gets the difference."""
    weights, biases = (list(arrays) for arrays in zip(*layers, strict=True))
    if _is_binary(fitted):
        weights[-1], biases[-1] = np.diff(weights[-1]), np.diff(biases[-1])
    fitted.coefs_ = _like(fitted.coefs_, weights)
    fitted.intercepts_ = _like(fitted.intercepts_, biases)


def alpha_of(fitted: Any, outputs: int) -> float:
    """The penalty's factor in the units of our losses: alpha, or 2 outputs times it for mse."""
    alpha: Any = getattr(fitted, "alpha", None)
    output = getattr(fitted, "out_activation_", None)
    require_not_negative("alpha of the fitted model", alpha)
    if output == "identity":
        return 2.0 * outputs * alpha
    if output == "softmax" or (output == "logistic" and _is_binary(fitted)):
        return float(alpha)
    raise NconvexError(
        f"a model with the output {shown(output)} has a loss that is none of ours; give Problem a "
        "weight_decay of your own"
    )


def _like(before: list[np.ndarray], arrays: list[Any]) -> list[np.ndarray]:
    return [np.array(new, dtype=old.dtype) for new, old in zip(arrays, before, strict=True)]


def _is_binary(fitted: Any) -> bool:
    return fitted.out_activation_ == "logistic" and np.shape(fitted.coefs_[-1])[1] == 1


def of_torch(sequential: Any) -> Network:
    """Read a Sequential of Linear layers, with at most one activation after each."""
    linears = _linears(sequential)
    hidden = sorted({activation for _, activation in linears[:-1]})
    if len(hidden) > 1:
        raise NconvexError(
            f"hidden layers have the activations {', '.join(hidden)}; an MLP has one for all"
        )
    with_bias = [linear.bias is not None for linear, _ in linears]
    if len(set(with_bias)) > 1:
        raise NconvexError("some Linear layers have biases and some have none; an MLP has one kind")
    return Network(
        [_matrix("weight", _array(linear.weight).T) for linear, _ in linears],
        [_array(linear.bias) for linear, _ in linears] if all(with_bias) else None,
        hidden[0] if hidden else "relu",
        linears[-1][1],
    )


def into_torch(layers: Weights, sequential: Any) -> None:
    """Write weights into the parameters of a Sequential, on their device and in their precision."""
    for (W, b), (linear, _) in zip(layers, _linears(sequential), strict=True):
        linear.weight.detach().copy_(linear.weight.new_tensor(W.T.copy()))
        if b is not None:
            linear.bias.detach().copy_(linear.bias.new_tensor(b.copy()))


def _linears(sequential: Any) -> list[tuple[Any, str]]:
    """Each Linear layer and its activation, in order."""
    found: list[tuple[Any, str]] = []
    for place, layer in _leaves(sequential):
        name = type(layer).__name__
        if name == "Linear" and all(layer is not other for other, _ in found):
            found.append((layer, "identity"))
        elif name in TORCH and found and found[-1][1] == "identity" and _has_our_slope(layer):
            found[-1] = found[-1][0], TORCH[name]
        elif name not in PASSED:
            advice = "; a last one goes by sequential[:-1], for the loss has it" * ("Soft" in name)
            raise NconvexError(
                f"{place} is {shown(layer)}; from_torch takes a Sequential of Linear layers, each "
                f"used once and with one of {', '.join(TORCH)} after it, or none{advice}"
            )
    if not found:
        raise NconvexError(f"{shown(sequential)} has no Linear layer")
    return found


def _leaves(module: Any, place: str = "the module") -> Iterator[tuple[str, Any]]:
    if type(module).__name__ != "Sequential":
        yield place, module
        return
    for k, child in enumerate(module):  # named_children() has a layer that is used twice once
        yield from _leaves(child, f"layer {k}" if place == "the module" else f"{place}.{k}")


def _has_our_slope(layer: Any) -> bool:
    return bool(getattr(layer, "negative_slope", LEAKY_SLOPE) == LEAKY_SLOPE)


def _array(tensor: Any) -> np.ndarray:
    return numbers("a parameter", tensor.detach().cpu().double().numpy())


def _matrix(name: str, given: Any) -> np.ndarray:
    matrix = numbers(name, given)
    if matrix.ndim != 2:
        raise NconvexError(f"{name} must be a matrix, not of shape {matrix.shape}")
    return matrix
