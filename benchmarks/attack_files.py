"""Attacks on files of strings and of images: damaged, lying, or both.

    python benchmarks/attack_files.py [strings|images] [--times N] [--seed S]

Each attack raises AssertionError where a file is believed that should not be, or ends in anything
but one line; else it prints how often it struck and what came of it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gzip
import io
import itertools
import json
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nconvex as nc
from nconvex import verify
from nconvex.data import idx
from nconvex.files import read_arrays

#: Seconds after which one file counts as hanging.
LONGEST = 120.0

#: Bytes that a small file may take.
MEMORY = 2**26

NUMBERS: tuple[Any, ...] = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 7.0, 1e-9, 1e-300, 5e-324, 1e30, 1e200, 1e308),
    *(np.nan, np.inf, -np.inf, 2.0**53),
)
OTHERS: tuple[Any, ...] = (
    *("", "False", "CONNECTED", "mae", "error", "x" * 1000, True, 0, -1, 2**62, 1j, 3.5),
    *([], [1], [[1.0]], ["a"], [True], [2**40, 1], [1, 0, 1], np.zeros((2, 0)), np.zeros((0, 3))),
)


# -- Strings --------------------------------------------------------------------------------------


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Change, insert or cut off some bytes."""
    damaged = bytearray(data)
    if damaged and rng.random() < 0.3:
        del damaged[rng.randrange(len(damaged)) :]
    for _ in range(rng.choice((1, 1, 3, 30))):
        if damaged:
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    if rng.random() < 0.1:
        place = rng.randrange(len(damaged) + 1)
        damaged[place:place] = rng.randbytes(rng.randrange(99))
    return bytes(damaged)


def lie(arrays: dict[str, np.ndarray], rng: random.Random) -> tuple[dict[str, np.ndarray], str]:
    """Change one array: its numbers, size, order or type, or leave it out."""
    name = rng.choice(sorted(arrays))
    array = arrays[name].copy()
    kind = rng.choice(("element", "element", "scale", "cut", "double", "turn", "type", "other", ""))
    with np.errstate(all="ignore"), contextlib.suppress(ValueError):  # text that is no number
        if kind == "element" and array.size and array.dtype.kind in "iuf":
            value = np.array(rng.choice(NUMBERS)).astype(array.dtype)
            array.reshape(-1)[rng.randrange(array.size)] = value
        elif kind == "scale" and array.dtype.kind in "iuf":
            factor = rng.choice((0.0, 0.1, 0.999, 1.0 + 2.0**-51, 1.5, -1.0, 1e150))
            array = np.asarray(array * factor).astype(array.dtype)
        elif kind == "cut" and array.ndim:
            array = array[: rng.randrange(len(array) + 1)]
        elif kind == "double" and array.ndim:
            array = np.concatenate([array, array])
        elif kind == "turn" and array.ndim:
            array = array[::-1]
        elif kind == "type":
            array = array.astype(
                rng.choice(("f4", "f8", ">f8", "i8", "U3", "?", "c16", "u1", "f2"))
            )
        elif kind == "other":
            array = np.asarray(rng.choice(OTHERS))
        else:
            return {key: value for key, value in arrays.items() if key != name}, f"no {name}"
    return {**arrays, name: array}, f"{kind} {name}"


def strings(times: int, seed: int = 0) -> str:
    """Read, prove and check mutated files of strings; what is called proven is true."""
    rng = random.Random(seed)
    problem = nc.quad.problem(seed=0, samples=60)
    run = nc.run_pair(problem, L0=5e-3, seed=0)
    assert run.string is not None
    counts = dict.fromkeys(("refused", "claimed", "proven here", "proven there"), 0)
    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole.npz", Path(folder) / "s.npz"
        run.string.save(whole, problem)
        content, arrays = whole.read_bytes(), read_arrays(whole)
        for _ in range(times):
            if rng.random() < 0.3:
                path.write_bytes(flipped(content, rng))
                what = "bytes"
            else:
                lies, what = lie(arrays, rng)
                if rng.random() < 0.3:
                    lies, more = lie(lies, rng)
                    what += f", {more}"
                (np.savez_compressed if rng.random() < 0.3 else np.savez)(path, **lies)
            for name, found in (
                ("claimed", lambda: is_claimed(path)),
                ("proven here", lambda: is_proven(path, problem)),
                ("proven there", lambda: is_verified(path)),
            ):
                counts[name if measured(found, what) else "refused"] += 1
    return f"{times} files: " + ", ".join(f"{count} {name}" for name, count in counts.items())


def measured(found: Callable[[], bool], what: str) -> bool:
    """Call within time and memory; False if it is refused in one line."""
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=sys.__stderr__)
    tracemalloc.start()
    try:
        return found()
    except nc.NconvexError as error:
        refusal = str(error)
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
        assert peak < MEMORY, f"{what}: {peak} bytes"
    assert "\n" not in refusal, what
    assert 0 < len(refusal) < 1000, f"{what}: {refusal}"
    return False


def is_claimed(path: Path) -> bool:
    """Read a file, whose word is not taken for more than that."""
    string = nc.load_string(path)
    assert string.evidence == "claimed"
    assert not string.certified
    assert string.connected in (True, False)
    assert string.max_error >= string.max_error_bounds[0]
    assert string.status is not None
    repr(string)
    return True


def is_proven(path: Path, problem: nc.Problem) -> bool:
    """Judge a file's path on a problem; a proof holds on a grid."""
    string = nc.load_string(path, problem)
    assert string.evidence == "proven"
    with np.errstate(all="ignore"):
        found = highest(problem, string.beads)
        assert found <= string.max_error * (1.0 + 1e-12) or string.max_error == np.inf
    return bool(string.connected)


def is_verified(path: Path) -> bool:
    """Check a file by itself; a proof holds on a grid of the file's own problem."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = verify.main([str(path), "--json"])
    assert status in (0, 1, 2), status
    if status == 2:
        assert out.getvalue() == ""
        assert err.getvalue().count("\n") == 1, err.getvalue()
        assert len(err.getvalue()) < 1000, err.getvalue()
        return False
    json.loads(out.getvalue())
    if status == 0:
        arrays = read_arrays(path)
        model = nc.MLP(
            tuple(arrays["sizes"].tolist()),
            arrays["activation"].item(),
            arrays["output_activation"].item(),
            bool(arrays["biases"].item()),
        )
        test = arrays["X_test"], arrays["y_test"]
        problem = nc.Problem(model, arrays["loss"].item(), *test, *test)
        with np.errstate(all="ignore"):
            assert highest(problem, arrays["beads"]) <= arrays["L0"] * (1.0 + 1e-12)
    return status == 0


def highest(problem: nc.Problem, beads: np.ndarray) -> float:
    """The highest loss on a grid along a path."""
    t = np.linspace(0.0, 1.0, 65)
    return max(float(np.max(problem.gamma(a, b, t))) for a, b in itertools.pairwise(beads))


# -- Images ---------------------------------------------------------------------------------------


def images(times: int, seed: int = 0) -> str:
    """Read mutated IDX files; one that is read is what its header says."""
    rng = random.Random(seed)
    read = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        for _ in range(times):
            content, dimensions = an_idx_file(rng)
            path.write_bytes(content)

            def found(dimensions: int = dimensions, content: bytes = content) -> bool:
                array = idx.array(idx.read(path, dimensions))
                plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                shape = struct.unpack_from(f">{dimensions}I", plain, 4)
                assert array.shape == shape
                assert array.tobytes() == plain[4 + 4 * dimensions :]
                return True

            read += measured(found, f"{content[:32]!r} of {len(content)} bytes")
    return f"{times} files: {read} read, {times - read} refused"


def an_idx_file(rng: random.Random) -> tuple[bytes, int]:
    """Make a file that is damaged, or lies of its shape, and the dimensions to ask for."""
    dimensions = rng.choice((1, 3))
    shape = [rng.randrange(1, 9) for _ in range(dimensions)]
    data = rng.randbytes(int(np.prod(shape)))
    if rng.random() < 0.4:
        lies = (0, 1, 2**16, 2**24, 2**28, 2**31, 2**32 - 1)
        shape[rng.randrange(dimensions)] = rng.choice(lies)
    order = "<" if rng.random() < 0.1 else ">"
    content = bytes((0, 0, rng.choice((8, 8, 8, 9, 13)), dimensions))
    content += struct.pack(f"{order}{dimensions}I", *shape) + data
    if rng.random() < 0.1:
        content += bytes(2**22)  # which a gzip file packs to a thousandth
    for _ in range(rng.choice((0, 1, 1, 2))):
        content = flipped(content, rng) if rng.random() < 0.5 else gzip.compress(content, 9)
    return content, dimensions if rng.random() < 0.9 else 4 - dimensions


ATTACKS: dict[str, Callable[[int, int], str]] = {"strings": strings, "images": images}


def main() -> None:
    """Attack."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("attack", nargs="*", choices=[[], *ATTACKS], help="default all")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in args.attack or ATTACKS:
        began = time.monotonic()
        report = ATTACKS[name](args.times, args.seed)
        print(f"{name}: {report} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
