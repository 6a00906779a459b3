"""How nonconvex is the loss surface of a learning problem? Dynamic String Sampling, on the CPU.

>>> import nconvex as nc
>>> problem = nc.quad.problem(seed=0)
>>> a = nc.train(problem, L0=1e-3, seed=1)
>>> b = nc.train(problem, L0=1e-3, seed=2)
>>> string = nc.connect(problem, a.theta, b.theta, L0=1e-3, alpha=0.8, depth=10, seed=0)
>>> string.connected
True

To cite: C. D. Freeman and J. Bruna, How nonconvex is it? Exploring neural network geometry
through Dynamic String Sampling (2016); see also arXiv:1611.01540.
"""

from __future__ import annotations

from nconvex.commands import interrupts as interrupts  # isort: skip  # Ctrl-C now ends a command

import importlib
from typing import TYPE_CHECKING, Any

from nconvex.curve import interpolate
from nconvex.definitions import (
    CITATION,
    ConnectionStatus,
    Descent,
    DescentStatus,
    EndpointAboveL0,
    Insertion,
    Interrupted,
    Move,
    NconvexError,
    Peak,
    RMSProp,
    Training,
    TrainingStatus,
)
from nconvex.definitions import VERSION as __version__
from nconvex.dss import connect
from nconvex.landscape import FunctionLandscape, Landscape, Trainable
from nconvex.lower_bounds.crossing import path_through_narrower
from nconvex.lower_bounds.flood import FloodBracket, flood_bracket
from nconvex.lower_bounds.narrower import narrower_infimum
from nconvex.lower_bounds.separation import LowerBound, Separation, det_sign, lower_bound
from nconvex.network.mlp import MLP
from nconvex.network.problem import Problem
from nconvex.pair import Pair, run_pair
from nconvex.samplers import SAMPLERS
from nconvex.samplers.barrier import Barrier, barrier
from nconvex.samplers.breadth_first import connect_breadth_first
from nconvex.samplers.revival import connect_reviving
from nconvex.samplers.springs import connect_with_springs
from nconvex.samplers.tightening import Tightening, tighten
from nconvex.string import String, load_string, string_through
from nconvex.train import train

if TYPE_CHECKING:
    from nconvex import mnist as mnist
    from nconvex import plots as plots
    from nconvex import quad as quad
    from nconvex import survey as survey
    from nconvex.network.classification import Classification as Classification
    from nconvex.samplers.merging import Connectivity as Connectivity
    from nconvex.samplers.merging import connectivity as connectivity

__all__ = [
    "CITATION", "MLP", "SAMPLERS", "Barrier", "Classification", "ConnectionStatus", "Connectivity",
    "Descent", "DescentStatus", "EndpointAboveL0", "FloodBracket", "FunctionLandscape", "Insertion",
    "Interrupted", "Landscape", "LowerBound", "Move", "NconvexError", "Pair", "Peak", "Problem",
    "RMSProp", "Separation", "String", "Tightening", "Trainable", "Training",
    "TrainingStatus", "__version__", "barrier", "connect", "connect_breadth_first",
    "connect_reviving", "connect_with_springs", "connectivity", "det_sign", "flood_bracket",
    "interpolate", "load_string", "lower_bound", "mnist", "narrower_infimum",
    "path_through_narrower", "plots", "quad", "run_pair", "string_through", "survey", "tighten",
    "train",
]  # fmt: skip


#: Loaded on first use: plots brings matplotlib, the others are also run by `python -m`.
_MODULES = ("mnist", "plots", "quad", "survey")

#: Loaded on first use: surveys need the commands' modules, a classifier many kernels.
_LATER = {
    "Classification": "network.classification",
    "Connectivity": "samplers.merging",
    "connectivity": "samplers.merging",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nconvex.{name}")
    if name in _LATER:
        return getattr(importlib.import_module(f"nconvex.{_LATER[name]}"), name)
    raise AttributeError(f"module 'nconvex' has no attribute {name!r}")
