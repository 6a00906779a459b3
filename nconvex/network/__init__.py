"""A network, its data, and what computes its losses: landscapes for `train` and `connect`."""

from nconvex.network.base import NetworkLandscape
from nconvex.network.inputs import split
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem
