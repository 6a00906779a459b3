"""Minibatch RMSProp on a PyTorch module, with the same bits for the same generator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


def by_sample(loss: str, outputs: Tensor, y: Tensor) -> Tensor:
    """Each sample's loss, (N,)."""
    if loss == "cross-entropy":
        return F.cross_entropy(outputs, y, reduction="none")
    if loss == "error":
        own = outputs.gather(1, y[:, None])
        others = outputs.scatter(1, y[:, None], -torch.inf).amax(1)
        return (~(own[:, 0] > others)).to(outputs.dtype)
    residuals = (outputs - y).flatten(1)
    return (residuals.square() if loss == "mse" else residuals.abs()).sum(1)


def gradient(
    module: nn.Module,
    tensors: dict[str, Tensor],
    leaves: list[Tensor],
    loss: Any,
    X: Tensor,
    y: Tensor,
) -> Tensor:
    """The gradient of a batch's loss with respect to leaves among a module's tensors, flat.

    With the loss "error" it is the cross-entropy's.
    """
    outputs = functional_call(module, tensors, (X,))
    if callable(loss):
        height = loss(outputs, y)
    else:
        height = by_sample("cross-entropy" if loss == "error" else loss, outputs, y).mean()
    found = torch.autograd.grad(height, leaves, allow_unused=True)
    filled = [
        torch.zeros_like(leaf) if part is None else part
        for leaf, part in zip(leaves, found, strict=True)
    ]
    return torch.cat([part.reshape(-1) for part in filled])


def batches(samples: int, batch: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Minibatches without end: each epoch in a new order, what does not fill one left out."""
    while True:
        order = torch.from_numpy(rng.permutation(samples))
        yield from (part for part in order.split(batch) if len(part) == batch)


#: PyTorch's generator and number of threads are the process's, so that descents take turns.
_turn = threading.RLock()


@contextmanager
def alone(rng: np.random.Generator) -> Iterator[None]:
    """Seed PyTorch's own generator by `rng` for a while, on one thread.

    Sums of gradients are split among threads; with one, their bits are always the same.
    """
    with _turn, torch.random.fork_rng(devices=[]):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.manual_seed(int(rng.integers(2**63)))
        try:
            yield
        finally:
            torch.set_num_threads(threads)
