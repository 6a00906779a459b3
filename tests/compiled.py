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


def run_again(file, mode):
    """Run a file of tests in a process where a variable of Numba is set, and expect it to pass."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", file],
        cwd=Path(__file__).parents[1],
        env={**os.environ, mode: "1", "NCONVEX_INNER_RUN": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
