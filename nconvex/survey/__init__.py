"""Surveys: `run` trains and connects many pairs under each setting of a `grid`."""

from nconvex.pairs.records import Survey
from nconvex.pairs.running import load, resume, run
from nconvex.pairs.setting import Setting, grid

__all__ = ["Setting", "Survey", "grid", "load", "resume", "run"]
