"""The surveys of the paper and of this package, ready to run.

``paper-quadratic`` and ``paper-cubic`` repeat the published experiments: sigmoid on every layer,
the output too, no biases, mean absolute error, beads inserted at the midpoint and trained to
0.95 L₀, depth 10; each both strictly and with the accepted multiple 1.1 of the authors' code.
Departures: our RMSProp, with a bounded budget, for their unbounded Adam; 1,000 points for their
10,000; and paths are proven, not sampled at some t, to stay below what is accepted.

The others are in the draft's own setting: ReLU, RMSProp, insertion at t*, strict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from nconvex.definitions import RMSProp
from nconvex.pairs.published import PUBLISHED
from nconvex.pairs.setting import Setting, grid
from nconvex.tasks.mnist import settings as mnist_settings

#: Accepted multiples of L0 in the comparison with the published figures: strict, the authors'.
ACCEPTED = (1.0, 1.1)


@dataclass(frozen=True)
class Preset:
    """A survey that is ready to run.

    Attributes:
        about: One line.
        settings: What is surveyed.
        pairs: Pairs of each setting.
    """

    about: str
    settings: tuple[Setting, ...]
    pairs: int


def _paper(task: str) -> tuple[Setting, ...]:
    base = Setting(
        task, "authors", "mae", alpha=0.95, insert="midpoint", rmsprop=PAPER_ENDS,
        bead_rmsprop=PAPER_BEADS,
    )  # fmt: skip
    return grid(base, L0=[point.L0 for point in PUBLISHED[task]], accept=ACCEPTED)


def _matched(sigma: float) -> tuple[Setting, ...]:
    """Each loss at the threshold that residuals of sigma, well below Huber's corner, stand for."""
    thresholds = {
        "mse": sigma**2,
        "mae": sigma * math.sqrt(2.0 / math.pi),
        "huber": 0.5 * sigma**2,
        "log-cosh": 0.5 * sigma**2,
    }
    return tuple(Setting(loss=loss, L0=float(f"{L0:.6g}")) for loss, L0 in thresholds.items())


def _compared(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """Each setting with the plain sampler, and with the reviving one at its defaults."""
    return tuple(
        each
        for setting in settings
        for each in (setting, replace(setting, sampler="revive", alpha=0.9, depth=14))
    )


#: Large steps at first, since losses fall slowly between sigmoids; the beads' are smaller, as they
#: should end near where they start.
PAPER_ENDS = RMSProp(3e-2, 1e-5, budget=100_000)
PAPER_BEADS = RMSProp(5e-3, 1e-4, budget=50_000)

#: For the draft's thresholds, from easy ones down to where many pairs are not connected.
THRESHOLDS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)

_MNIST = Setting("mnist", loss="loss", hidden=(256,), rmsprop=mnist_settings(1000))

PRESETS = {
    "paper-quadratic": Preset(
        "the quadratic as published, strictly and with 1.1 L0 accepted", _paper("quadratic"), 100
    ),
    "paper-cubic": Preset(
        "the cubic as published, strictly and with 1.1 L0 accepted", _paper("authors-cubic"), 100
    ),
    "quadratic": Preset("ReLU networks on the quadratic", grid(L0=THRESHOLDS), 100),
    "cubic": Preset("ReLU networks on the cubic", grid(task="cubic", L0=THRESHOLDS), 100),
    "mnist": Preset(
        "784-256-10 networks on the subset of MNIST: cross-entropy and error",
        (
            *grid(_MNIST, L0=(0.5, 0.4, 0.3, 0.27)),
            *grid(_MNIST, loss="error", L0=(0.15, 0.1, 0.085, 0.075)),
        ),
        20,
    ),
    "alpha": Preset(
        "how far beads are trained down, at three thresholds",
        grid(L0=(1e-3, 3e-4, 1e-4), alpha=(0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)),
        100,
    ),
    "losses": Preset(
        "loss functions at matched accuracy",
        tuple(setting for sigma in (0.06, 0.03, 0.02, 0.01) for setting in _matched(sigma)),
        100,
    ),
    "samplers": Preset(
        "the plain and the reviving sampler, on units of three kinds",
        tuple(
            setting
            for activation in ("relu", "tanh", "sigmoid")
            for setting in _compared(grid(activation=activation, L0=(1e-3, 1e-4, 3e-5)))
        ),
        100,
    ),
    "samplers-mnist": Preset(
        "the same on the subset of MNIST",
        _compared(grid(_MNIST, L0=(0.4, 0.3, 0.27))),
        20,
    ),
    "width": Preset(
        "1-h-h-1 networks at fixed thresholds",
        grid(hidden=[(h, h) for h in (2, 4, 8, 16, 32, 64)], L0=(1e-3, 1e-4)),
        100,
    ),
}
