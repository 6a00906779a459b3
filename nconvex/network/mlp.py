"""The multilayer perceptron: its sizes, its start, and its parameters as one flat vector.

A network with sizes (n₀, n₁, …, n_k) computes

    a⁰ = x,   zˡ = aˡ⁻¹ Wˡ + bˡ,   aˡ = s(zˡ)   for l = 1 … k

with the activation s on hidden layers, and another one, by default none, on the output. Its loss
is a sum over output units and a mean over samples of a loss of the residual r = output - target:

===========  ==================================================================================
``mse``      r²
``mae``      \\|r\\|
``huber``    r²/2 for \\|r\\| ≤ δ, δ (\\|r\\| - δ/2) beyond, with δ = `parts.HUBER_DELTA`
``log-cosh`` log cosh r
===========  ==================================================================================

CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nconvex import textbook
from nconvex.definitions import (
    NconvexError,
    numbers,
    require_choice,
    require_finite,
    require_integer,
    require_not_negative,
    require_theta,
    shown,
)
from nconvex.kernels.parts import ACTIVATIONS
from nconvex.network import conversions
from nconvex.network.inputs import checked_matrix

#: The names in `kernels.parts.ACTIVATIONS`.
Activation = Literal["identity", "relu", "leaky-relu", "sigmoid", "tanh"]

INITIALISATIONS = ("default", "uniform")

#: Largest θ: one vector of it takes 2 GB.
MOST_PARAMETERS = 2**28

#: Activations that start alike.
RECTIFIERS = ("relu", "leaky-relu")

#: Biases of ReLU units at the start. With zeros every kink of a 1-4-4-1 net lies at x = 0, the
#: edge of the data: 77 % of starts could be trained to 1e-3 on QUAD, with 0.1 it was 97 %.
RELU_BIAS = 0.1

#: Sigmoid's slope at 0 is 1/4, so Glorot's scale is multiplied by 4 to carry signals through.
SIGMOID_GAIN = 4.0


@dataclass(frozen=True)
class MLP:
    """A fully connected network of any sizes, with all parameters in one flat vector θ.

    Layout of θ, (P,) float64: layer by layer, for each layer first its weights, then its biases.
    The weights of a layer from m to n units are an m x n matrix in row-major (C) order, one row
    an input unit: z = a @ W + b. Networks without biases leave them out of θ.

    The start that `initial` draws, for weights W of shape (m, n):

    - ``default``, hidden ReLU, leaky or not: normal, variance 2/m (He) on every layer; biases 0.1
      on hidden units.
    - ``default``, hidden tanh: normal, variance 2/(m + n) (Glorot); biases 0.
    - ``default``, hidden sigmoid: the same, times 4 on sigmoid units (its slope at 0 is 1/4).
    - ``uniform``: uniform on (-1, 1), biases 0, as in the code of the paper's authors.

    Attributes:
        sizes: Units of each layer, input first, e.g. (1, 4, 4, 1).
        activation: "relu", "leaky-relu", "sigmoid" or "tanh", on hidden layers.
        output_activation: The same, or "identity", on the last layer.
        biases: Whether layers have biases.
        initialisation: "default" or "uniform".

    Example:
        >>> model = MLP((1, 4, 4, 1), "tanh")
        >>> model.n_parameters
        33
    """

    sizes: Sequence[int]
    activation: Activation = "relu"
    output_activation: Activation = "identity"
    biases: bool = True
    initialisation: Literal["default", "uniform"] = "default"

    def __post_init__(self) -> None:
        if not isinstance(self.sizes, tuple | list) or len(self.sizes) < 2:
            raise NconvexError(
                f"sizes must name inputs and outputs at least, e.g. MLP((30, 8, 1)), not "
                f"{shown(self.sizes)}"
            )
        for size in self.sizes:
            require_integer("a layer's size", size, 1)
        object.__setattr__(self, "sizes", tuple(map(int, self.sizes)))
        for name in (self.activation, self.output_activation):
            require_choice("activation", name, ACTIVATIONS)
        require_choice("initialisation", self.initialisation, INITIALISATIONS)
        if not isinstance(self.biases, bool | np.bool_):
            raise NconvexError(f"biases must be True or False, not {shown(self.biases)}")
        require_integer("the number of parameters", self.n_parameters, 1, MOST_PARAMETERS)

    @classmethod
    def of_the_authors(cls, sizes: Sequence[int] = (1, 4, 4, 1)) -> MLP:
        """Make the network of the authors' published experiments.

        Sigmoid on every layer, the output too; no biases; weights uniform on (-1, 1).
        """
        return cls(sizes, "sigmoid", "sigmoid", biases=False, initialisation="uniform")

    @classmethod
    def from_sklearn(cls, fitted: Any) -> tuple[MLP, np.ndarray]:
        """Make the network and θ of a fitted MLPRegressor or MLPClassifier.

        Outputs are those before softmax. A binary classifier has one output z there, whose logistic
        function is a probability. It becomes the two logits (0, z), which `Classification` needs:
        their softmax is the same probability.

        Example:
            >>> from types import SimpleNamespace
            >>> fitted = SimpleNamespace(  # as MLPRegressor((1,), "tanh").fit(X, y) is
            ...     coefs_=[np.array([[1.0], [2.0]]), np.array([[3.0]])],
            ...     intercepts_=[np.array([4.0]), np.array([5.0])],
            ...     activation="tanh", out_activation_="identity",
            ... )
            >>> model, theta = MLP.from_sklearn(fitted)
            >>> model.sizes, theta.tolist()
            ((2, 1, 1), [1.0, 2.0, 4.0, 3.0, 5.0])
            >>> model.load_into(2 * theta, fitted).coefs_[1]
            array([[6.]])
        """
        return cls._of(conversions.of_sklearn(fitted))

    @classmethod
    def from_torch(cls, sequential: Any) -> tuple[MLP, np.ndarray]:
        """Make the network and θ of a PyTorch Sequential of Linear layers and activations.

        Dropout is passed over, as in evaluation mode. Any layer that an MLP does not have is
        refused. Example: `MLP.from_torch(Sequential(Linear(2, 3), Tanh(), Linear(3, 1)))`.
        """
        return cls._of(conversions.of_torch(sequential))

    @classmethod
    def _of(cls, network: conversions.Network) -> tuple[MLP, np.ndarray]:
        weights, biases, activation, output = network
        sizes = len(weights[0]), *(W.shape[1] for W in weights)
        model = cls(sizes, activation, output, biases is not None)
        return model, model.pack(weights, biases)

    def load_into(self, theta: ArrayLike, fitted: Any) -> Any:
        """Give θ to a fitted scikit-learn model of this shape, and return it; see `from_sklearn`.

        A binary classifier gets the difference of the two logits. To keep what it was, pass
        `copy.deepcopy(fitted)`.
        """
        self._require_same(self.from_sklearn(fitted)[0])
        theta = require_theta("theta", theta, self.n_parameters)
        conversions.into_sklearn(self.unpack(theta), fitted)
        return fitted

    def to_torch(self, theta: ArrayLike, sequential: Any) -> Any:
        """Write θ into a PyTorch Sequential of this shape, in its own precision, and return it.

        Parameters of float32 round θ; `sequential.double()` keeps it.
        """
        self._require_same(self.from_torch(sequential)[0])
        theta = require_theta("theta", theta, self.n_parameters)
        conversions.into_torch(self.unpack(theta), sequential)
        return sequential

    def _require_same(self, other: MLP) -> None:
        if self._shapes() != other._shapes() or self.biases != other.biases:
            raise NconvexError(f"the weights of {self} do not fit {other}")

    @property
    def layers(self) -> np.ndarray:
        """(k, 5) int64, the table that the kernels read; see `kernels`."""
        rows = []
        offset = 0
        for n_in, n_out, activation in self._shapes():
            weights, offset = offset, offset + n_in * n_out
            biases = offset if self.biases else -1
            offset += n_out if self.biases else 0
            rows.append((n_in, n_out, weights, biases, ACTIVATIONS[activation]))
        return np.array(rows, dtype=np.int64)

    @property
    def n_parameters(self) -> int:
        """P, the length of θ."""
        return sum((n_in + self.biases) * n_out for n_in, n_out, _ in self._shapes())

    def pack(
        self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike] | None = None
    ) -> np.ndarray:
        """Make θ (P,) of each layer's weights (m, n), one row an input, and biases (n,).

        Raises:
            NconvexError: A shape is wrong, also that of a transposed matrix. One that is square
                cannot be told from its transpose.

        Example:
            >>> MLP((2, 1)).pack([np.array([[1.0], [2.0]])], [np.array([3.0])])
            array([1., 2., 3.])
        """
        if not self.biases and biases is not None:
            raise NconvexError("this network has no biases; leave them out or use MLP(biases=True)")
        theta = np.empty(self.n_parameters)
        layers = self.unpack(theta)
        for part, (name, arrays) in enumerate((("weights", weights), ("biases", biases))):
            if part == 1 and not self.biases:
                break
            if not isinstance(arrays, list | tuple) or len(arrays) != len(layers):
                raise NconvexError(
                    f"{name} must be a list of {len(layers)} arrays, one for each layer, not "
                    f"{shown(arrays)}"
                )
            for k, given in enumerate(arrays):
                _fill(f"{name}[{k}]", layers[k][part], given)
        return theta

    def unpack(self, theta: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return each layer's weights (m, n) and biases (n,) or None, as views of θ."""
        if not isinstance(theta, np.ndarray) or theta.shape != (self.n_parameters,):
            raise NconvexError(
                f"theta must be an array of shape ({self.n_parameters},), not {shown(theta)}"
            )
        return [
            (
                theta[weights : weights + n_in * n_out].reshape(n_in, n_out),
                theta[biases : biases + n_out] if biases >= 0 else None,
            )
            for n_in, n_out, weights, biases, _ in self.layers.tolist()
        ]

    def weights_only(self, factor: float) -> np.ndarray:
        """Return a weight decay (P,) of weights and not of biases, for `Problem`.

        Example:
            >>> MLP((2, 1)).weights_only(0.1)
            array([0.1, 0.1, 0. ])
        """
        require_not_negative("factor", factor)
        kappa = np.zeros(self.n_parameters)
        for W, _ in self.unpack(kappa):
            W[:] = factor
        return kappa

    def decay_of(self, fitted: Any, samples: int) -> np.ndarray:
        """Return scikit-learn's L2 penalty of a fitted model as a weight decay (P,).

        Its loss is D + alpha / (2 N) Σ ‖W‖², without biases. D is the cross-entropy of a classifier
        of one label; of a regressor of k outputs it is mse / (2 k) with our mse, whose weight decay
        therefore is 2 k times as large, and so is our loss.

        Args:
            fitted: The model that `from_sklearn` was given.
            samples: N; scikit-learn takes the training set's for lbfgs, else a batch's.

        Example:
            >>> from types import SimpleNamespace
            >>> fitted = SimpleNamespace(alpha=0.4, out_activation_="softmax")
            >>> MLP((1, 1, 2)).decay_of(fitted, samples=10)
            array([0.04, 0.  , 0.04, 0.04, 0.  , 0.  ])
        """
        require_integer("samples", samples, 1)
        return self.weights_only(conversions.alpha_of(fitted, self.sizes[-1]) / samples)

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw θ, (P,), before training; see the class for the distributions."""
        theta = np.zeros(self.n_parameters)
        for (W, b), (n_in, n_out, activation) in zip(
            self.unpack(theta), self._shapes(), strict=True
        ):
            if self.initialisation == "uniform":
                W[:] = rng.uniform(-1.0, 1.0, W.shape)
            elif self.activation in RECTIFIERS:
                W[:] = rng.normal(0.0, math.sqrt(2.0 / n_in), W.shape)
                if b is not None and activation in RECTIFIERS:
                    b[:] = RELU_BIAS
            else:
                gain = SIGMOID_GAIN if activation == "sigmoid" else 1.0
                W[:] = rng.normal(0.0, gain * math.sqrt(2.0 / (n_in + n_out)), W.shape)
        return theta

    def predict(self, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Compute the network's outputs (N, n_k) for the inputs X (N, n₀)."""
        return self.activations(theta, X)[-1]

    def activations(self, theta: np.ndarray, X: np.ndarray) -> list[np.ndarray]:
        """Compute every layer's activations (N, n), from the inputs X (N, n₀) to the outputs."""
        theta = require_theta("theta", theta, self.n_parameters)
        return textbook.forward(self, theta, checked_matrix("X", X, self.sizes[0]))

    def _shapes(self) -> list[tuple[int, int, str]]:
        last = len(self.sizes) - 2
        return [
            (n_in, n_out, self.output_activation if layer == last else self.activation)
            for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False))
        ]


def _fill(name: str, view: Any, given: Any) -> None:
    """Write an array of the same shape into a part of θ."""
    array = numbers(name, given)
    if array.shape != view.shape:
        hint = f"; it is transposed, pass {name}.T" if array.T.shape == view.shape else ""
        raise NconvexError(f"{name} has shape {array.shape}; it must be {view.shape}{hint}")
    require_finite(name, array)
    view[:] = array
