"""Imports go one way only, and the outer world enters where it is meant to."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from nconvex import cells, enclosure, jit, parts, rounding

PACKAGE = Path(__file__).parents[1] / "nconvex"

# From the definitions down to the commands: a module imports only from those above it.
ORDER = (
    "interrupts",
    "definitions",
    "files",
    "reductions",
    "outputs",
    "jit",
    "vectors",
    "parts",
    "kernels",
    "pieces",
    "enclosure",
    "cells",
    "wide",
    "rounding",
    "model",
    "redundancy",
    "curve",
    "certify",
    "textbook",
    "landscape",
    "flood",
    "network",
    "engines",
    "problem",
    "classification",
    "string",
    "train",
    "dss",
    "revival",
    "springs",
    "breadth_first",
    "samplers",
    "assignment",
    "rivals",
    "tightening",
    "barrier",
    "experiment",
    "rational",
    "separation",
    "narrower",
    "crossing",
    "data",
    "idx",
    "digits",
    "plots",
    "cli",
    "quad",
    "mnist",
    "intervals",
    "store",
    "workers",
    "pairs",
    "merging",
    "presets",
    "survey",
    "verify",
)
OUTSIDE = {
    "matplotlib": {"plots"},
    "mpl_toolkits": {"plots"},
    "argparse": {"cli", "quad", "mnist", "survey", "verify"},
    "numba": {"jit", "vectors", "cli", "pairs"},
    "llvmlite": {"jit", "vectors"},
    "sqlite3": {"store"},
    "distributed": {"survey", "workers"},
    "urllib": {"digits"},
    "http": {"digits"},
    "gzip": {"idx"},
    "zlib": {"idx", "files", "verify"},
}
#: What a module must not know although it stands above.
FORBIDDEN = {
    "vectors": {"definitions", "files", "jit"},
    "kernels": {"definitions", "files"},
    "pieces": {"definitions", "files", "kernels"},
    "enclosure": {"definitions", "files", "kernels", "pieces"},
    "cells": {"definitions", "files", "kernels", "pieces", "enclosure"},
    "wide": {"definitions", "files", "kernels", "pieces", "enclosure", "cells"},
    "rounding": {"definitions", "files", "kernels", "pieces", "enclosure", "cells", "wide"},
    "curve": {"kernels", "model", "files"},
    "certify": {"kernels", "pieces", "enclosure", "cells", "wide", "model", "curve", "files"},
    "landscape": {"kernels", "pieces", "enclosure", "cells", "wide", "model", "files"},
    "flood": set(ORDER) - {"definitions", "jit"},
    "train": {
        "kernels",
        "pieces",
        "enclosure",
        "cells",
        "wide",
        "model",
        "problem",
        "classification",
        "files",
    },
    "string": {
        "kernels",
        "pieces",
        "enclosure",
        "cells",
        "wide",
        "model",
        "problem",
        "classification",
        "certify",
        "jit",
    },
    "dss": {
        "kernels",
        "pieces",
        "enclosure",
        "cells",
        "wide",
        "model",
        "problem",
        "classification",
        "certify",
        "jit",
    },
    "redundancy": {"kernels", "pieces", "enclosure", "cells", "wide", "files"},
    "revival": {
        "kernels",
        "pieces",
        "enclosure",
        "cells",
        "wide",
        "model",
        "problem",
        "redundancy",
        "files",
    },
    "experiment": {
        "kernels",
        "pieces",
        "enclosure",
        "cells",
        "wide",
        "model",
        "problem",
        "classification",
    },
    "rational": set(ORDER),
    "separation": {"kernels", "pieces", "enclosure", "cells", "wide", "string", "train", "dss"},
    "narrower": {"kernels", "pieces", "enclosure", "cells", "wide", "string", "train", "dss"},
    "crossing": {"kernels", "pieces", "enclosure", "cells", "wide", "string", "train", "dss"},
    "data": {"model", "kernels", "problem"},
    "idx": {"model", "kernels", "problem"},
    "digits": {"model", "kernels", "problem"},
    "plots": {"train", "experiment", "cli"},
    "intervals": set(ORDER),
    "store": set(ORDER) - {"definitions"},
    "workers": set(ORDER) - {"definitions"},
    "pairs": {"plots", "cli"},
    "merging": set(ORDER) - {"definitions", "reductions", "landscape", "dss"},
    "presets": {"plots", "cli", "store"},
    "survey": {"store"},
    "verify": set(ORDER),
}


def imports(path):
    """Modules imported anywhere in a file, annotations-only imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotations = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            annotations |= set(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports in full"
            names = {alias.name for alias in node.names}
            if node.module == "nconvex":
                found |= {f"nconvex.{name}" for name in names}
            else:
                found.add(node.module)
    return found


def test_every_module_has_its_place_in_the_order():
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert modules == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_upwards_only(module):
    inside = {
        name.split(".")[1]
        for name in imports(PACKAGE / f"{module}.py")
        if name.split(".")[0] == "nconvex"
    }
    above = set(ORDER[: ORDER.index(module)])
    assert inside <= above, f"{module} imports {inside - above}"
    assert not inside & FORBIDDEN.get(module, set())


@pytest.mark.parametrize("module", ["__init__", "__main__", *ORDER])
def test_only_the_three_dependencies_and_only_where_they_belong(module):
    outside = {name.split(".")[0] for name in imports(PACKAGE / f"{module}.py")} - {"nconvex"}
    for name in outside:
        assert module in OUTSIDE.get(name, {module}), f"{module} imports {name}"
    assert outside - sys.stdlib_module_names <= {
        "numpy",
        "numba",
        "llvmlite",  # what numba is built on, and brings along
        "matplotlib",
        "mpl_toolkits",
        "distributed",  # only for --dask, and missing without harm
    }


def test_the_package_loads_neither_matplotlib_nor_argparse():
    code = (
        "import sys, nconvex; print([name for name in ('matplotlib', 'sqlite3', 'nconvex.cli', "
        "'nconvex.pairs', 'nconvex.wide') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_kernel_files_take_names_of_kernel_files_only():
    # Whatever machine code was made from must be in the cache's stamp; see `jit`.
    files = {path.stem for path in jit.kernel_files()}
    for module in files - {"jit"}:
        inside = {name for name in imports(PACKAGE / f"{module}.py") if "nconvex" in name}
        allowed = files | ({"definitions"} if module == "flood" else set())  # its exceptions
        assert inside <= {f"nconvex.{name}" for name in allowed}


def test_what_two_kernel_files_share_is_the_same_in_both():
    for shared, modules in (
        ("exponential", ("parts", "enclosure")),
        ("relu_line", ("enclosure", "cells", "wide")),
        *[
            (shared, ("enclosure", "cells"))
            for shared in (
                "combine",
                "total",
                "dot",
                "halve",
                "bound_polynomial",
                "interpolate",
                "swap",
            )
        ],
    ):
        bodies = [
            [ast.dump(part) for part in node.body]
            for module in modules
            for node in ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name == shared
        ]
        assert len(bodies) == len(modules)
        assert all(body == bodies[0] for body in bodies)
    for module in (enclosure, rounding):
        for name in ("IDENTITY", "RELU", "SIGMOID", "TANH", "MSE", "MAE", "HUBER", "LOG_COSH"):
            assert getattr(module, name, getattr(parts, name)) == getattr(parts, name)
        assert module.HUBER_DELTA == parts.HUBER_DELTA
    for name in ("RELU", "OFF", "EXACT", "LOOSE", "SHORTEST", "PIECES", "NEGLIGIBLE"):
        assert getattr(cells, name) == getattr(enclosure, name)
