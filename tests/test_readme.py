"""What the README says is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nconvex as nc
from nconvex.quad import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    assert len(example.strip().splitlines()) <= 12
    exec(compile(example, "README.md", "exec"), {})
    assert "connected: the loss is at most L0" in capsys.readouterr().out
    assert nc.load_string("string.npz").connected
    assert Path("loss.png").stat().st_size > 1000


def test_the_printout_has_the_lines_of_a_real_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["--quiet"])
    printed, _ = capsys.readouterr()

    def words(text):  # figures may differ in their last digits between machines
        return re.sub(r"\d[\d.e+-]*", "#", text).split()

    (shown,) = blocks("text")
    assert words(shown) == words(printed)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_two_commands_are_the_ones_that_ci_runs():
    assert len(re.findall(r"^python3 -m venv ", README, re.MULTILINE)) == 2
    assert [block.count("\n") for block in blocks("bash")] == [1, 1]


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {nc.__version__}\n" in citation
    assert f"## {nc.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


#: What keeps an example short that takes long.
SHORT = {
    "baselines.py": ["--pairs", "1", "--budget", "500", "--digits", "0"],
    "revive.py": ["--pairs", "3"],
}

#: What an example needs beside the package.
NEEDS = {"torch_cnn.py": ("torch", "sklearn")}


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_run(example, tmp_path):
    for library in NEEDS.get(example.name, ()):
        pytest.importorskip(library, reason=f"{library} is not installed")
    run = subprocess.run(
        [sys.executable, "-W", "error", str(example), *SHORT.get(example.name, [])],
        cwd=tmp_path,
        env={**os.environ, "NCONVEX_QUIET": "1"},  # compilations are announced on stderr
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout
