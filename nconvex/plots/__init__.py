"""Figures. The only room that knows matplotlib; nothing here trains or searches.

>>> import nconvex as nc
>>> problem = nc.quad.problem(seed=0)
>>> string = nc.run_pair(problem, L0=1e-3, seed=0).string
>>> figure = nc.plots.loss_along(problem, string)  # a figure of matplotlib; figure.savefig(...)
>>> [axes.get_xlabel() for axes in figure.axes]
["fraction of the path's length"]
"""

from nconvex.plots.growth import animate, cartoon
from nconvex.plots.outputs import classes, fit
from nconvex.plots.slices import plane, slice, trajectory
from nconvex.plots.strings import digits, loss_along, predictions, string_in_space, summary
from nconvex.plots.surveys import survey
from nconvex.plots.trees import disconnectivity
