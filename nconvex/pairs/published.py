"""The paper's published results, beside which a survey's are shown.

The bars of the published figure are of unknown meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nconvex.pairs.records import Survey, estimate, markdown
from nconvex.pairs.setting import Setting


@dataclass(frozen=True)
class Published:
    """One point of the published figure.

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
        Published(0.001, 62.43, 5.9, 1.863, 0.15), Published(0.0025, 38.34, 4.7, 1.753, 0.14),
        Published(0.005, 23.45, 2.4, 1.661, 0.13), Published(0.0075, 18.76, 2.0, 1.65, 0.12),
        Published(0.01, 13.83, 1.4, 1.476, 0.1), Published(0.025, 8.167, 0.66, 1.329, 0.073),
        Published(0.05, 6.812, 0.55, 1.366, 0.089), Published(0.075, 5.4, 0.4, 1.291, 0.066),
        Published(0.1, 5.036, 0.33, 1.346, 0.069), Published(0.125, 3.98, 0.24, 1.27, 0.049),
    ),
    "authors-cubic": (
        Published(0.01, 46.33, 2.7, 1.872, 0.082), Published(0.02, 27.29, 1.9, 1.688, 0.076),
        Published(0.03, 18.72, 1.1, 1.508, 0.06), Published(0.04, 15.91, 0.92, 1.447, 0.045),
        Published(0.05, 14.05, 0.79, 1.428, 0.047), Published(0.06, 12.43, 0.69, 1.435, 0.044),
        Published(0.07, 10.86, 0.58, 1.418, 0.045), Published(0.08, 9.503, 0.55, 1.394, 0.041),
        Published(0.1, 7.608, 0.62, 1.382, 0.057), Published(0.12, 5.96, 0.5, 1.375, 0.055),
        Published(0.14, 4.52, 0.33, 1.422, 0.056), Published(0.15, 3.74, 0.29, 1.657, 0.091),
        Published(0.152, 3.79, 0.28, 1.783, 0.12), Published(0.154, 3.598, 0.24, 1.989, 0.12),
        Published(0.156, 3.601, 0.3, 2.415, 0.13), Published(0.158, 3.43, 0.21, 2.538, 0.15),
        Published(0.16, 3.277, 0.079, 2.278, 0.069), Published(0.162, 3.23, 0.11, 1.87, 0.082),
        Published(0.164, 3.08, 0.049, 1.523, 0.065), Published(0.168, 3.16, 0.11, 1.006, 0.0031),
        Published(0.17, 3.15, 0.087, 1.004, 0.0016), Published(0.18, 3.16, 0.093, 1.005, 0.0021),
        Published(0.2, 3.2, 0.12, 1.004, 0.002), Published(0.24, 3.26, 0.11, 1.004, 0.0015),
        Published(0.32, 3.105, 0.06, 1.003, 0.001),
    ),
}  # fmt: skip

#: Connected pairs from which on a mean is compared with a published one.
ENOUGH = 10


def published(settings: Sequence[Setting]) -> tuple[Published, ...]:
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
    rows = [["L0", "accepted / L0", "connected", "beads", "published - 2", "difference",
             "normalized length", "published", "difference"]]  # fmt: skip
    for setting, row in zip(survey.settings, survey.aggregates(), strict=True):
        if not published([setting]) or (point := points.get(setting.L0)) is None:
            continue
        cells = [f"{setting.L0:g}", f"{setting.accept:g}", f"{row['connected']}/{row['pairs']}"]
        for name, value, bar, digits in (
            ("beads", point.inserted, point.beads_bar, 1),
            ("normalized_length", point.normalized_length, point.normalized_length_bar, 3),
        ):
            difference = "-"
            if row["connected"]:
                low, high = row[f"{name}_low"] - bar, row[f"{name}_high"] + bar
                agree = ", agree" if low <= value <= high else ""
                known = agree if row["connected"] >= ENOUGH else ", too few"
                difference = f"{100.0 * (row[name] / value - 1.0):+.0f} %{known}"
            cells += [estimate(row, name, digits), f"{value:.{digits}f} ± {bar:.2g}", difference]
        rows.append(cells)
    return markdown(rows) if len(rows) > 1 else ""
