"""What figures have in common. Colours are Okabe and Ito's, which the colour-blind tell apart."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot  # noqa: F401 - registers how notebooks show a Figure

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
GREY = "#777777"
LIGHT = "#bbbbbb"

#: Of the curves of one figure, in their order: colour, marker, and line style for print.
STYLES = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "--"),
    (GREEN, "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
)


def without_frame(figure: Any) -> Any:
    """Leave out the upper and right sides of all frames, but for pictures."""
    for axes in figure.axes:
        if not axes.images:
            axes.spines[["top", "right"]].set_visible(False)
    return figure
