"""Any PyTorch module as a landscape for `train` and `connect`, certified where that is possible."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nconvex import curve
from nconvex.adapters import bounds, descents
from nconvex.adapters.data import labelled, require_loss, require_pair, require_targets
from nconvex.adapters.tracing import NotCertifiable
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    DescentStatus,
    NconvexError,
    Peak,
    RMSProp,
    require_ends,
    require_integer,
    require_kind,
    require_number,
    require_t,
    require_theta,
    shown,
)
from nconvex.landscape import descent_status, settings

#: Numbers of the widest layer for as many samples as are evaluated at once.
CHUNK = 2**17

#: Relative difference of the float32 loss that stops a descent and the float64 one that decides.
FLOAT32_ROUNDING = 1e-6

#: A loss of outputs and targets, their mean over the samples.
Loss = Callable[[Tensor, Tensor], Tensor]


class TorchLandscape:
    """PyTorch module + loss + data, as a landscape for `train` and `connect`.

    θ is all parameters that require a gradient, in the order of `named_parameters`, and with
    `buffers` also batch normalization's running statistics. What is outside of θ is `frozen`.

    Every loss that is reported is the test set's, in evaluation mode and float64. Descents are
    minibatch RMSProp on the training set, in training mode but for layers with frozen buffers; in
    float32 for classifiers, else in float64; on one thread, so that the same seed gives the same
    bits. Where the module consists of layers that `tracing` knows, bounds are proven. Losses and
    proofs use all of PyTorch's threads: on a machine that others use, `torch.set_num_threads(1)` is
    several times faster.

    Args:
        module: Maps a batch of inputs to outputs; it is copied.
        loss: "cross-entropy", "error" (share of samples whose label does not have the highest
            output; descents follow the cross-entropy), "mse" or "mae" (summed over outputs, mean
            over samples, as in `Problem`), or a function of (outputs, targets) that returns their
            mean loss, e.g. `torch.nn.functional.huber_loss`: sampled.
        train: (X, y), arrays or tensors: inputs (N, …), and targets, or labels in any form that
            `Classification` takes.
        test: (X, y), likewise.
        rmsprop: Settings of the descents.
        batch: Samples a step.
        buffers: Whether running statistics are part of θ.
        initial: Draws a start θ from a generator; by default every layer's `reset_parameters`.

    Attributes:
        certified: Whether `max_gamma` proves.
        reason: What stands in the way, or None.
        frozen: Names of tensors outside of θ.
        classes_: The label that each output stands for; None without labels.

    Example:
        >>> x, y = torch.randn(64, 4), torch.randint(3, (64,))
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> TorchLandscape(net, "cross-entropy", (x, y), (x, y)).certified
        True
    """

    def __init__(
        self,
        module: nn.Module,
        loss: str | Loss,
        train: tuple[Any, Any],
        test: tuple[Any, Any],
        rmsprop: RMSProp | None = None,
        batch: int = 100,
        buffers: bool = False,
        initial: Callable[[np.random.Generator], np.ndarray] | None = None,
    ):
        require_kind("module", module, nn.Module, "torch.nn.Sequential(...)")
        require_loss(loss)
        require_integer("batch", batch, 1)
        self.loss_name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
        self.rmsprop, self._initial, self._loss = settings(rmsprop), initial, loss
        self.quantity = "the share of errors" if loss == "error" else "loss"
        self.highest = 1.0 if loss == "error" else np.inf
        self.module = deepcopy(module).cpu().double().eval()
        self._layout, self.frozen = _layout(self.module, buffers)
        self._trained = [n for n, _ in self.module.named_parameters() if n in self._layout]
        (self.X, y, shape), (self.X_test, y_test, _) = (
            self._checked(name, pair) for name, pair in (("train", train), ("test", test))
        )
        y, y_test, self.classes_ = require_targets(loss, y, y_test, shape)
        self.y, self.y_test = torch.from_numpy(y), torch.from_numpy(y_test)
        self.batch = min(batch, len(self.X))
        self._chunk = self._at_once()

    @property
    def _sizes(self) -> list[tuple[torch.Size, int]]:
        return [(shape, shape.numel()) for shape in self._layout.values()]

    @property
    def n_parameters(self) -> int:
        """P, the size of θ."""
        return sum(size for _, size in self._sizes)

    @property
    def _labelled(self) -> bool:
        return labelled(self._loss)

    def __repr__(self) -> str:
        how = "certified" if self.certified else f"sampled: {self.reason}"
        frozen = f", frozen: {', '.join(self.frozen)}" if self.frozen else ""
        kind = type(self.module).__name__
        return (
            f"TorchLandscape({kind}, {self.n_parameters} numbers, {self.loss_name}{frozen}; {how})"
        )

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_proof", "_copies", "_module32")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def describe(self) -> dict[str, np.ndarray]:
        """Return what a string's file says of the module; `nconvex.verify` knows `MLP` only."""
        return {
            "module": np.array(str(self.module)),
            "loss": np.array(self.loss_name),
            "parameters": np.array(list(self._layout)),
            "X_test": self.X_test.numpy(),
            "y_test": self.y_test.numpy(),
        }

    # -- θ and modules ----------------------------------------------------------------------------

    def _tensors(self, theta: Tensor) -> dict[str, Tensor]:
        """θ (P,) as tensors by name, which are views of it."""
        parts = theta.split([size for _, size in self._sizes])
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self._layout.items(), parts, strict=True)
        }

    def theta_of(self, module: nn.Module | Mapping[str, Tensor]) -> np.ndarray:
        """Return θ (P,) of a module of the same architecture, or of its state dict.

        Raises:
            NconvexError: A tensor is missing, has another shape, or is frozen here and differs.
        """
        given: Any = module.state_dict() if isinstance(module, nn.Module) else module
        if not isinstance(given, Mapping):
            raise NconvexError(f"theta_of takes a module or its state dict, not {shown(given)}")
        own = self.module.state_dict()
        if unknown := sorted(map(str, given.keys() - own.keys())):
            raise NconvexError(f"{unknown[0]} is not in this landscape's module")
        for name in (*self._layout, *self.frozen):
            there = given.get(name)
            if not isinstance(there, Tensor) or there.shape != own[name].shape:
                what = f"of shape {tuple(there.shape)}" if isinstance(there, Tensor) else "missing"
                shape = tuple(own[name].shape)
                raise NconvexError(f"{name} is {what}; this landscape's module has {shape}")
            if name in self.frozen and not torch.equal(there.cpu().double(), own[name]):
                remedy = "" if name in dict(self.module.named_parameters()) else "; buffers=True"
                remedy = remedy and remedy + " makes running statistics a part of θ"
                raise NconvexError(f"{name} is frozen, but differs from this landscape's{remedy}")
        theta = [given[name].detach().cpu().double().reshape(-1) for name in self._layout]
        return require_theta("theta", torch.cat(theta).numpy(), self.n_parameters)

    def load_into(self, module: nn.Module, theta: np.ndarray) -> nn.Module:
        """Write θ (P,) and what is frozen into a module of the same architecture; return it."""
        theta = require_theta("theta", theta, self.n_parameters)
        require_kind("module", module, nn.Module, "torch.nn.Sequential(...)")
        own = deepcopy(self.module)
        with torch.no_grad():  # by name into a copy, where tied weights are one tensor
            for name, part in self._tensors(torch.from_numpy(theta)).items():
                layer, _, attribute = name.rpartition(".")
                getattr(own.get_submodule(layer), attribute).copy_(part)
        try:
            module.load_state_dict(own.state_dict())
        except RuntimeError as error:
            raise NconvexError(
                f"θ does not fit the module: {' '.join(str(error).split())}"
            ) from None
        return module

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a start θ (P,): PyTorch's own initialization of every layer, seeded by `rng`."""
        require_kind("rng", rng, np.random.Generator, "np.random.default_rng(0)")
        if self._initial is not None:
            return require_theta("the start", self._initial(rng), self.n_parameters)
        module = deepcopy(self.module)
        with descents.alone(rng):
            for name, layer in module.named_modules():
                reset = getattr(layer, "reset_parameters", None) or getattr(
                    layer, "_reset_parameters", None
                )
                if callable(reset):
                    reset()
                elif any(True for _ in layer.parameters(recurse=False)):
                    raise NconvexError(
                        f"{name or type(layer).__name__} has no reset_parameters; pass initial=, "
                        "a function that draws θ from a generator"
                    )
        state = {
            **module.state_dict(),
            **{name: self.module.state_dict()[name] for name in self.frozen},
        }
        return self.theta_of(state)

    # -- Losses -----------------------------------------------------------------------------------

    def _checked(self, name: str, pair: Any) -> tuple[Tensor, Any, tuple[int, ...]]:
        """Inputs as a tensor that fits the module, targets, and the shape of the outputs."""
        X, y = require_pair(name, pair)
        inputs = torch.from_numpy(X)
        if any(isinstance(layer, nn.Embedding) for layer in self.module.modules()):
            inputs = inputs.long()  # words, not quantities
        try:
            with torch.no_grad():
                outputs = self.module(inputs[:2].clone())
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise NconvexError(
                f"the module does not take inputs of shape {tuple(inputs[:2].shape)}: {reason}"
            ) from None
        if not isinstance(outputs, Tensor) or outputs.shape[:1] != inputs[:2].shape[:1]:
            raise NconvexError("the module must return one tensor, a row for each sample")
        return inputs, y, tuple(outputs.shape[1:])

    def _at_once(self) -> int:
        """How many samples are evaluated at once."""
        widest = [int(self.X_test[0].numel())]
        hooks = [
            layer.register_forward_hook(
                lambda _, __, out: widest.append(out.numel() if isinstance(out, Tensor) else 0)
            )
            for layer in self.module.modules()
        ]
        with torch.no_grad():
            self.module(self.X_test[:1].clone())
        for hook in hooks:
            hook.remove()
        return max(1, min(len(self.X_test), CHUNK // max(widest)))

    def _test_loss(self, module: nn.Module, tensors: dict[str, Tensor], X: Tensor) -> float:
        """The loss on the test set; sums do not depend on the number of threads."""
        with torch.no_grad():
            parts = [
                functional_call(module, tensors, (part.clone(),)) for part in X.split(self._chunk)
            ]
            outputs = torch.cat(parts).double()
            if not isinstance(self._loss, str):
                return float(self._loss(outputs, self.y_test))
            return float(descents.by_sample(self.loss_name, outputs, self.y_test).numpy().mean())

    def loss(self, theta: np.ndarray) -> float:
        """Return the loss on the test set for θ (P,), in float64."""
        theta = require_theta("theta", theta, self.n_parameters)
        if not hasattr(self._copies, "module"):  # a call puts θ into it, in the eyes of all threads
            self._copies.module = deepcopy(self.module)
        tensors = self._tensors(torch.from_numpy(theta))
        return self._test_loss(self._copies.module, tensors, self.X_test)

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set, at each t (T,)."""
        theta1, theta2 = require_ends(theta1, theta2, self.n_parameters)
        return np.array([self.loss(interpolate(theta1, theta2, s)) for s in require_t(t)])

    @cached_property
    def _copies(self) -> threading.local:
        return threading.local()

    # -- Descents ---------------------------------------------------------------------------------

    @cached_property
    def _module32(self) -> nn.Module:
        return deepcopy(self.module).to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float32 if self._labelled else torch.float64

    @contextmanager
    def _training(
        self, theta: np.ndarray, rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, dict[str, Tensor], Callable[[Tensor], Tensor]]]:
        """A copy of θ, its tensors as views, and the gradient there of given samples."""
        require_kind("rng", rng, np.random.Generator, "np.random.default_rng(0)")
        module = deepcopy(self._module32).train()
        for name in self.frozen:
            if name not in dict(module.named_parameters()):  # its statistics stay as they are
                module.get_submodule(name.rpartition(".")[0]).eval()
        w = torch.from_numpy(theta.copy()).to(self._dtype)
        tensors = self._tensors(w)
        leaves = [tensors[name].requires_grad_() for name in self._trained]
        X, y = self._as_descents(self.X), self.y

        def gradient(samples: Tensor) -> Tensor:
            found = X[samples], y[samples]
            return descents.gradient(module, tensors, leaves, self._loss, *found)

        with descents.alone(rng):
            yield w, tensors, gradient

    def _as_descents(self, X: Tensor) -> Tensor:
        return X.to(self._dtype) if X.is_floating_point() else X

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the gradient on one minibatch, (P,), drawn with `rng`; zero for buffers."""
        theta = require_theta("theta", theta, self.n_parameters)
        result = np.zeros(self.n_parameters)
        with self._training(theta, rng) as (_, _, gradient):
            g = gradient(next(descents.batches(len(self.X), self.batch, rng)))
        result[: len(g)] = g.double().numpy()
        return result

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run minibatch RMSProp until the loss on the test set is at most `target`."""
        require_number("target", target)
        theta = require_theta("theta", theta, self.n_parameters)
        rate, shrink, decay, epsilon, check_every = self.rmsprop.numbers
        X_test, evaluated = self._as_descents(self.X_test), deepcopy(self._module32)
        wanted = target * (1.0 - FLOAT32_ROUNDING) if self._labelled else target
        order = descents.batches(len(self.X), self.batch, rng)
        mean_square: Tensor | float = 0.0
        with self._training(theta, rng) as (w, tensors, gradient):
            for step in range(self.rmsprop.budget + 1):
                over = step == self.rmsprop.budget
                if step % check_every == 0 or over:
                    reached = self._test_loss(evaluated, tensors, X_test)
                    if over or not wanted < reached < np.inf:
                        found = w.double().numpy().copy()
                        if not np.isfinite(found).all():
                            return Descent(theta.copy(), np.inf, step, DescentStatus.DIVERGED)
                        loss = self.loss(found)
                        if over or not target < loss < np.inf:
                            return Descent(found, loss, step, descent_status(loss, target))
                        wanted -= 2.0 * (loss - target)  # float32 saw it lower than it is
                g = gradient(next(order))
                with torch.no_grad():
                    mean_square = decay * mean_square + (1.0 - decay) * g * g
                    w[: len(g)] -= rate * shrink**step * g / (mean_square.sqrt() + epsilon)
        raise AssertionError("the last step returns")

    # -- Proofs -----------------------------------------------------------------------------------

    @cached_property
    def _proof(self) -> bounds.Proof | str:
        if not isinstance(self._loss, str):
            return f"the loss {self.loss_name} is a function of your own"
        try:
            return bounds.Proof(self.module, self.loss_name, self.X_test, self.y_test, self._chunk)
        except NotCertifiable as error:
            return str(error)

    @property
    def certified(self) -> bool:
        """Whether bounds are proven."""
        return isinstance(self._proof, bounds.Proof)

    @property
    def reason(self) -> str | None:
        """What stands in the way of a proof, or None."""
        return self._proof if isinstance(self._proof, str) else None

    def _bracket(
        self, theta1: np.ndarray, theta2: np.ndarray, L0: float, gap: float | None
    ) -> Peak:
        theta1, theta2 = require_ends(theta1, theta2, self.n_parameters)
        if isinstance(self._proof, str):
            return curve.maximum(self, theta1, theta2)
        one, two = (self._tensors(torch.from_numpy(theta)) for theta in (theta1, theta2))
        return self._proof.maximum(one, two, L0, gap)

    def max_gamma(
        self, theta1: np.ndarray, theta2: np.ndarray, L0: float, known: Peak | None = None
    ) -> Peak:
        """Prove that γ stays below L₀ on the test set, or else bracket its maximum.

        See `certify.maximum`; if the landscape is not `certified`, the peak is sampled. A bracket
        that is known does not shorten the search.
        """
        return self._bracket(theta1, theta2, L0, None)

    def bracket(self, theta1: np.ndarray, theta2: np.ndarray, gap: float = 1e-3) -> Peak:
        """Bracket max γ on the test set to a relative gap, with proof if `certified`."""
        return self._bracket(theta1, theta2, -np.inf, gap)


def _layout(module: nn.Module, buffers: bool) -> tuple[dict[str, torch.Size], tuple[str, ...]]:
    """Shapes by name of what is in θ, parameters first, and names of what is not."""
    stored = module.state_dict()
    layout = {name: p.shape for name, p in module.named_parameters() if p.requires_grad}
    if not layout:
        raise NconvexError(
            "the module has no parameter that requires a gradient; module.requires_grad_() makes "
            "all of them part of θ"
        )
    if any(p.is_complex() for p in module.parameters()):
        raise NconvexError("complex parameters are not supported")
    others = {name: p.shape for name, p in module.named_parameters() if name not in layout}
    statistics = {
        name: b.shape
        for name, b in module.named_buffers()
        if name in stored and b.is_floating_point()
    }
    (layout if buffers else others).update(statistics)
    return layout, tuple(others)
