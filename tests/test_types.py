"""What runs is accepted by a strict type checker, and what cannot run is not."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nconvex

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="needs mypy, nconvex[lint]"
)

RIGHT = """
import numpy as np
import nconvex as nc

x = np.linspace(-1.0, 1.0, 20)[:, None]
problem = nc.Problem(nc.MLP([1, 3, 1], "tanh"), "mse", x, x**2, x.tolist(), (x**2).tolist())
labelled = nc.Classification(nc.MLP((1, 3, 2)), x, [0, 1] * 10, x, [0, 1] * 10, metric="error")
a = nc.train(problem, L0=0.5, seed=np.int64(1))
b = nc.train(problem, L0=0.5, seed=(1, 2))
string = nc.connect(problem, a.theta, b.theta, L0=0.5, sampler="revive", seed=np.int64(0))
again = nc.connect(problem, a.theta, b.theta, L0=0.5, sampler=nc.Plain(alpha=0.9), depth=3)
point = nc.connect(problem, a.theta.tolist(), a.theta.tolist(), L0=0.5)
found = nc.survey.run(nc.survey.grid(L0=(0.5,), hidden=[(3,)]), pairs=np.int64(1), workers=1)
path = nc.string_through(problem, [a.theta, b.theta], 5.0)
theta = nc.MLP((1, 1)).pack([[[1.0]]], [np.zeros(1)])
named = nc.Classification(nc.MLP((1, 3, 2)), x[:, 0], ["a", "b"] * 10, x, ["a"] * 20)
bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x, rng: 2 * x, gamma=problem.gamma)
"""

#: Lines that cannot run, each with the kind of its error.
WRONG = {
    'nc.MLP((1, 3, 1), "gelu")': "arg-type",
    'nc.connect(problem, theta, theta, L0=0.5, sampler="nope")': "arg-type",
    "nc.connect(problem, theta, theta, 0.5)": "call-arg",
    'nc.Problem(nc.MLP((1, 3, 1)), "l2", x, x, x, x)': "arg-type",
    'nc.Plain(insert="end")': "arg-type",
    "nc.run_pair(problem, 1e-3)": "call-arg",
    "nc.train(problem, L0='low')": "arg-type",
}


def test_a_strict_type_checker_agrees(tmp_path):
    (tmp_path / "right.py").write_text(RIGHT)
    head = "import numpy as np\nimport nconvex as nc\n\n" + (
        "def f(problem: nc.Problem, theta: np.ndarray, x: np.ndarray) -> None:\n"
    )
    (tmp_path / "wrong.py").write_text(head + "".join(f"    {line}\n" for line in WRONG))
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir",
         str(tmp_path / "cache"), "right.py", "wrong.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(nconvex.__file__).parents[1])},
        capture_output=True,
        text=True,
    )  # fmt: skip
    errors = [line for line in run.stdout.splitlines() if ": error:" in line]
    first = head.count("\n") + 1
    expected = {f"wrong.py:{first + k}": kind for k, kind in enumerate(WRONG.values())}
    found = {":".join(line.split(":")[:2]): line[line.rindex("[") + 1 : -1] for line in errors}
    assert {place: found[place] for place in found if place.startswith("right")} == {}, errors
    for place, kind in expected.items():
        assert found.get(place) == kind, errors
