"""What figures have in common: their size, colours, scales, and what they return.

A figure is as wide as a page's text, and measured in its font's size: whatever size the reader's
settings have, nothing in it is printed smaller than 5/6 of that, 8.3 points by default, and words
keep their room. Nothing here touches pyplot's state. Colours are Okabe and Ito's, which the
colour-blind tell apart; what is black by default has the colour of the reader's axes. Words are
plain letters and `mathtext`, which any font and LaTeX can set.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

#: Where several panels are drawn: into a figure or a part of one that is given, or a new one.
Part = Figure | SubFigure | None

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

#: Inches of a page's text, at a font size of 10 points.
WIDTH = 6.5

#: What losses are called on axes.
QUANTITIES = {
    "mse": "squared error",
    "mae": "absolute error",
    "huber": "Huber loss",
    "log-cosh": "log-cosh loss",
    "cross-entropy": "cross-entropy [nats]",
    "error": "share of wrong labels",
}


def ink() -> str:
    """The colour of axes, black by default."""
    return str(rcParams["axes.edgecolor"])


class Drawing(Figure):
    """A figure that a notebook shows, also where pyplot is not in use."""

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        self.savefig(image, format="png")
        return image.getvalue()


def figure_or_new(figure: Part, width: float = WIDTH, height: float = 4.6) -> Any:
    """The figure that is given, or a new one of a size in inches at a font size of 10 points."""
    if figure is not None:
        return figure
    scale = rcParams["font.size"] / 10.0
    return Drawing(figsize=(scale * width, scale * height), layout="constrained")


def axes_or_new(ax: Axes | None, height: float = 4.4, **settings: Any) -> Any:
    """The axes that are given, or those of a new figure."""
    return figure_or_new(None, 6.0, height).add_subplot(**settings) if ax is None else ax


def drawn(given: Any, axes: Any) -> Any:
    """What a function returns: the axes or figure that it was given, or the new figure of its axes.

    Upper and right sides of all frames are left out, but for pictures.
    """
    for each in axes:
        if not each.images and each.name != "3d":
            each.spines[["top", "right"]].set_visible(False)
    return axes[0].figure if given is None else given


def quantity(landscape: object) -> str:
    """What a landscape's heights are, for an axis."""
    name = getattr(landscape, "loss_name", None)
    return f"test {QUANTITIES[name]}" if name in QUANTITIES else "loss"


def is_wide(*values: Any) -> bool:
    """Whether numbers are positive and span a decade: then a logarithmic scale shows them."""
    known = np.concatenate([np.ravel(each) for each in values])
    known = known[np.isfinite(known)]
    return known.size > 0 and float(known.min()) > 0.0 and float(known.max() / known.min()) >= 10.0


def norm_of(values: np.ndarray) -> Normalize:
    """How a colour map is spread over numbers."""
    known = np.ma.masked_invalid(values).compressed()
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (LogNorm if is_wide(known) else Normalize)(low, high if high > low else low + 1.0)


def colour_bar(axes: Any, drawn: Any, label: str, **where: Any) -> None:
    """Put a colour bar beside axes, with few ticks, which do not touch."""
    bar = axes.figure.colorbar(drawn, ax=axes, **where)
    bar.set_label(label, fontsize="small")
    bar.ax.tick_params(labelsize="small")
    low, high = float(bar.norm.vmin or 0.0), float(bar.norm.vmax or 1.0)
    if not isinstance(bar.norm, LogNorm):
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
    elif high / low < 100.0:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high))
        ticks = [t for t in np.outer(powers, (1.0, 3.0)).ravel().tolist() if low <= t <= high]
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        bar.minorticks_off()


def name_few(axis: Any, values: Any, most: int = 6) -> None:
    """Put a logarithmic axis's ticks at a few values, named in short, so that they fit: 1e-4."""
    named = sorted({float(f"{value:.3g}") for value in values})
    if len(named) <= most:
        powers = [np.format_float_scientific(v, trim="-", exp_digits=1) for v in named]
        names = [min(power, f"{v:g}", key=len) for power, v in zip(powers, named, strict=True)]
        axis.set_ticks(named, names)
        axis.set_ticks([], minor=True)
