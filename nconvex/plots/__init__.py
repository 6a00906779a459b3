"""Figures. The only room that knows matplotlib; nothing here trains or searches."""

from nconvex.plots.strings import digits, loss_along, predictions, string_in_space, summary
from nconvex.plots.surveys import survey
from nconvex.plots.trees import disconnectivity
