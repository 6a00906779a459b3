"""Inlined functions called by themselves, and tests run again in another mode of Numba."""

import os
import subprocess
import sys
from pathlib import Path

from nconvex.kernels.jit import kernel


def compiled(inlined):
    """Compile an inlined function as a kernel, which Python can call."""
    if not hasattr(inlined, "py_func"):  # the JIT is off
        return inlined
    return kernel(inlined.py_func, inlined.targetoptions["fastmath"])


def run_again(file):
    """Run a file of tests without the JIT, where NumPy checks each index."""
    _run("-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", file)


def run_code(code, file):
    """Run code without the JIT, in the folder of a file of tests."""
    _run("-W", "error", "-c", code, cwd=Path(file).parent)


def _run(*words, cwd=Path(__file__).parents[1]):
    run = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={
            **os.environ,
            "NUMBA_DISABLE_JIT": "1",
            "NCONVEX_INNER_RUN": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
