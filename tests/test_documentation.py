"""Docstrings: every public name has one with an example, and the examples are right."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import nconvex as nc

ROOMS = ("baselines", "lower_bounds", "plots", "survey")
#: Needs PyTorch and JAX.
OPTIONAL = ("JaxLandscape", "TorchLandscape")
PUBLIC = {name: getattr(nc, name) for name in nc.__all__ if hasattr(nc, name)} | {
    f"{room}.{name}": thing
    for room in ROOMS
    for name, thing in vars(getattr(nc, room)).items()
    if not name.startswith("_") and not inspect.ismodule(thing)
}
#: Errors are shown where they are raised.
ERRORS = ("EndpointAboveL0", "Interrupted", "NconvexError")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(nc.__path__, "nconvex.")
    if not module.name.endswith("__main__")
)


def test_the_names_are_those_that_are_listed():
    assert dir(nc) == sorted(nc.__all__, key=dir(nc).index)
    assert set(dir(nc)) == set(nc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Tensor'"):
        nc.Tensor  # noqa: B018
    for name in set(nc.__all__) - PUBLIC.keys():
        assert name in OPTIONAL
        with pytest.raises(AttributeError, match=r"needs (torch|jax); install nconvex\["):
            getattr(nc, name)


@pytest.mark.parametrize("name", [name for name in PUBLIC if callable(PUBLIC[name])])
def test_every_public_name_has_an_example_or_says_where_one_is(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert ">>>" in text or "Example: " in text or name in ERRORS


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_are_right(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if module.startswith("nconvex.adapters.") and not module.endswith(("function", "data")):
        pytest.importorskip("jax" if module.endswith("pytrees") else "torch")
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(module), optionflags=options).failed == 0


def test_the_sampler_that_contributing_shows_stops_at_the_first_failure():
    text = (Path(nc.__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    problem = nc.quad.problem(seed=0)
    a, b = nc.train(problem, L0=1e-4, seed=6), nc.train(problem, L0=1e-4, seed=7)
    found = [
        nc.connect(problem, a.theta, b.theta, L0=1e-4, depth=6, seed=3, sampler=sampler)
        for sampler in (nc.Plain(), names["Lazy"]())
    ]
    plain, lazy = found
    assert lazy.trace == plain.trace[: len(lazy.trace)]
    assert plain.status is lazy.status is nc.ConnectionStatus.DEPTH_EXHAUSTED
    assert nc.ConnectionStatus.NOT_TRIED in lazy.segment_status
    assert nc.ConnectionStatus.NOT_TRIED not in plain.segment_status
