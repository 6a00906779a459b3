"""Many pairs: settings, workers, records, statistics, and the file that keeps them."""

from nconvex.survey.pairs import Setting, Survey, grid, load, resume
from nconvex.survey.pairs import survey as run
