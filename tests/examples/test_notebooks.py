"""The notebooks in examples/: what each has, and that it computes what it shows."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))

#: A solution's code, in the text of a cell.
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)
NUMBER = re.compile(r"-?\d[\d_,]*\.?\d*(?:e[+-]?\d+)?")

#: How far numbers may differ between machines, whose rounding leads descents apart.
APART = 0.02

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def text(lines):
    return "".join(lines)


def sources(notebook, kind):
    return [text(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def printed(cell):
    """What a cell printed, but for what it said of its progress."""
    return text(
        text(output["text"])
        for output in cell["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )


def differing(old, new):
    """The first word that two printouts do not share, numbers compared as numbers; or None."""
    if (said := NUMBER.sub("#", old).split()) != (now := NUMBER.sub("#", new).split()):
        return said, now
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    for one, other in pairs:
        values = [float(number.replace(",", "")) for number in (one, other)]
        if not np.isclose(*values, rtol=APART, atol=1e-9):
            return one, other
    return None


def test_there_are_five():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["1-", "2-", "3-", "4-", "5-"]


@each
def test_a_notebook_is_small_and_says_what_it_needs(path):
    notebook = read(path)
    assert notebook["nbformat"] == 4
    assert path.stat().st_size < 400_000
    first, *_ = sources(notebook, "markdown")
    for phrase in ("**You learn**", "**You must know**", "`pip install nconvex "):
        assert phrase in first
    assert max(code.count("\n") + 1 for code in sources(notebook, "code")) <= 22


@each
def test_five_exercises_have_solutions_folded_away(path):
    notebook = read(path)
    exercises = text(sources(notebook, "markdown")).split("## Exercises")[1]
    assert re.findall(r"^\*\*(\d)\.\*\*", exercises, re.MULTILINE) == list("12345")
    assert exercises.count("<details><summary>Solution</summary>") == 5
    solutions = SOLUTION.findall(exercises)
    assert len(solutions) == 5
    for number, solution in enumerate(solutions, 1):
        compile(solution, f"solution {number}", "exec")


@each
def test_outputs_are_kept_without_errors_paths_or_times(path):
    notebook = read(path)
    outputs = [
        output
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    for output in outputs:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        shown = text(output.get("text", output.get("data", {}).get("text/plain", "")))
        assert not re.search(r"(^|[\s'\"=(])(/[A-Za-z]\w*/|[A-Z]:\\|~/)", shown), shown
        assert " at 0x" not in shown
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags"}


def test_printouts_are_told_apart():
    assert differing("4 beads, 0.000987", "4 beads, 0.000988") is None
    assert differing("4 beads", "5 beads") == ("4", "5")
    assert differing("connected: 1.0", "not connected: 1.0")
    assert differing("10,001 points, 1e-3", "10,001 points, 2e-3") == ("1e-3", "2e-3")


@each
@pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None,
    reason="nbclient and ipykernel are not installed: pip install -e .[notebooks]",
)
@pytest.mark.filterwarnings("default")  # of a kernel's event loop and sockets
def test_a_notebook_prints_what_it_shows_and_its_solutions_run(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    committed = read(path)["cells"]
    notebook = nbformat.read(path, as_version=4)
    solutions = SOLUTION.findall(text(sources(read(path), "markdown")))
    notebook.cells += [nbformat.v4.new_code_cell(solution) for solution in solutions]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for old, new in zip(committed, notebook.cells, strict=False):
        if old["cell_type"] == "markdown" or "varies" in old["metadata"].get("tags", ()):
            continue
        if "is not installed" not in printed(new):
            assert differing(printed(old), printed(new)) is None, text(old["source"])


def test_the_teaching_plan_names_what_there_is():
    plan = (ROOT / "examples" / "teaching.md").read_text(encoding="utf-8")
    assert plan.count("\n") <= 120
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", plan):
        assert (ROOT / "examples" / link).exists(), link
    (lines,) = re.findall(r"```python\n(.*?)```", plan, re.DOTALL)
    names = {}
    exec(compile(lines, "teaching.md", "exec"), names)
    assert names["nc"].run_pair(names["problem"], L0=1e-3, seed=0).string.connected
