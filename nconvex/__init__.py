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

from nconvex.commands import interrupts as _interrupts  # noqa: F401 - Ctrl-C now ends a command  # isort: skip

import importlib
from typing import TYPE_CHECKING, Any

from nconvex.adapters.function import FunctionLandscape
from nconvex.curve import interpolate
from nconvex.definitions import (
    CITATION,
    ConnectionStatus,
    EndpointAboveL0,
    Interrupted,
    NconvexError,
    RMSProp,
    Training,
    TrainingStatus,
)
from nconvex.definitions import VERSION as __version__
from nconvex.landscape import Landscape
from nconvex.network import MLP, Problem, split
from nconvex.pair import Pair, run_pair
from nconvex.samplers import BreadthFirst, Plain, Revive, Springs, connect
from nconvex.string import String, load_string, string_through
from nconvex.training import train

if TYPE_CHECKING:
    from nconvex import baselines, lower_bounds, mnist, plots, quad, survey
    from nconvex.adapters.pytorch import TorchLandscape
    from nconvex.adapters.pytrees import JaxLandscape
    from nconvex.geometry.curvature import Curvature, curvature
    from nconvex.network.classification import Classification
    from nconvex.plots.page import Report, report
    from nconvex.samplers.barrier import Barrier, barrier
    from nconvex.samplers.merging import Connectivity, connectivity
    from nconvex.samplers.tightening import Tightening, tighten

__all__ = [
    "CITATION", "MLP", "Barrier", "BreadthFirst", "Classification", "ConnectionStatus",
    "Connectivity", "Curvature", "EndpointAboveL0", "FunctionLandscape", "Interrupted",
    "JaxLandscape", "Landscape", "NconvexError", "Pair", "Plain", "Problem", "RMSProp",
    "Report", "Revive", "Springs", "String", "Tightening", "TorchLandscape", "Training",
    "TrainingStatus", "__version__", "barrier", "baselines", "connect", "connectivity",
    "curvature", "interpolate", "load_string", "lower_bounds", "mnist", "plots", "quad",
    "report", "run_pair", "split", "string_through", "survey", "tighten", "train",
]  # fmt: skip

#: Loaded on first use, for they bring matplotlib, SQLite or many kernels.
_LATER = {
    "JaxLandscape": "adapters.pytrees",
    "TorchLandscape": "adapters.pytorch",
    "Barrier": "samplers.barrier",
    "Classification": "network.classification",
    "Connectivity": "samplers.merging",
    "Curvature": "geometry.curvature",
    "Report": "plots.page",
    "Tightening": "samplers.tightening",
    "barrier": "samplers.barrier",
    "connectivity": "samplers.merging",
    "curvature": "geometry.curvature",
    "report": "plots.page",
    "tighten": "samplers.tightening",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nconvex' has no attribute {name!r}")
    if name in _LATER:
        try:
            return getattr(importlib.import_module(f"nconvex.{_LATER[name]}"), name)
        except ModuleNotFoundError as error:  # an AttributeError, so that help(nconvex) goes on
            raise AttributeError(
                f"nconvex.{name} needs {error.name}; install nconvex[{error.name}]"
            ) from error
    return importlib.import_module(f"nconvex.{name}")


def __dir__() -> list[str]:
    return __all__
