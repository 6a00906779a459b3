"""Which rule of `enclosures` each layer of a PyTorch module follows, found by torch.fx."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nconvex.adapters import enclosures as rules
from nconvex.adapters.enclosures import Enclosure, Weights


class NotCertifiable(Exception):
    """A layer stands in the way of a proof; the message names it."""


class Interval:
    """All parameters on an interval [c - r, c + r] of the line between two models.

    Args:
        names: What each tensor of the module is called, by its id.
        ends: Both ends' tensors, by name; the same one twice if it is frozen.
        sizes: max(|θ₁|, |θ₂|) of each.
        c: The centre.
        r: The radius.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        ends: Mapping[str, tuple[Tensor, Tensor]],
        sizes: Mapping[str, Tensor],
        c: float,
        r: float,
    ):
        self.names, self.ends, self.sizes, self.c, self.r = names, ends, sizes, c, r
        self._known: dict[str, Weights] = {}

    def weights(self, tensor: Tensor) -> Weights:
        """What a tensor of the module is on the interval."""
        name = self.names[id(tensor)]
        if name not in self._known:
            one, two = self.ends[name]
            v, d = one, None
            if one is not two:
                v = one * (1.0 - self.c) + two * self.c
                d = self.r * (two - one) if self.r > 0.0 else None
            self._known[name] = Weights(v, d, self.sizes[name])
        return self._known[name]

    def optional(self, tensor: Tensor | None) -> Weights | None:
        """The same, where there may be none."""
        return None if tensor is None else self.weights(tensor)


#: For rules without parameters.
NOWHERE = Interval({}, {}, {}, 0.0, 0.0)

#: Makes a layer's enclosure from that of its input.
Rule = Callable[[Enclosure, Interval], Enclosure]


# -- Modules --------------------------------------------------------------------------------------


def _linear(layer: nn.Linear) -> Rule:
    def rule(x: Enclosure, at: Interval) -> Enclosure:
        weight, bias = at.weights(layer.weight), at.optional(layer.bias)
        return rules.linear(x, F.linear, weight, bias, layer.in_features)

    return rule


def _convolution(layer: nn.Conv1d | nn.Conv2d) -> Rule:
    if layer.padding_mode != "zeros":
        raise NotCertifiable(f"padding_mode={layer.padding_mode!r}")
    convolve: Any = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def rule(x: Enclosure, at: Interval) -> Enclosure:
        return rules.linear(
            x,
            lambda a, W, b: convolve(a, W, b, *settings),
            at.weights(layer.weight),
            at.optional(layer.bias),
            layer.weight[0].numel(),
        )

    return rule


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> Rule:
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise NotCertifiable("batch statistics in evaluation")

    def rule(x: Enclosure, at: Interval) -> Enclosure:
        def by_channel(a: Tensor) -> Tensor:
            return a.view(1, -1, *[1] * (x.v.ndim - 2))

        name = at.names[id(variance)]
        one, two = (by_channel(end) + layer.eps for end in at.ends[name])
        moved = at.ends[name][0] is not at.ends[name][1]
        scale = rules.inverse_root(one, two, at.c, at.r if moved else 0.0)
        if layer.weight is not None:
            scale = rules.multiply(scale, at.weights(layer.weight).map(by_channel).enclosure())
        x = rules.add(x, at.weights(mean).map(by_channel).enclosure(), -1.0)
        x = rules.multiply(x, scale)
        if layer.bias is not None:
            x = rules.add(x, at.weights(layer.bias).map(by_channel).enclosure())
        return x

    return rule


def _rectifier(leak: float, layer: Callable[[Tensor], Tensor]) -> Rule:
    if not 0.0 <= leak <= 1.0:
        raise NotCertifiable(f"a slope of {leak} below zero")
    return lambda x, at: rules.rising_convex(x, layer)


def _gelu(approximate: str) -> Rule:
    if approximate != "none":
        raise NotCertifiable(f"approximate={approximate!r}")
    return lambda x, at: rules.smooth(x, rules.GELU)


def _smooth(phi: rules.Smooth) -> Callable[[Any], Rule]:
    return lambda layer: lambda x, at: rules.smooth(x, phi)


def _max_pool(layer: Any) -> Rule:
    if layer.return_indices:
        raise NotCertifiable("return_indices=True")
    return lambda x, at: rules.rising_convex(x, layer)


def _means(pool: Callable[[Tensor], Tensor], x: Enclosure) -> Enclosure:
    """Pooling by means of at most all of a channel."""
    return rules.mean_pool(x, pool, x.v[0].numel())


def _reshaped(x: Enclosure, f: Callable[[Tensor], Tensor]) -> Enclosure:
    if f(x.v).shape[:1] != x.v.shape[:1]:
        raise NotCertifiable("it mixes samples")
    return x.map(f)


#: What makes the rule of a module of each class, and of no class derived from it.
MODULES: dict[type, Callable[[Any], Rule]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: lambda layer: _rectifier(0.0, torch.relu),
    nn.LeakyReLU: lambda layer: _rectifier(layer.negative_slope, layer),
    nn.Tanh: _smooth(rules.TANH),
    nn.Sigmoid: _smooth(rules.SIGMOID),
    nn.GELU: lambda layer: _gelu(layer.approximate),
    nn.SiLU: _smooth(rules.SILU),
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    **dict.fromkeys(
        (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
        lambda layer: lambda x, at: _means(layer, x),
    ),
    nn.Flatten: lambda layer: lambda x, at: _reshaped(x, layer),
    **dict.fromkeys(
        (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), lambda layer: lambda x, at: x
    ),
}


# -- Functions and methods ------------------------------------------------------------------------


def _add(x: Any, y: Any, alpha: float = 1) -> Enclosure:
    if alpha != 1 or not (isinstance(x, Enclosure) and isinstance(y, Enclosure)):
        raise NotCertifiable("only two layers' outputs can be added")
    if x.v.shape != y.v.shape:
        raise NotCertifiable("the shapes of what is added differ")
    return rules.add(x, y)


def _concatenate(parts: Any, dim: int = 0) -> Enclosure:
    layers = all(isinstance(part, Enclosure) for part in parts)
    if not layers or dim % parts[0].v.ndim == 0:
        raise NotCertifiable("only layers' outputs can be put together, and not along samples")

    def join(name: str) -> Tensor | None:
        given = [getattr(part, name) for part in parts]
        if all(part is None for part in given):
            return None
        filled = [
            torch.zeros_like(whole.v) if part is None else part
            for part, whole in zip(given, parts, strict=True)
        ]
        return torch.cat(filled, dim)

    return Enclosure(*(join(name) for name in Enclosure._fields))


def _view(x: Enclosure, *shape: Any) -> Enclosure:
    wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    new = x.v.reshape(*wanted).shape
    if new[0] != len(x.v):
        raise NotCertifiable("it mixes samples")
    return x.map(lambda a: a.reshape(len(a), *new[1:]))


def _mean(x: Enclosure, *args: Any, **kwargs: Any) -> Enclosure:
    def f(a: Tensor) -> Tensor:
        return a.mean(*args, **kwargs)

    if f(x.v).shape[:1] != x.v.shape[:1]:
        raise NotCertifiable("it mixes samples")
    return _means(f, x)


def _leaky(x: Enclosure, negative_slope: float = 0.01, inplace: bool = False) -> Enclosure:
    rule = _rectifier(negative_slope, lambda a: F.leaky_relu(a, negative_slope))
    return rule(x, NOWHERE)


def _dropout(x: Enclosure, p: float = 0.5, training: bool = True, **kwargs: Any) -> Enclosure:
    if training:
        raise NotCertifiable("it is random in evaluation, too; pass training=self.training")
    return x


def _relu(x: Enclosure, **kwargs: Any) -> Enclosure:
    return rules.rising_convex(x, torch.relu)


def _tanh(x: Enclosure) -> Enclosure:
    return rules.smooth(x, rules.TANH)


def _sigmoid(x: Enclosure) -> Enclosure:
    return rules.smooth(x, rules.SIGMOID)


def _pooled(pool: Callable[..., Tensor]) -> Callable[..., Enclosure]:
    return lambda x, *args, **kwargs: _means(lambda a: pool(a, *args, **kwargs), x)


def _max_pooled(pool: Callable[..., Any]) -> Callable[..., Enclosure]:
    def rule(x: Enclosure, *args: Any, **kwargs: Any) -> Enclosure:
        if kwargs.pop("return_indices", False):
            raise NotCertifiable("return_indices=True")
        return rules.rising_convex(x, lambda a: pool(a, *args, **kwargs))

    return rule


def _flatten(x: Enclosure, start_dim: int = 0, end_dim: int = -1) -> Enclosure:
    return _reshaped(x, lambda a: a.flatten(start_dim, end_dim))


#: What each function does to enclosures; methods by their names.
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), _relu),
    F.leaky_relu: _leaky,
    **dict.fromkeys((F.tanh, torch.tanh, "tanh", "tanh_"), _tanh),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid", "sigmoid_"), _sigmoid),
    F.gelu: lambda x, approximate="none": _gelu(approximate)(x, NOWHERE),
    F.silu: lambda x, **kwargs: rules.smooth(x, rules.SILU),
    F.max_pool1d: _max_pooled(F.max_pool1d),
    F.max_pool2d: _max_pooled(F.max_pool2d),
    F.avg_pool1d: _pooled(F.avg_pool1d),
    F.avg_pool2d: _pooled(F.avg_pool2d),
    F.adaptive_avg_pool1d: _pooled(F.adaptive_avg_pool1d),
    F.adaptive_avg_pool2d: _pooled(F.adaptive_avg_pool2d),
    F.dropout: _dropout,
    **dict.fromkeys((torch.flatten, "flatten"), _flatten),
    **dict.fromkeys(("view", "reshape", torch.reshape), _view),
    **dict.fromkeys((torch.mean, "mean"), _mean),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _add),
    **dict.fromkeys((torch.cat, torch.concat), _concatenate),
    "contiguous": lambda x: x,
    "size": lambda x, *dim: x.v.size(*dim),
    getattr: lambda x, name: x.v.shape if name == "shape" else _refuse(name),
    operator.getitem: lambda x, k: _refuse("slices") if isinstance(x, Enclosure) else x[k],
}


def _refuse(name: str) -> Any:
    raise NotCertifiable(f"{name} cannot be bounded")


# -- A whole module -------------------------------------------------------------------------------


class Program:
    """A module as a sequence of rules.

    Args:
        module: In evaluation mode.

    Attributes:
        head: The last layer, if it is a `Linear` whose outputs are the module's: the loss may
            take differences of its rows before they are bounded.

    Raises:
        NotCertifiable: A layer has no rule.
    """

    def __init__(self, module: nn.Module):
        for name, layer in module.named_modules():
            if layer._forward_hooks or layer._forward_pre_hooks:
                raise NotCertifiable(f"a hook of {_called(name, layer)}")
        try:
            self.graph = fx.Tracer().trace(module)
        except Exception as error:  # control flow on values, unpacking, ...
            reason = " ".join(str(error).split())
            raise NotCertifiable(f"torch.fx cannot trace the module: {reason[:200]}") from None
        self.nodes = list(self.graph.nodes)
        self.rules: dict[fx.Node, Callable[..., Any]] = {}
        inputs = [node for node in self.nodes if node.op == "placeholder"]
        for node in self.nodes:
            if node.op in ("call_module", "call_function", "call_method", "get_attr"):
                self.rules[node] = _rule(node, module)
                _require_unread(node, module, self.nodes)
        self.inputs, self.head = inputs[:1], None
        last = self.nodes[-1].args[0]
        if not isinstance(last, fx.Node):
            raise NotCertifiable("the module returns more than one tensor")
        if last.op == "call_module" and len(last.users) == 1:
            layer = module.get_submodule(str(last.target))
            self.head = layer if type(layer) is nn.Linear else None
        self._last: dict[fx.Node, list[fx.Node]] = {}  # what no later node needs
        seen: set[fx.Node] = set()
        for node in reversed(self.nodes):
            self._last[node] = [n for n in node.all_input_nodes if n not in seen]
            seen |= set(node.all_input_nodes)

    def run(self, x: Tensor, at: Interval, headless: bool = False) -> Enclosure:
        """The enclosure of the module's outputs, or of its head's inputs, for samples x."""
        values: dict[fx.Node, Any] = {}
        for node in self.nodes:
            if node.op == "placeholder":
                exact = Enclosure(x, None, None, torch.zeros_like(x[:1]))
                values[node] = exact if node in self.inputs else node.args[0] if node.args else None
                continue
            given = fx.node.map_arg(node.args, values.__getitem__)
            named = fx.node.map_arg(node.kwargs, values.__getitem__)
            if node.op == "output":
                break
            if headless and self.head is not None and node is self.nodes[-1].args[0]:
                return given[0]
            try:
                if node.op == "call_module":
                    values[node] = self.rules[node](*given, at, **named)
                else:
                    values[node] = self.rules[node](*given, **named)
            except NotCertifiable as error:
                raise NotCertifiable(f"{node.name}: {error}") from None
            for needed in self._last[node]:
                del values[needed]
        return given[0]


def _rule(node: fx.Node, module: nn.Module) -> Callable[..., Any]:
    """The rule of one step of the trace."""
    if node.op == "get_attr":
        raise NotCertifiable(f"the tensor {node.target}, used outside of a known layer")
    if node.op != "call_module":
        if node.target not in FUNCTIONS:
            name = getattr(node.target, "__name__", node.target)
            raise NotCertifiable(f"the function {name} ({node.name})")
        return FUNCTIONS[node.target]
    layer = module.get_submodule(str(node.target))
    called = _called(str(node.target), layer)
    if type(layer) not in MODULES:
        raise NotCertifiable(called)
    try:
        return MODULES[type(layer)](layer)
    except NotCertifiable as error:
        raise NotCertifiable(f"{called}: {error}") from None


#: Whose result may be a view of their argument.
_VIEWS = (
    nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, F.dropout, torch.flatten,
    torch.reshape, "flatten", "view", "reshape", "contiguous",
)  # fmt: skip


def _require_unread(node: fx.Node, module: nn.Module, nodes: list[fx.Node]) -> None:
    """Raise NotCertifiable if a step overwrites what a later one reads."""
    layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    name = getattr(node.target, "__name__", str(node.target))
    overwrites = getattr(layer, "inplace", False) or node.kwargs.get("inplace", False)
    if not (overwrites or node.target is operator.iadd or (layer is None and name[-1] == "_")):
        return
    source: Any = node.args[0]
    while isinstance(source, fx.Node):
        if any(nodes.index(user) > nodes.index(node) for user in source.users):
            raise NotCertifiable(f"{node.name} overwrites what is used again")
        inner = module.get_submodule(str(source.target)) if source.op == "call_module" else None
        is_view = (type(inner) if inner is not None else source.target) in _VIEWS
        source = source.args[0] if is_view else None


def _called(name: str, layer: nn.Module) -> str:
    return f"the layer {name or 'module'} ({type(layer).__name__})"
