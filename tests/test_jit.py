import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "nconvex"

COUNT = """
import numpy as np
from nconvex import pieces_1_4_4_1 as kernels, jit
before = jit.is_compiled(kernels.rmsprop)
import nconvex as nc
nc.train(nc.quad.problem(), 0.05)
print(before, jit.is_compiled(kernels.rmsprop), bool(kernels.rmsprop.stats.cache_path))
"""


def run(code, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_without_a_writable_folder_kernels_are_compiled_and_not_cached(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "nconvex", ignore=shutil.ignore_patterns("__pycache__"))
    # A file stands where each cache folder would be made: this stops even a superuser.
    (tmp_path / "nconvex" / "__pycache__").touch()
    (tmp_path / "home").touch()
    home = str(tmp_path / "home")
    environment = {
        "HOME": home,
        "XDG_CACHE_HOME": home,
        "LOCALAPPDATA": home,
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": "",
    }
    assert run(COUNT, tmp_path, **environment).stdout.split() == ["False", "True", "False"]


def test_the_next_process_finds_the_cache_and_the_same_bits_whatever_is_in_it(tmp_path):
    # Once the loss alone is compiled and cached first, once everything in one go.
    loss = "import numpy as np, nconvex as nc; nc.quad.problem().loss(np.zeros(33))"
    pair = (
        "from nconvex import pieces_1_4_4_1 as kernels, jit\n"
        "print(jit.is_compiled(kernels.rmsprop))\n"
        "import numpy as np, nconvex as nc\n"
        "problem = nc.quad.problem(loss='huber')\n"
        "string = nc.run_pair(problem, 1e-4).string\n"
        "gamma = problem.gamma(*string.beads[:2], np.linspace(0, 1, 101))\n"
        "print(string.beads.tobytes().hex(), gamma.tobytes().hex())"
    )
    one, other = ({"NUMBA_CACHE_DIR": str(tmp_path / name)} for name in ("one", "other"))
    run(loss, **one)
    results = [run(pair, **where).stdout.split() for where in (one, other, one, other)]
    assert [compiled for compiled, *_ in results] == ["False", "False", "True", "True"]
    assert len({tuple(bits) for _, *bits in results}) == 1


def test_a_nearly_full_disk_is_left_alone(tmp_path):
    code = (
        "import shutil, collections\n"
        "Usage = collections.namedtuple('Usage', 'total used free')\n"
        "shutil.disk_usage = lambda path: Usage(100, 100, 2**20)\n"
        "from nconvex import pieces_1_4_4_1 as kernels\n"
        "print(bool(kernels.rmsprop.stats.cache_path))"
    )
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["False"]
    code = code.replace("2**20", "2**30")
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["True"]


def test_without_the_jit_nothing_needs_compiling():
    code = (
        "from nconvex import pieces_1_4_4_1 as kernels, jit; "
        "print(jit.is_compiled(kernels.rmsprop))"
    )
    assert run(code, NUMBA_DISABLE_JIT="1").stdout.split() == ["True"]
