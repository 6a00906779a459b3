"""Many pairs: `run` trains and connects them under each setting of a `grid`, a store keeps them."""

from nconvex.survey.records import Survey
from nconvex.survey.running import load, resume, run
from nconvex.survey.setting import Setting, grid

__all__ = ["Setting", "Survey", "grid", "load", "resume", "run"]
