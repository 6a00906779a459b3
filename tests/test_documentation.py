"""Docstrings: every public name has one with an example, and the examples are right."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import nconvex as nc

ROOMS = ("baselines", "lower_bounds", "plots", "survey")
PUBLIC = {name: getattr(nc, name) for name in nc.__all__} | {
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
    for name in nc.__all__:
        assert getattr(nc, name) is not None


@pytest.mark.parametrize("name", [name for name in PUBLIC if callable(PUBLIC[name])])
def test_every_public_name_has_an_example_or_says_where_one_is(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert ">>>" in text or "Example: " in text or name in ERRORS


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_are_right(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(module), optionflags=options).failed == 0
