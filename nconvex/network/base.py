"""What all landscapes of a network share: its start, its redundant units, its description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import TypeVar

import numpy as np

from nconvex.definitions import Peak, RMSProp, html_table, require_ends, require_theta
from nconvex.landscape import Differentiable, Trainable, settings
from nconvex.network import redundancy
from nconvex.network.mlp import MLP
from nconvex.proof import certify

_Same = TypeVar("_Same", bound="NetworkLandscape")


class NetworkLandscape(Trainable, Differentiable, ABC):
    """A network, its data, and the settings of its descents. Losses are left to its classes.

    Attributes:
        model: The network.
        loss_name: What is averaged over the test set.
        rmsprop: Settings of the descents.
        weight_decay: (P,) the factors κ of the penalty, or empty without one.
        X: (N, d_in) training inputs.
        X_test: (M, d_in) test inputs.
        y_test: (M, d_out) test targets, or (M,) labels.
    """

    model: MLP
    loss_name: str
    rmsprop: RMSProp
    weight_decay: np.ndarray
    X: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def __repr__(self) -> str:
        model = self.model
        name = f"{'-'.join(map(str, model.sizes))} {model.activation}, {self.loss_name}"
        name += " + weight decay" * (self.weight_decay.size > 0)
        return f"{type(self).__name__}({name}, {len(self.X)} samples, {len(self.X_test)} of test)"

    def _repr_html_(self) -> str:
        model = self.model
        decay = " + weight decay" * (self.weight_decay.size > 0)
        rows = {
            "network": f"{'-'.join(map(str, model.sizes))} {model.activation}",
            "parameters": str(model.n_parameters),
            "loss": self.loss_name + decay,
            "samples": f"{len(self.X)} to train, {len(self.X_test)} of test",
            "descent": f"RMSProp, rate {self.rmsprop.learning_rate:g} to "
            f"{self.rmsprop.final_learning_rate:g}, at most {self.rmsprop.budget} steps",
        }
        return html_table(rows, type(self).__name__)

    @property
    @abstractmethod
    def proof_data(self) -> certify.ProofData:
        """The network and its test set, as `certify` needs them."""

    def _first_layers(
        self, theta1: np.ndarray, theta2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Both ends' first layers on the test set, where `proof_data` has no inputs."""
        return None

    def segment(
        self, theta1: np.ndarray, theta2: np.ndarray, known: Peak | None = None
    ) -> certify.Segment:
        """Begin to prove how high γ(θ₁, θ₂) rises on the test set, or go on."""
        theta1, theta2 = require_ends(theta1, theta2, self.model.n_parameters)
        first = self._first_layers(theta1, theta2)
        return certify.Segment(self.proof_data, theta1, theta2, first, known)

    def max_gamma(
        self, theta1: np.ndarray, theta2: np.ndarray, L0: float, known: Peak | None = None
    ) -> Peak:
        """Prove that γ stays below L₀ on the test set, or bracket its maximum.

        See `certify.maximum`; the search goes on from a bracket that is known.
        """
        return self._bracket(theta1, theta2, L0, None, known)

    def bracket(self, theta1: np.ndarray, theta2: np.ndarray, gap: float = certify.GAP) -> Peak:
        """Bracket max γ on the test set, with proof, to a relative gap."""
        return self._bracket(theta1, theta2, -np.inf, gap, None)

    def _bracket(
        self,
        theta1: np.ndarray,
        theta2: np.ndarray,
        L0: float,
        gap: float | None,
        known: Peak | None,
    ) -> Peak:
        return certify.maximum(self.segment(theta1, theta2, known), L0, gap)

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ, (P,); see `MLP`."""
        return self.model.initial(rng)

    def revive(self, theta: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return θ with redundant units folded into others, and with them drawn anew.

        See `redundancy.revive`. Folding must not change the loss on the test set; new kinks lie on
        the training set. A network without a hidden layer has no such units and stays as it is.
        """
        theta = require_theta("theta", theta, self.model.n_parameters)
        if len(self.model.sizes) < 3:
            return theta.copy(), theta.copy()
        return redundancy.revive(self.model, theta, self.loss, self.X_test, self.X, rng)

    def with_descents(self: _Same, rmsprop: RMSProp) -> _Same:
        """Return the same landscape with other settings of its descents."""
        other = copy(self)
        other.rmsprop = settings(rmsprop)
        return other

    def describe(self) -> dict[str, np.ndarray]:
        """Return, as arrays, all that is needed to recompute losses without this package."""
        penalty = {"weight_decay": self.weight_decay} if self.weight_decay.size else {}
        return penalty | {
            "sizes": np.array(self.model.sizes, dtype=np.int64),
            "activation": np.array(self.model.activation),
            "output_activation": np.array(self.model.output_activation),
            "biases": np.array(self.model.biases),
            "loss": np.array(self.loss_name),
            "X_test": self.X_test,
            "y_test": self.y_test,
            "theta_layout": np.array(
                "each row of beads is one theta: layer by layer, first the weights W (m, n) in "
                "row-major order, one row an input unit, then the biases b (n); a @ W + b"
            ),
        }
