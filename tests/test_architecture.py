"""Imports go one way only, and the outer world enters where it is meant to."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from nconvex.kernels import jit

PACKAGE = Path(__file__).parents[1] / "nconvex"

#: What each room and each file of the root may import, from the ground up; besides its own files.
RULES = {
    "definitions": "",
    "reductions": "",
    "verify": "",
    "files": "definitions",
    "data": "definitions files",
    "kernels": "",
    "textbook": "definitions kernels",
    "curve": "definitions",
    "landscape": "definitions",
    "training": "definitions landscape stages",
    "saved": "definitions",
    "stages": "definitions",
    "string": "definitions files reductions saved curve landscape stages",
    "dss": "definitions curve landscape string",
    "proof": "definitions kernels",
    "network": "definitions reductions kernels curve textbook landscape proof",
    "adapters": "definitions curve textbook landscape proof",
    "samplers": "definitions reductions curve textbook landscape string dss",
    "pair": "definitions landscape training string dss samplers",
    "baselines": "definitions reductions curve landscape string dss network",
    "lower_bounds": "definitions kernels curve network",
    "tasks": "definitions data network",
    "geometry": "definitions reductions landscape",
    "pairs": "definitions files reductions kernels landscape training string samplers data network "
    "tasks",
    "plots": "definitions files reductions landscape stages string network samplers pairs geometry",
    "commands": "definitions files kernels data network training pair pairs samplers string tasks"
    " plots",
    "survey": "pairs commands",
    "quad": "tasks commands",
    "mnist": "tasks commands",
}

#: Who may import what is not ours.
OUTSIDE = {
    "matplotlib": {"plots"},
    "mpl_toolkits": {"plots"},
    "argparse": {"commands", "verify"},
    "numba": {"kernels", "commands", "pairs"},
    "llvmlite": {"kernels"},  # what numba is built on, and brings along
    "sqlite3": {"pairs"},
    "distributed": {"commands", "pairs"},  # only for Dask, and missing without harm
    "torch": {"adapters", "commands"},  # loaded with a user's own networks only
    "jax": {"adapters"},
    "urllib": {"data"},
    "http": {"data"},
    "gzip": {"data"},
    "zlib": {"data", "files", "verify"},
}
FILES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.stem[0] != "_"
]


def room(path):
    """The room in which a file stands; a file of the root is a room of its own."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def modules(path):
    """All modules that a file imports anywhere, also for annotations only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports in full"
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*node.module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def test_every_room_has_its_rule():
    assert {room(path) for path in FILES} == set(RULES)


def test_every_room_is_in_the_wheel():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split())
    assert {f"nconvex.{door.parent.name}" for door in PACKAGE.glob("*/__init__.py")} <= listed
    assert all((PACKAGE.parent / name.replace(".", "/")).is_dir() for name in listed)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_what_their_rule_allows(path):
    inside = {name.split(".")[1] for name in modules(path) if name.startswith("nconvex.")}
    assert inside - {room(path)} <= set(RULES[room(path)].split())


def test_no_file_imports_itself_through_others():
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES
    }
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    arrows = {name: modules(path) & names.keys() for name, path in names.items()}
    while ground := {name for name, below in arrows.items() if not below & arrows.keys()}:
        arrows = {name: below for name, below in arrows.items() if name not in ground}
    assert not arrows


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_three_dependencies_and_only_where_they_belong(path):
    outside = {name.split(".")[0] for name in modules(path)} - {"nconvex"}
    for name in outside:
        assert room(path) in OUTSIDE.get(name, {room(path)}), f"{path} imports {name}"
    assert outside - sys.stdlib_module_names <= {"numpy", *OUTSIDE}


def test_the_package_loads_neither_matplotlib_nor_argparse():
    late = ("matplotlib", "sqlite3", "torch", "jax", "nconvex.commands.arguments",
            "nconvex.pairs.setting",
            "nconvex.kernels.classifier")  # fmt: skip
    code = (
        "import sys, nconvex; nconvex.quad.problem()\n"
        f"print([name for name in {late} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_kernel_files_take_names_of_kernel_files_only():
    # Whatever machine code was made from must be in the cache's stamp; see `jit`.
    files = set(jit.kernel_files())
    for path in files:
        for name in modules(path):
            if name.startswith("nconvex.") and name != "nconvex.definitions":  # its exceptions
                assert PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py") in files


def test_no_two_kernel_files_hold_the_same_function():
    seen = {}
    for path in jit.kernel_files():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and len(node.body) > 2:
                body = ast.dump(ast.Module(node.body[1:], []))
                assert body not in seen, f"{path.stem}.{node.name} is {seen[body]} again"
                seen[body] = f"{path.stem}.{node.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 450
    if path in jit.kernel_files():
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            lines = set(range(node.lineno, node.end_lineno + 1))
            if ast.get_docstring(node) is not None:
                lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
            assert len(lines) <= 60, f"{path.name}: {node.name} is too long"
