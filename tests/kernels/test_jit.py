import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import types
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from nconvex.kernels import jit

PACKAGE = Path(__file__).parents[2] / "nconvex"

#: A package of two kernel files, one of which calls a function of the other.
CALLEE = """
from nconvex.kernels.jit import inlined

@inlined
def increase(x):
    return x + 1.0
"""
CALLER = """
from nconvex.kernels.jit import is_compiled, kernel
from nconvex.tiny_inlined import increase

@kernel
def twice(x):
    return 2.0 * increase(x)
"""
RUN = "from nconvex.tiny import *; print(is_compiled(twice, (3.0,)), twice(3.0))"


def run(code, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "NUMBA_CACHE_DIR": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture
def package(tmp_path):
    """A copy of what `jit` needs, with a kernel that compiles quickly."""
    copy = tmp_path / "nconvex"
    copy.mkdir()
    (copy / "__init__.py").touch()
    (copy / "kernels").mkdir()
    (copy / "kernels" / "__init__.py").touch()
    shutil.copy(PACKAGE / "kernels" / "jit.py", copy / "kernels")
    (copy / "tiny_inlined.py").write_text(CALLEE)
    (copy / "tiny.py").write_text(CALLER)
    return copy


def test_an_edited_inlined_function_changes_what_kernels_of_other_files_compute(package):
    first = run(RUN, package.parent)
    assert first.stdout.split() == ["False", "8.0"]
    assert first.stderr == "compiling tiny.twice, some seconds (kept for later runs)\n"
    second = run(RUN, package.parent)
    assert (second.stdout.split(), second.stderr) == (["True", "8.0"], "")
    # The same length and the same time, as a checkout or an archive may leave them.
    file = package / "tiny_inlined.py"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text(CALLEE.replace("1.0", "5.0"))
    os.utime(file, ns=times)
    for compiled in package.glob("__pycache__/*.pyc"):  # Python's own cache goes by the time
        compiled.unlink()
    third = run(RUN, package.parent, NCONVEX_QUIET="1")
    assert (third.stdout.split(), third.stderr) == (["False", "16.0"], "")
    assert len(list(package.glob("__pycache__/*.nbc"))) == 1  # what is stale does not pile up


def thrice(x):
    return 3.0 * x


@pytest.fixture
def heard(monkeypatch, tmp_path):
    """What is announced, with kernels kept in a folder of the test's own."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_FILES", [*jit.kernel_files(), Path(__file__)])
    monkeypatch.setattr(jit, "_STAMP", jit._stamp())
    lines = []
    monkeypatch.setattr(jit, "announce", lines.append)
    return lines


def test_a_constant_has_no_copy_of_an_inlined_function_of_its_own():
    @jit.inlined
    def times(x, factor):
        return x * factor

    @jit.kernel
    def polynomial(x):
        return times(x, 2) + times(x, 3) + times(x, x)

    assert polynomial(5) == 50
    assert len(times.overloads) == 1


def test_damaged_files_are_replaced(heard, tmp_path):
    assert jit.kernel(thrice)(2.0) == 6.0
    (file,) = tmp_path.rglob("*.nbc")
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    foreign = pickle.dumps("sound, but no machine code")

    def unreadable():
        file.unlink()
        file.symlink_to(file)  # this stops even a superuser

    damages = [
        lambda: file.write_bytes(b""),
        lambda: file.write_bytes(whole[: len(whole) // 2]),
        lambda: file.write_bytes(b"garbage" * 999),
        lambda: file.write_bytes(flipped),
        lambda: file.write_bytes(hashlib.sha256(foreign).digest() + foreign),
        unreadable,
    ]
    for count, damage in enumerate(damages):
        damage()
        assert jit.kernel(thrice)(2.0) == 6.0
        assert len(heard) == count + 2
        assert len(file.read_bytes()) > 1000
    assert jit.kernel(thrice)(2.0) == 6.0
    assert len(heard) == len(damages) + 1
    assert all(line.endswith("(kept for later runs)") for line in heard)


def test_files_that_change_after_they_were_imported_are_left_alone(heard, tmp_path, monkeypatch):
    jit.kernel(thrice)(2.0)
    monkeypatch.setattr(jit, "_FILES", [*jit._FILES, Path(np.__file__)])
    assert jit.kernel(thrice)(2.0) == 6.0
    assert len(heard) == 2
    assert "later runs" not in heard[1]
    assert len(list(tmp_path.rglob("*.nbc"))) == 1


def test_a_nearly_full_disk_is_left_alone(heard, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**20))
    assert jit.kernel(thrice)(2.0) == 6.0
    assert not list(tmp_path.rglob("*.nb*"))


def test_without_a_writable_folder_kernels_are_compiled_and_not_kept(package):
    code = (
        "import resource, sys\n"
        "sys.dont_write_bytecode = True\n"
        "from nconvex.tiny import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "print(is_compiled(twice, (3.0,)), twice(3.0))"
    )
    assert run(code, package.parent).stdout.split() == ["False", "8.0"]
    assert not list((package / "__pycache__").iterdir())
    # A file stands where each cache folder would be made: this stops even a superuser.
    shutil.rmtree(package / "__pycache__")
    (package / "__pycache__").touch()
    (package.parent / "home").touch()
    home = str(package.parent / "home")
    where = {"HOME": home, "XDG_CACHE_HOME": home, "LOCALAPPDATA": home}
    found = run(RUN, package.parent, **where)
    assert found.stdout.split() == ["False", "8.0"]
    assert found.stderr == "compiling tiny.twice, some seconds\n"


def test_what_is_compiled_depends_on_types_settings_and_the_file(heard, monkeypatch):
    triple = jit.kernel(thrice)
    triple(2.0)
    again = jit.kernel(thrice)  # knows only what is on the disk
    for each in (triple, again):
        asked = (2.0, 2, np.ones(2), np.ones(2, dtype=np.float32))
        assert [jit.is_compiled(each, (x,)) for x in asked] == [True, False, False, False]
    monkeypatch.setattr(config, "BOUNDSCHECK", 1)
    assert not jit.is_compiled(again, (2.0,))
    monkeypatch.undo()
    code = thrice.__code__.replace(co_filename=jit.__file__)
    other = types.FunctionType(code, {"__name__": "nconvex.other"}, "thrice")
    assert not jit.is_compiled(jit.kernel(other), (2.0,))


def test_without_the_jit_nothing_needs_compiling(package):
    found = run(RUN, package.parent, NUMBA_DISABLE_JIT="1")
    assert (found.stdout.split(), found.stderr) == (["True", "8.0"], "")


def test_announcements_go_where_they_are_wanted(capsys):
    lines = []

    def inside(x):
        return x * 3.0

    with jit.announcing(lines.append):
        jit.kernel(inside)(1.0)
    assert len(lines) == 1
    assert "inside" in lines[0]
    assert capsys.readouterr().err == ""
    jit.kernel(inside)(1)
    assert "inside" in capsys.readouterr().err


def test_kernel_files_are_all_that_compile():
    # What makes machine code and is not in the stamp could be stale.
    compiles = re.compile(r"^@(kernel\w*|inlined\w*|lower_builtin)\b", re.MULTILINE)
    files = {path for path in PACKAGE.rglob("*.py") if compiles.search(path.read_text("utf-8"))}
    assert len(files) >= 4
    assert files <= set(jit.kernel_files())


def test_the_next_process_finds_the_cache_and_the_same_bits_whatever_is_in_it(tmp_path):
    # Once the loss alone is compiled and cached first, once everything in one go.
    loss = "import numpy as np, nconvex as nc; nc.quad.problem().loss(np.zeros(33))"
    more = (
        "import numpy as np, nconvex as nc\n"
        "problem = nc.quad.problem(loss='huber')\n"
        "theta = nc.train(problem, 1e-3).theta\n"
        "gamma = problem.gamma(theta, -theta, np.linspace(0, 1, 101))\n"
        "print(theta.tobytes().hex(), gamma.tobytes().hex())"
    )
    one, other = ({"NUMBA_CACHE_DIR": str(tmp_path / name)} for name in ("one", "other"))
    assert run(loss, **one).stderr.count("compiling") == 1
    results = [run(more, **where) for where in (one, other, one, other)]
    compiled = [result.stderr.count("compiling") for result in results]
    assert compiled[0] == compiled[1] - 1 > 0
    assert compiled[2:] == [0, 0]
    assert len({result.stdout for result in results}) == 1
