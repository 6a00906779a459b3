"""How long proofs of PyTorch modules take, beside a grid of 101 points on the same segment.

    python benchmarks/modules.py [net ...] [--threads N]

Trains two networks, connects them, and decides each segment against L0 again. Every segment is also
evaluated at 1,001 points by the module itself: no point may lie above the bound. A path is kept in
`<net>.npz` in the current folder and read from there the next time.
"""

import argparse
import time
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import nconvex as nc
from nconvex.adapters import bounds
from nconvex.adapters.pytorch import TorchLandscape
from nconvex.data import digits


def conv(n_in, n_out, stride=1, size=3, bias=True):
    """A convolution that keeps the size of images, but for its stride."""
    return nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=bias)


class Residual(nn.Module):
    """relu(x + f(x)) with batch normalization."""

    def __init__(self, n):
        super().__init__()
        self.f = nn.Sequential(
            *(conv(n, n, bias=False), nn.BatchNorm2d(n), nn.ReLU()),
            *(conv(n, n, bias=False), nn.BatchNorm2d(n)),
        )

    def forward(self, x):
        """Add and rectify."""
        return torch.relu(x + self.f(x))


def mlp():
    """Two hidden layers with batch normalization."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 10)),
    )


def cnn2():
    """Two convolutions and a dense layer."""
    return nn.Sequential(
        *(conv(1, 8), nn.ReLU(), conv(8, 8, 2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(128, 23), nn.ReLU(), nn.Linear(23, 10)),
    )


def cnn3():
    """Three convolutions, two poolings, two dense layers."""
    return nn.Sequential(
        *(conv(1, 16), nn.ReLU(), nn.MaxPool2d(2), conv(16, 24), nn.ReLU(), nn.AvgPool2d(2)),
        *(conv(24, 24), nn.ReLU(), nn.Flatten(), nn.Linear(96, 24), nn.ReLU(), nn.Linear(24, 10)),
    )


def residual():
    """A residual network with batch normalization."""
    return nn.Sequential(
        *(conv(1, 8, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Residual(8)),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )


def large():
    """10⁵ weights, for MNIST's images."""
    return nn.Sequential(
        *(conv(1, 16, 2, 5), nn.ReLU(), conv(16, 32, 2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(1568, 60), nn.ReLU(), nn.Linear(60, 10)),
    )


#: Each network and its threshold.
NETS = {"mlp": (mlp, 0.3), "cnn2": (cnn2, 0.3), "cnn3": (cnn3, 0.3), "residual": (residual, 0.3),
        "large": (large, 0.5)}  # fmt: skip


def landscape(net):
    """500 images of digits to test on, or 1,000 of MNIST's subset."""
    if net is large:
        data = digits.load("subset")
        train, test = (
            (X.reshape(-1, 1, 28, 28) / 255.0, y)
            for X, y in ((data.X, data.labels), (data.X_test, data.labels_test))
        )
    else:
        X, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(X))
        X, y = X[order].reshape(-1, 1, 8, 8) / 16.0, y[order]
        train, test = (X[500:], y[500:]), (X[:500], y[:500])
    rmsprop = nc.RMSProp(1e-3, 1e-4, budget=3000, check_every=20)
    torch.manual_seed(0)
    return TorchLandscape(net(), "cross-entropy", train, test, rmsprop, buffers=True)


def path(name, surface, L0):
    """A path from the file, or a new one."""
    file = Path(f"{name}.npz")
    if not file.exists():
        a, b = (nc.train(surface, L0=0.8 * L0, seed=seed, max_starts=2).theta for seed in (1, 2))
        start = time.process_time()
        string = nc.connect(surface, a, b, L0=L0, alpha=0.7, depth=4)
        print(f"{name}: {string.status.value}, {time.process_time() - start:.0f} s", flush=True)
        string.save(file)
    return nc.load_string(file)


def independent(surface, left, right, t):
    """The loss at Θ(t), by the module itself."""
    module = surface.load_into(deepcopy(surface.module), left * (1.0 - t) + right * t)
    with torch.no_grad():
        return float(F.cross_entropy(module(surface.X_test), surface.y_test))


def measure(name, threads):
    """Print a line for each segment."""
    torch.set_num_threads(threads)
    net, L0 = NETS[name]
    surface = landscape(net)
    string, calls, was = path(name, surface, L0), [], bounds.Proof.enclose
    bounds.Proof.enclose = lambda self, at: calls.append(0) or was(self, at)
    print(f"{name}: {surface.n_parameters} weights, {len(surface.X_test)} images, "
          f"{threads} threads; wall seconds (processor seconds)")  # fmt: skip
    for k, (left, right) in enumerate(pairwise(string.beads)):
        calls.clear()
        clocks = [(time.perf_counter(), time.process_time())]
        peak = surface.max_gamma(left, right, L0)
        clocks.append((time.perf_counter(), time.process_time()))
        surface.gamma(left, right, np.linspace(0.0, 1.0, 101))
        clocks.append((time.perf_counter(), time.process_time()))
        (proof, proof_cpu), (grid, grid_cpu) = (
            [b - a for a, b in zip(*ends, strict=True)] for ends in pairwise(clocks)
        )
        dense = [independent(surface, left, right, t) for t in np.linspace(0.0, 1.0, 1001)]
        print(f"  segment {k}: {len(calls)} intervals, {proof:.2f} ({proof_cpu:.2f}); grid "
              f"{grid:.2f} ({grid_cpu:.2f}), ratio {proof_cpu / grid_cpu:.2f}; "
              f"{max(dense):.6f} at 1,001 points, bounds [{peak.lower:.6f}, {peak.upper:.6f}]: "
              f"{'holds' if max(dense) <= peak.upper else 'VIOLATED'}", flush=True)  # fmt: skip
    bounds.Proof.enclose = was


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="net")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for chosen in arguments.nets:
        measure(chosen, arguments.threads)
