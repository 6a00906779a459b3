"""Attack the bounds of PyTorch modules: random nets and intervals against dense evaluation.

    python benchmarks/attack_modules.py [cases] [seed]

Prints how many (net, interval) cases were tried and how many bounds were too low; exits with
status 1 if any was. `tests/adapters` has a short form.
"""

import sys
from collections import Counter

import numpy as np
import torch
from torch import nn

from nconvex.adapters.pytorch import TorchLandscape

LOSSES = ("cross-entropy", "error", "mse", "mae")
CURVES = (nn.ReLU, lambda: nn.LeakyReLU(0.1), nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU)


class Residual(nn.Module):
    """x + f(x), and a curve."""

    def __init__(self, f, curve):
        super().__init__()
        self.f, self.curve = f, curve

    def forward(self, x):
        """Add and bend."""
        return self.curve(x + self.f(x))


def layer(rng, channels):
    """One random layer of (N, channels, h, w) units that keeps all but h and w."""
    kinds = (
        lambda: CURVES[rng.integers(len(CURVES))](),
        lambda: nn.BatchNorm2d(channels, affine=bool(rng.integers(2))),
        lambda: nn.Conv2d(channels, channels, 3, padding=1, bias=bool(rng.integers(2))),
        lambda: nn.Conv2d(
            channels, channels, 2, stride=2, padding=1, groups=int(rng.choice([1, channels]))
        ),
        lambda: nn.MaxPool2d(3, 2, padding=1),
        lambda: nn.AvgPool2d(2, 1, padding=1),
        lambda: Residual(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)),
            CURVES[rng.integers(len(CURVES))](),
        ),
    )
    return kinds[rng.integers(len(kinds))]()


def net(rng):
    """A random convolutional network, or one of dense layers only."""
    curve = CURVES[rng.integers(len(CURVES))]
    if rng.random() < 0.3:
        width = int(rng.integers(2, 9))
        middle = [
            part
            for _ in range(rng.integers(0, 4))
            for part in (nn.Linear(width, width), nn.BatchNorm1d(width), curve())
        ]
        return nn.Sequential(
            nn.Flatten(), nn.Linear(36, width), curve(), *middle, nn.Linear(width, 3)
        )
    channels = int(rng.integers(1, 5))
    middle = [layer(rng, channels) for _ in range(rng.integers(1, 5))]
    head = [nn.AdaptiveAvgPool2d(1)] if rng.integers(2) else []
    last = [curve()] if rng.random() < 0.2 else []
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), *middle, *head, nn.Flatten(), nn.LazyLinear(3), *last
    )


def draw(rng):
    """A random landscape and two ends of a segment."""
    torch.manual_seed(int(rng.integers(2**32)))
    module, samples = net(rng).eval(), int(rng.integers(1, 7))
    module(torch.zeros(2, 1, 6, 6))
    loss = LOSSES[rng.integers(4)]
    X = 10.0 ** rng.uniform(-1, 1) * rng.normal(size=(samples, 1, 6, 6))
    y = rng.integers(0, 3, samples) if loss in LOSSES[:2] else rng.normal(size=(samples, 3))
    landscape = TorchLandscape(module, loss, (X, y), (X, y), buffers=bool(rng.integers(2)))
    start, scale, ends = landscape.theta_of(module), 10.0 ** rng.uniform(-2, 1), []
    for _ in range(2):
        theta = start + scale * rng.normal(size=start.size) * (np.abs(start) + 0.1)
        for name, part in landscape._tensors(torch.from_numpy(theta)).items():
            if name.endswith("running_var"):
                part.abs_()
        ends.append(theta)
    return landscape, *ends


def violated(landscape, theta1, theta2, rng, points=17):
    """Try one random interval; tell whether a point of it lies above its bound."""
    r = 2.0 ** -int(rng.integers(2, 13))
    c = r * (1 + 2 * int(rng.integers(int(0.5 / r))))
    proof = landscape._proof
    one, two = (landscape._tensors(torch.from_numpy(theta)) for theta in (theta1, theta2))
    sizes = proof._interval(one, two, {}, 0.0, 0.0).sizes
    value, bound, sigma = proof.enclose(proof._interval(one, two, sizes, c, r))
    t = np.concatenate([np.linspace(c - r, c + r, points), rng.uniform(c - r, c + r, 4)])
    dense = landscape.gamma(theta1, theta2, t)
    dense = dense[np.isfinite(dense)]
    own = 1e-12 * (1.0 + dense)
    return bool((dense > bound + sigma + own).any()) or value - sigma > landscape.gamma(
        theta1, theta2, np.array([c])
    )[0] * (1 + 1e-12)


def main(cases=20_000, seed=0):
    """Run; returns the number of violations."""
    torch.set_num_threads(1)
    rng, found, done, kinds = np.random.default_rng(seed), 0, 0, Counter()
    while done < cases:
        case = draw(rng)
        assert case[0].certified, case[0].reason
        kinds.update(
            {type(part).__name__ for part in case[0].module.modules()} | {case[0].loss_name}
        )
        for _ in range(min(6, cases - done)):
            done += 1
            if violated(*case, rng):
                found += 1
                print(f"violated: case {done}, {case[0]!r}", flush=True)
        if done % 3000 < 6:
            print(done, found, flush=True)
    print(f"{done} cases, {found} violations; nets with {dict(kinds)}")
    return found


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
