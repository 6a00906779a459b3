"""Figures. The only room that knows matplotlib."""

from nconvex.plots.figures import (
    digits,
    disconnectivity,
    loss_along,
    predictions,
    string_in_space,
    summary,
    survey,
)
