"""The surveys of the paper and of this package, ready to run, and what the paper published.

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

from nconvex.definitions import RMSProp, require_choice
from nconvex.kernels.parts import HUBER_DELTA
from nconvex.survey.pairs import Setting, Survey, grid
from nconvex.tasks.mnist import settings as mnist_settings


@dataclass(frozen=True)
class Published:
    """One point of the published figure; bars are of unknown meaning.

    Attributes:
        L0: Threshold.
        beads: As published, both ends counted, at least 3.
        beads_bar: Half length of its bar.
        normalized_length: As published, biases left out (these networks have none).
        normalized_length_bar: Half length of its bar.
    """

    L0: float
    beads: float
    beads_bar: float
    normalized_length: float
    normalized_length_bar: float

    @property
    def inserted(self) -> float:
        """Beads without the two ends, comparable with ours, but never below 1."""
        return self.beads - 2.0


#: Read off the figure of arXiv:1611.01540, good to about three digits; by task.
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "quadratic": (
        Published(0.001, 62.43, 5.9, 1.863, 0.15),
        Published(0.0025, 38.34, 4.7, 1.753, 0.14),
        Published(0.005, 23.45, 2.4, 1.661, 0.13),
        Published(0.0075, 18.76, 2.0, 1.65, 0.12),
        Published(0.01, 13.83, 1.4, 1.476, 0.1),
        Published(0.025, 8.167, 0.66, 1.329, 0.073),
        Published(0.05, 6.812, 0.55, 1.366, 0.089),
        Published(0.075, 5.4, 0.4, 1.291, 0.066),
        Published(0.1, 5.036, 0.33, 1.346, 0.069),
        Published(0.125, 3.98, 0.24, 1.27, 0.049),
    ),
    "authors-cubic": (
        Published(0.01, 46.33, 2.7, 1.872, 0.082),
        Published(0.02, 27.29, 1.9, 1.688, 0.076),
        Published(0.03, 18.72, 1.1, 1.508, 0.06),
        Published(0.04, 15.91, 0.92, 1.447, 0.045),
        Published(0.05, 14.05, 0.79, 1.428, 0.047),
        Published(0.06, 12.43, 0.69, 1.435, 0.044),
        Published(0.07, 10.86, 0.58, 1.418, 0.045),
        Published(0.08, 9.503, 0.55, 1.394, 0.041),
        Published(0.1, 7.608, 0.62, 1.382, 0.057),
        Published(0.12, 5.96, 0.5, 1.375, 0.055),
        Published(0.14, 4.52, 0.33, 1.422, 0.056),
        Published(0.15, 3.74, 0.29, 1.657, 0.091),
        Published(0.152, 3.79, 0.28, 1.783, 0.12),
        Published(0.154, 3.598, 0.24, 1.989, 0.12),
        Published(0.156, 3.601, 0.3, 2.415, 0.13),
        Published(0.158, 3.43, 0.21, 2.538, 0.15),
        Published(0.16, 3.277, 0.079, 2.278, 0.069),
        Published(0.162, 3.23, 0.11, 1.87, 0.082),
        Published(0.164, 3.08, 0.049, 1.523, 0.065),
        Published(0.168, 3.16, 0.11, 1.006, 0.0031),
        Published(0.17, 3.15, 0.087, 1.004, 0.0016),
        Published(0.18, 3.16, 0.093, 1.005, 0.0021),
        Published(0.2, 3.2, 0.12, 1.004, 0.002),
        Published(0.24, 3.26, 0.11, 1.004, 0.0015),
        Published(0.32, 3.105, 0.06, 1.003, 0.001),
    ),
}

#: Connected pairs from which on a mean is compared with a published one.
ENOUGH = 10

#: Accepted multiples of L0 in the comparison with the published figures: strict, the authors'.
ACCEPTED = (1.0, 1.1)


@dataclass(frozen=True)
class Preset:
    """A survey that is ready to run.

    Attributes:
        about: One line.
        settings: What is surveyed.
        pairs: Pairs a setting.
    """

    about: str
    settings: tuple[Setting, ...]
    pairs: int


def preset(name: str) -> Preset:
    """Return a preset by its name."""
    require_choice("preset", name, PRESETS)
    return PRESETS[name]


def published(settings: tuple[Setting, ...]) -> tuple[Published, ...]:
    """Return the published points that settings can be compared with, none for most."""
    first = settings[0]
    return PUBLISHED.get(first.task, ()) if first.activation == "authors" else ()


def comparison(survey: Survey) -> str:
    """Return our means beside the published ones, threshold by threshold, as a Markdown table.

    "Agree" means that the published value lies within our 95 % interval widened by its own bar;
    of fewer than `ENOUGH` connected pairs nothing is said. Without any published points the table
    is empty.
    """
    points = {point.L0: point for point in published(survey.settings)}
    lines = [
        "| L0 | accepted / L0 | connected | beads | published - 2 | difference | "
        "normalized length | published | difference |",
        "|---" * 9 + "|",
    ]
    for setting, row in zip(survey.settings, survey.aggregates(), strict=True):
        if (point := points.get(setting.L0)) is None:
            continue
        cells = [f"{setting.L0:g}", f"{setting.accept:g}", f"{row['connected']}/{row['pairs']}"]
        for name, value, bar, digits in (
            ("beads", point.inserted, point.beads_bar, 1),
            ("normalized_length", point.normalized_length, point.normalized_length_bar, 3),
        ):
            mean, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
            if math.isnan(mean):
                cells += ["-", f"{value:.{digits}f} ± {bar:.2g}", "-"]
                continue
            agree = row["connected"] >= ENOUGH and low - bar <= value <= high + bar
            known = ", agree" if agree else ", too few" if row["connected"] < ENOUGH else ""
            interval = "" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
            cells += [
                f"{mean:.{digits}f}{interval}",
                f"{value:.{digits}f} ± {bar:.2g}",
                f"{100.0 * (mean / value - 1.0):+.0f} %{known}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _paper(task: str) -> tuple[Setting, ...]:
    return tuple(
        setting
        for point in PUBLISHED[task]
        for setting in grid(
            Setting(
                task,
                "authors",
                "mae",
                L0=point.L0,
                alpha=0.95,
                insert="midpoint",
                rmsprop=PAPER_ENDS,
                bead_rmsprop=PAPER_BEADS,
            ),
            accept=ACCEPTED,
        )
    )


def _matched(sigma: float) -> tuple[Setting, ...]:
    assert sigma < HUBER_DELTA
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
