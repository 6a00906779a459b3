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
from dataclasses import dataclass

import numpy as np

from nconvex import textbook
from nconvex.definitions import (
    NconvexError,
    numbers,
    require_choice,
    require_integer,
    require_theta,
    shown,
)
from nconvex.kernels.parts import ACTIVATIONS

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

    sizes: tuple[int, ...]
    activation: str = "relu"
    output_activation: str = "identity"
    biases: bool = True
    initialisation: str = "default"

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
    def of_the_authors(cls, sizes: tuple[int, ...] = (1, 4, 4, 1)) -> MLP:
        """Make the network of the authors' published experiments.

        Sigmoid on every layer, the output too; no biases; weights uniform on (-1, 1).
        """
        return cls(sizes, "sigmoid", "sigmoid", biases=False, initialisation="uniform")

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
        a = numbers("X", X)
        if a.ndim != 2 or a.shape[1] != self.sizes[0]:
            raise NconvexError(f"X has shape {a.shape}; it must be (N, {self.sizes[0]})")
        return textbook.forward(self, theta, a)

    def _shapes(self) -> list[tuple[int, int, str]]:
        last = len(self.sizes) - 2
        return [
            (n_in, n_out, self.output_activation if layer == last else self.activation)
            for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False))
        ]
