"""One command with sub-commands, whose options of one meaning have one form."""

import configparser
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import said

import nconvex as nc
from nconvex import mnist, quad
from nconvex.__main__ import COMMANDS, main
from nconvex.commands import survey
from nconvex.commands.arguments import layers

SETUP = Path(__file__).parents[2] / "setup.cfg"


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def options(text):
    """Each option of a help text: its metavar, and what it says but for defaults and examples."""
    found = {}
    for entry in re.split(r"\n  (?=-)", text.partition("\noptions:")[2]):
        words = " ".join(entry.split("\n\n")[0].replace("-\n", "-").split())
        name, metavar, about = re.match(
            r"(--\w+)?(?: ([A-Z]\S*)(?: \[.*?\])?)? ?(.*)", words
        ).groups()
        found[name] = metavar, re.split(r"; one of| \(default|; for mnist", about)[0]
    return found


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_package_tells_what_there_is(capsys, argv):
    status, out, err = said(capsys, main, argv)
    assert (status, err) == (0, "")
    for name in COMMANDS:
        assert f"\n  nconvex {name} " in out
    assert "To cite" in out


def test_the_version_is_one_line(capsys):
    for argv in (["--version"], ["quad", "--version"], ["survey", "--version"]):
        assert said(capsys, main, argv) == (0, f"nconvex {nc.__version__}\n", "")


@pytest.mark.parametrize("argv", [["quads"], ["--L0", "5"], [""], ["--version=1"]])
def test_what_is_no_command_is_refused_in_one_line(capsys, argv):
    status, out, err = said(capsys, main, argv)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err == f"nconvex: error: {argv[0]!r} is no command; choose from {', '.join(COMMANDS)}\n"


BAD = {
    "quad": ["--L0", "0"],
    "mnist": ["--lr", "0"],
    "csv": ["a.csv", "--target", "y", "--test", "x"],
    "connect": ["a.npz", "b.npz"],
    "survey": ["run", "--task", "x"],
    "verify": [],
}


@pytest.mark.parametrize("name", BAD)
def test_errors_and_help_name_the_command_as_it_was_called(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, main, [name, *BAD[name]])
    assert (status, out) == (2, "")
    assert re.search(rf"^nconvex {name}( run)?: error: ", err, re.MULTILINE)
    _, text, _ = said(capsys, main, [name, "--help"])
    assert text.startswith(f"usage: nconvex {name} [-h]")
    assert "python -m nconvex" not in text
    if name != "verify":
        assert re.search(rf"examples?:\n  nconvex {name} ", text)


def test_each_way_to_call_it_has_its_name(capsys):
    for call, name in ((quad, "quad"), (mnist, "mnist"), (survey, "survey")):
        _, _, err = said(capsys, call.main, ["--nonsense"])
        assert err.startswith(f"python -m nconvex.{name}: error: ")
    run = subprocess.run(
        [sys.executable, "-m", "nconvex", "mnist", "--batch", "0"], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("python -m nconvex mnist: error: batch must be an integer")


def test_the_console_script_is_this_command():
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    (script,) = setup["options.entry_points"]["console_scripts"].split("\n")[1:]
    name, module, function = re.split(r" = |:", script)
    assert name == "nconvex"
    assert getattr(importlib.import_module(module), function) is main


@pytest.mark.parametrize("name", ["quad", "mnist", "csv", "connect"])
def test_help_explains_every_option_with_its_default_and_an_example(capsys, name):
    _, text, _ = said(capsys, main, [name, "--help"])
    entries = re.findall(r"^  (--[\w-]+)( [A-Z]\S*)?  +(.*(?:\n {8,}.*)*)", text, re.MULTILINE)
    found = {option: " ".join(about.split()) for option, value, about in entries if value}
    required = {"--target", "--drop"} if name == "csv" else {"--data"} if name == "connect" else ()
    assert found.keys() >= {"--L0", "--alpha", "--depth", "--activation", "--out", *required}
    assert ("--hidden" in found) == (name != "connect")
    for option in required:
        assert found.pop(option)
    for option, about in found.items():
        assert re.search(rf" \(default .+; e\.g\. {option} \S+.*\)$", about.replace("- ", "-"))
    switches = [(option, about) for option, value, about in entries if not value]
    assert {"--json", "--quiet", "--no-figure", "--tighten"} <= {*dict(switches)}
    assert all(about for _, about in switches)


def test_options_of_one_meaning_have_one_form(capsys):
    texts = [
        said(capsys, main, [*words, "--help"])[1]
        for words in (["quad"], ["mnist"], ["survey", "run"], ["csv"], ["connect"])
    ]
    one, other, many, *own = map(options, texts)
    alike = {"--hidden", "--activation", "--L0", "--sampler", "--alpha", "--depth", "--budget"}
    alike |= {"--seed", "--quiet"}
    for name in alike:
        assert one[name] == other[name] == many[name]
        assert all(each.get(name, one[name]) == one[name] for each in own)
        assert one[name][1]
    assert one["--loss"] == many["--loss"]
    for name in {"--out", "--json", "--force", "--tighten"}:
        assert one[name][0] == other[name][0]


def test_layers_are_units_joined_by_dashes():
    assert layers("256") == (256,)
    assert layers("16-4-8") == (16, 4, 8)
