"""Networks from files of weights: npz files of several layouts, and PyTorch's checkpoints.

Nothing is unpickled, but by PyTorch's reader of tensors alone, and nothing takes more memory than
its file announces.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nconvex.definitions import NconvexError, require_theta, shown
from nconvex.files import read_arrays, require_end
from nconvex.network.mlp import MLP

#: What a file may hold, for the help and for messages.
LAYOUTS = (
    "an npz file with W0, b0, W1, b1, ... (or weights_0, biases_0, ...), each W with one row an "
    "input, biases left out or complete; an npz file with theta beside the problem's description, "
    'np.savez("a.npz", theta=a.theta, **problem.describe()); or a .pt file, '
    'torch.save(net.state_dict(), "a.pt"), of a Sequential of Linear layers'
)

#: The arrays of each layer, in npz files and in a state_dict.
NAMES = re.compile(r"(?:(?P<W>W|weights_)|b|biases_)(?P<layer>\d{1,4})")
TENSORS = re.compile(r"(?P<layer>.*?)\.?(?:(?P<W>weight)|bias)")


def read_network(path: Path, activation: str | None) -> tuple[MLP, np.ndarray]:
    """Read a network and its θ (P,).

    Args:
        path: Of a file of one of `LAYOUTS`.
        activation: Of the hidden units, "relu" if None; a file that names its own must agree.

    Raises:
        NconvexError: The file cannot be read, or is of another layout.
    """
    if path.suffix in (".pt", ".pth"):
        layers = _layers(path, _tensors(path), TENSORS)
        layers = [(W.T, b) for W, b in layers]
    else:
        arrays = read_arrays(path)
        if "theta" in arrays:
            return _described(path, arrays, activation)
        layers = _layers(path, arrays, NAMES)
    return _chained(path, layers, activation or "relu")


def _described(
    path: Path, arrays: Mapping[str, np.ndarray], activation: str | None
) -> tuple[MLP, np.ndarray]:
    """A network by our own names; see `NetworkLandscape.describe`."""
    try:
        own: Any = str(arrays["activation"])
        output: Any = str(arrays.get("output_activation", "identity"))
        biases = bool(arrays.get("biases", True))
        model = MLP(tuple(arrays["sizes"].tolist()), own, output, biases)
        theta = require_theta("theta", arrays["theta"], model.n_parameters)
    except KeyError as error:
        raise NconvexError(f"{path} holds theta, but no {error.args[0]}; give {LAYOUTS}") from None
    except (NconvexError, TypeError, ValueError) as error:
        raise NconvexError(f"{path}: {error}") from None
    if activation not in (None, own):
        raise NconvexError(f"{path} is of {own} units, not {activation}; leave out --activation")
    return model, theta


def _layers(
    path: Path, arrays: Mapping[str, np.ndarray], names: re.Pattern[str]
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Weights and biases by layers; a state_dict has them in order, an npz file numbers them."""
    found: dict[str, dict[bool, np.ndarray]] = {}
    for name, array in arrays.items():
        match = names.fullmatch(name)
        layer = found.setdefault(match["layer"] if match else "", {})
        is_weight = match is not None and match["W"] is not None
        if match is None or is_weight in layer or array.ndim != 1 + is_weight:
            raise NconvexError(
                f"{path} holds {shown(name)} of shape {array.shape}, which is no part of a network "
                f"that is read; give {LAYOUTS}; for other modules see nc.TorchLandscape"
            )
        layer[is_weight] = array
    order = sorted(found, key=int) if names is NAMES else list(found)
    complete = all(True in layer for layer in found.values())
    if not found or not complete or len({len(layer) for layer in found.values()}) > 1:
        raise NconvexError(
            f"{path} holds {shown(', '.join(arrays)) if arrays else 'nothing'}, which are not the "
            f"weights of each layer, with all biases or none; give {LAYOUTS}"
        )
    return [(found[layer][True], found[layer].get(False)) for layer in order]


def _chained(
    path: Path, layers: list[tuple[np.ndarray, np.ndarray | None]], activation: Any
) -> tuple[MLP, np.ndarray]:
    """The network whose layers follow one another."""
    shapes = [W.shape for W, _ in layers]
    sizes = [shapes[0][0], *(shape[1] for shape in shapes)]
    if shapes != list(pairwise(sizes)):
        turned = [shapes[0][1], *(shape[0] for shape in shapes)]
        hint = "one row an input"
        if [shape[::-1] for shape in shapes] == list(pairwise(turned)):
            hint = "they are transposed: save W.T, " + hint
        listed = ", ".join(map(str, shapes))
        raise NconvexError(f"{path}: matrices of shapes {listed} do not follow each other; {hint}")
    biases = [b for _, b in layers if b is not None]
    try:
        model = MLP(sizes, activation, biases=bool(biases))
        return model, model.pack([W for W, _ in layers], biases or None)
    except NconvexError as error:
        raise NconvexError(f"{path}: {error}") from None


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state_dict, as float64."""
    try:
        import torch
    except ModuleNotFoundError:
        raise NconvexError(
            f"{path} needs PyTorch to be read; install nconvex[torch], or save its weights with "
            "np.savez as W0, b0, ..."
        ) from None
    require_end(path)
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(member.compress_type == 0 for member in archive.infolist())
        size = path.stat().st_size
        state = torch.load(path, map_location="cpu", weights_only=True) if stored else None
    except OSError as error:
        raise NconvexError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # of a damaged archive, or of what is more than tensors
        reason = " ".join(str(error).split())
        raise NconvexError(f"{path} holds more than weights, or is damaged ({reason:.80})"
                           f"; give {LAYOUTS}") from None  # fmt: skip
    named = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and not tensor.is_complex()
        for name, tensor in state.items()
    )
    if not named or not state:
        raise NconvexError(f"{path} is no state_dict of real tensors; give {LAYOUTS}")
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise NconvexError(f"{path} announces more numbers than it holds; it is damaged")
    try:
        return {name: tensor.double().numpy() for name, tensor in state.items()}
    except (RuntimeError, TypeError) as error:  # sparse or quantised
        raise NconvexError(
            f"{path}: {' '.join(str(error).split()):.80}; save plain floats"
        ) from None
