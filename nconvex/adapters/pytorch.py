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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from nconvex import curve
from nconvex.adapters import bounds
from nconvex.adapters.tracing import NotCertifiable
from nconvex.curve import interpolate
from nconvex.definitions import (
    Descent,
    DescentStatus,
    NconvexError,
    Peak,
    RMSProp,
    numbers,
    require_ends,
    require_finite,
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

LOSSES = ("cross-entropy", "error", "mse", "mae")

#: A loss of outputs and targets, their mean over the samples.
Loss = Callable[[Tensor, Tensor], Tensor]


class TorchLandscape:
    """PyTorch module + loss + data, as a landscape for `train` and `connect`.

    θ is all parameters that require a gradient, in the order of `named_parameters`, and with
    `buffers` also batch normalization's running statistics. What is outside of θ is `frozen`.

    Every loss that is reported is the test set's, in evaluation mode and float64. Descents are
    minibatch RMSProp on the training set, in training mode but for layers with frozen buffers; in
    float32 for classifiers, else in float64; on one thread, so that the same seed gives the same
    bits. Where the module consists of layers that `tracing` knows, bounds are proven.

    Args:
        module: Maps a batch of inputs to outputs; it is copied.
        loss: "cross-entropy", "error" (share of samples whose label does not have the highest
            output; descents follow the cross-entropy), "mse" or "mae" (summed over outputs, mean
            over samples, as in `Problem`), or a function of (outputs, targets) that returns their
            mean loss, e.g. `torch.nn.functional.huber_loss`: sampled.
        train: (X, y), arrays or tensors: inputs (N, …), and labels (N,) from 0, or targets.
        test: (X, y), likewise.
        rmsprop: Settings of the descents.
        batch: Samples a step.
        buffers: Whether running statistics are part of θ.
        initial: Draws a start θ from a generator; by default every layer's `reset_parameters`.

    Attributes:
        certified: Whether `max_gamma` proves.
        reason: What stands in the way, or None.
        frozen: Names of tensors outside of θ.

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
        if not callable(loss) and loss not in LOSSES:
            raise NconvexError(
                f"loss {shown(loss)} is unknown; choose from {', '.join(LOSSES)}, or give a "
                "function of (outputs, targets)"
            )
        require_integer("batch", batch, 1)
        self.loss_name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
        self.rmsprop, self._initial, self._loss = settings(rmsprop), initial, loss
        self.quantity = "the share of errors" if loss == "error" else "loss"
        self.highest = 1.0 if loss == "error" else np.inf
        self.module = deepcopy(module).cpu().double().eval()
        self._layout, self.frozen = _layout(self.module, buffers)
        self._n_trained = sum(
            size
            for name, (_, size) in zip(self._layout, self._sizes, strict=True)
            if name in dict(self.module.named_parameters())
        )
        self.X, self.y = self._checked("train", train)
        self.X_test, self.y_test = self._checked("test", test)
        self.batch = min(batch, len(self.X))

    @property
    def _sizes(self) -> list[tuple[torch.Size, int]]:
        return [(shape, shape.numel()) for shape in self._layout.values()]

    @property
    def n_parameters(self) -> int:
        """P, the size of θ."""
        return sum(size for _, size in self._sizes)

    @property
    def _labelled(self) -> bool:
        return self._loss in ("cross-entropy", "error")

    def __repr__(self) -> str:
        how = "certified" if self.certified else f"sampled: {self.reason}"
        frozen = f", frozen: {', '.join(self.frozen)}" if self.frozen else ""
        kind = type(self.module).__name__
        return (
            f"TorchLandscape({kind}, {self.n_parameters} numbers, {self.loss_name}{frozen}; {how})"
        )

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_proof", "_module32")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

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
        state = {**self.module.state_dict(), **self._tensors(torch.from_numpy(theta))}
        try:
            module.load_state_dict(state)
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
        with _seeded(rng):
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

    def _checked(self, name: str, pair: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
        """Inputs and targets as tensors that fit the module."""
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise NconvexError(f"{name} must be a pair (X, y), not {shown(pair)}")
        X, y = (numbers(f"{name}[{k}]", _plain(part)) for k, part in enumerate(pair))
        if X.ndim == 0 or y.ndim == 0 or len(X) != len(y) or len(X) == 0:
            raise NconvexError(
                f"{name} has inputs of shape {X.shape} and targets of shape {y.shape}; both must "
                "begin with N ≥ 1 samples"
            )
        for k, part in enumerate((X, y)):
            require_finite(f"{name}[{k}]", part)
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
        return inputs, self._targets(f"{name}[1]", y, outputs)

    def _targets(self, name: str, y: np.ndarray, outputs: Tensor) -> Tensor:
        """Labels as integers, targets in the shape of the outputs."""
        if self._labelled:
            classes = outputs.shape[-1]
            if outputs.ndim != 2 or classes < 2:
                raise NconvexError(
                    f"{self.loss_name} needs outputs of shape (N, classes), not "
                    f"(N, {', '.join(map(str, outputs.shape[1:]))})"
                )
            whole = y.ndim == 1 and (y == np.rint(y)).all() and 0 <= y.min() <= y.max() < classes
            if not whole:
                raise NconvexError(
                    f"{name} must be N labels from 0 to {classes - 1}, not {y.dtype} of shape "
                    f"{y.shape} from {y.min():g} to {y.max():g}"
                )
            return torch.from_numpy(y.astype(np.int64))
        if isinstance(self._loss, str):
            if y[0].size != outputs[0].numel():
                raise NconvexError(
                    f"{name} has shape {y.shape}; the module's outputs need "
                    f"{(len(y), *outputs.shape[1:])}"
                )
            y = y.reshape(len(y), *outputs.shape[1:])
        return torch.from_numpy(y)

    @cached_property
    def _chunk(self) -> int:
        """Samples that are evaluated at once."""
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
            return float(_by_sample(self.loss_name, outputs, self.y_test).numpy().mean())

    def loss(self, theta: np.ndarray) -> float:
        """Return the loss on the test set for θ (P,), in float64."""
        theta = require_theta("theta", theta, self.n_parameters)
        return self._test_loss(self.module, self._tensors(torch.from_numpy(theta)), self.X_test)

    def gamma(self, theta1: np.ndarray, theta2: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Equation (2) on the test set, at each t (T,)."""
        theta1, theta2 = require_ends(theta1, theta2, self.n_parameters)
        return np.array([self.loss(interpolate(theta1, theta2, s)) for s in require_t(t)])

    # -- Descents ---------------------------------------------------------------------------------

    @cached_property
    def _module32(self) -> nn.Module:
        return deepcopy(self.module).float() if self._labelled else deepcopy(self.module)

    @contextmanager
    def _training(self, rng: np.random.Generator) -> Iterator[nn.Module]:
        """The module that descends: in training mode, but for layers with frozen buffers."""
        module = deepcopy(self._module32).train()
        for name, layer in module.named_modules():
            if any(
                f"{name}.{b}".lstrip(".") in self.frozen
                for b, _ in layer.named_buffers(recurse=False)
            ):
                layer.eval()
        with _one_thread(), _seeded(rng):
            yield module

    def _gradients(
        self, module: nn.Module, tensors: dict[str, Tensor], X: Tensor, samples: Tensor
    ) -> Tensor:
        """The gradient of one minibatch's loss with respect to the parameters in θ."""
        leaves = [part for part in tensors.values() if part.requires_grad]
        outputs = functional_call(module, tensors, (X[samples],))
        y = self.y[samples]
        if isinstance(self._loss, str):
            name = "cross-entropy" if self._labelled else self.loss_name
            loss = _by_sample(
                name, outputs, y.to(outputs.dtype) if not self._labelled else y
            ).mean()
        else:
            loss = self._loss(outputs, y)
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        filled = [
            torch.zeros_like(leaf) if part is None else part
            for leaf, part in zip(leaves, found, strict=True)
        ]
        return torch.cat([part.reshape(-1) for part in filled])

    def _leaves(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of θ of which the parameters ask for a gradient."""
        tensors = self._tensors(theta)
        for name, _ in self.module.named_parameters():
            if name in tensors:
                tensors[name].requires_grad_()
        return tensors

    def _in_training(self, X: Tensor) -> Tensor:
        return X.float() if self._labelled and X.is_floating_point() else X

    def gradient(self, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the gradient on one minibatch, (P,), drawn with `rng`; zero for buffers."""
        theta = require_theta("theta", theta, self.n_parameters)
        result = np.zeros(self.n_parameters)
        samples = torch.from_numpy(rng.integers(len(self.X), size=self.batch))
        with self._training(rng) as module:
            w = torch.from_numpy(theta.copy()).to(next(module.parameters()).dtype)
            g = self._gradients(module, self._leaves(w), self._in_training(self.X), samples)
        result[: self._n_trained] = g.double().numpy()
        return result

    def descend(self, theta: np.ndarray, target: float, rng: np.random.Generator) -> Descent:
        """Run minibatch RMSProp until the loss on the test set is at most `target`."""
        require_number("target", target)
        require_kind("rng", rng, np.random.Generator, "np.random.default_rng(0)")
        theta = require_theta("theta", theta, self.n_parameters)
        with self._training(rng) as module:
            return self._descend(module, theta, target, rng)

    def _descend(
        self, module: nn.Module, theta: np.ndarray, target: float, rng: np.random.Generator
    ) -> Descent:
        rate, shrink, decay, epsilon, check_every = self.rmsprop.numbers
        X, X_test = self._in_training(self.X), self._in_training(self.X_test)
        w = torch.from_numpy(theta.copy()).to(next(module.parameters()).dtype)
        tensors, trained = self._leaves(w), w[: self._n_trained]
        mean_square = torch.zeros_like(trained)
        wanted = target * (1.0 - FLOAT32_ROUNDING) if self._labelled else target
        batches: list[Tensor] = []
        for step in range(self.rmsprop.budget + 1):
            over = step == self.rmsprop.budget
            if step % check_every == 0 or over:
                reached = self._test_loss(self._module32, tensors, X_test)
                if over or not wanted < reached < np.inf:
                    found = w.double().numpy().copy()
                    if not np.isfinite(found).all():
                        return Descent(theta.copy(), np.inf, step, DescentStatus.DIVERGED)
                    loss = self.loss(found)
                    if over or not target < loss < np.inf:
                        return Descent(found, loss, step, descent_status(loss, target))
                    wanted -= 2.0 * (loss - target)  # float32 saw it lower than it is
            if not batches:
                order = torch.from_numpy(rng.permutation(len(X)))
                batches = [b for b in order.split(self.batch) if len(b) == self.batch][::-1]
            g = self._gradients(module, tensors, X, batches.pop())
            with torch.no_grad():
                mean_square.mul_(decay).addcmul_(g, g, value=1.0 - decay)
                trained.addcdiv_(g, mean_square.sqrt() + epsilon, value=-rate * shrink**step)
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

    def max_gamma(self, theta1: np.ndarray, theta2: np.ndarray, L0: float) -> Peak:
        """Prove that γ stays below L₀ on the test set, or else bracket its maximum.

        See `certify.maximum`; if the landscape is not `certified`, the peak is sampled.
        """
        return self._bracket(theta1, theta2, L0, None)

    def bracket(self, theta1: np.ndarray, theta2: np.ndarray, gap: float = 1e-3) -> Peak:
        """Bracket max γ on the test set to a relative gap, with proof if `certified`."""
        return self._bracket(theta1, theta2, -np.inf, gap)


def _plain(part: Any) -> Any:
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else part


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


def _by_sample(loss: str, outputs: Tensor, y: Tensor) -> Tensor:
    """Each sample's loss, (N,)."""
    if loss == "cross-entropy":
        return F.cross_entropy(outputs, y, reduction="none")
    if loss == "error":
        own = outputs.gather(1, y[:, None])
        others = outputs.scatter(1, y[:, None], -torch.inf).amax(1)
        return (~(own[:, 0] > others)).to(outputs.dtype)
    residuals = (outputs - y).flatten(1)
    return (residuals.square() if loss == "mse" else residuals.abs()).sum(1)


# -- PyTorch's global settings, changed for a while -----------------------------------------------

_lock = threading.Lock()
_alone = {"calls": 0, "threads": 0}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of gradients are split among threads; with one, their bits are always the same."""
    with _lock:
        if _alone["calls"] == 0:
            _alone["threads"] = torch.get_num_threads()
            torch.set_num_threads(1)
        _alone["calls"] += 1
    try:
        yield
    finally:
        with _lock:
            _alone["calls"] -= 1
            if _alone["calls"] == 0:
                torch.set_num_threads(_alone["threads"])


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """PyTorch's own generator, seeded by `rng`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        yield
