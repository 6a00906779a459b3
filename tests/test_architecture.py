"""Imports go one way only, and the outer world enters where it is meant to."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from nconvex import jit

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
    "wide",
    "centred",
    "rounding",
    "textbook",
    "model",
    "redundancy",
    "curve",
    "certify",
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
    "wide": {"definitions", "files", "kernels", "pieces", "centred"},
    "centred": {"definitions", "files", "kernels", "pieces", "wide"},
    "rounding": {"definitions", "files", "kernels", "pieces", "centred", "wide"},
    "curve": {"kernels", "model", "files"},
    "certify": {"kernels", "pieces", "wide", "model", "curve", "files"},
    "landscape": {"kernels", "pieces", "centred", "wide", "model", "files"},
    "flood": set(ORDER) - {"definitions", "jit"},
    "train": {
        "kernels",
        "pieces",
        "centred",
        "wide",
        "model",
        "problem",
        "classification",
        "files",
    },
    "string": {
        "kernels",
        "pieces",
        "centred",
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
        "centred",
        "wide",
        "model",
        "problem",
        "classification",
        "certify",
        "jit",
    },
    "redundancy": {"kernels", "pieces", "centred", "wide", "files"},
    "revival": {
        "kernels",
        "pieces",
        "centred",
        "wide",
        "model",
        "problem",
        "redundancy",
        "files",
    },
    "experiment": {
        "kernels",
        "pieces",
        "centred",
        "wide",
        "model",
        "problem",
        "classification",
    },
    "rational": set(ORDER),
    "separation": {"kernels", "pieces", "centred", "wide", "string", "train", "dss"},
    "narrower": {"kernels", "pieces", "centred", "wide", "string", "train", "dss"},
    "crossing": {"kernels", "pieces", "centred", "wide", "string", "train", "dss"},
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


def test_no_two_kernel_files_hold_the_same_function():
    seen = {}
    for path in jit.kernel_files():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and len(node.body) > 2:
                body = ast.dump(ast.Module(node.body[1:], []))
                assert body not in seen, f"{path.stem}.{node.name} is {seen[body]} again"
                seen[body] = f"{path.stem}.{node.name}"
