import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nconvex.commands.weights import read_network
from nconvex.definitions import NconvexError
from nconvex.files import read_arrays, write_arrays, write_whole

ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(3, 2)),
    "text": np.array("a word"),
    "words": np.array(["one", "three"]),
    "empty": np.zeros((0, 4)),
    "flag": np.array(True),
}


def test_arrays_come_back_as_they_were(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    back = read_arrays(tmp_path / "a.npz")
    assert back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_numpy_reads_the_same_file_without_pickle(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["numbers"], ARRAYS["numbers"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, error):
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS)
    before = path.read_bytes()

    def write(file):
        file.write(b"half of a fi")
        raise error("now")

    with pytest.raises(NconvexError if error is OSError else error):
        write_whole(path, write)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS)
    before = path.read_bytes()
    code = (
        "import os, signal, sys; from nconvex.files import write_whole\n"
        "def write(file):\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_whole({str(path)!r}, write)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert run.returncode == -signal.SIGKILL
    assert path.read_bytes() == before


def test_a_full_disk_is_named_and_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS)
    before = path.read_bytes()

    def write(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(NconvexError, match="No space left on device"):
        write_whole(path, write)
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NconvexError, match="missing"):
        write_arrays(tmp_path / "missing" / "a.npz", ARRAYS)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"numbers": ARRAYS["numbers"], "text": ARRAYS["text"]})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(NconvexError, match=r"a\.npz"):
            read_arrays(path)


@pytest.mark.parametrize(("deflate", "room"), [(False, None), (True, 10_000)])
def test_flipped_bytes_are_noticed_or_harmless(tmp_path, deflate, room):
    path = tmp_path / "a.npz"
    write_arrays(path, {"numbers": ARRAYS["numbers"]}, deflate)
    whole = bytearray(path.read_bytes())
    for position in range(len(whole)):
        damaged = whole.copy()
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_arrays(path, room)
        except NconvexError:
            continue


def archive(path, content, name="numbers.npy", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(name, content)


def member(array, **changes):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    content = stream.getvalue()
    for old, new in changes.values():
        assert len(old) == len(new)
        content = content.replace(old, new)
    return content


def test_a_header_that_announces_more_than_there_is_takes_no_memory(tmp_path):
    path = tmp_path / "a.npz"
    huge = member(np.zeros(3), shape=(b"(3,), }          ", b"(3000000000000,)}"))
    archive(path, huge)
    with pytest.raises(NconvexError, match="announces"):
        read_arrays(path)


def test_pickles_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    archive(path, member(np.array([{"a": 1}], dtype=object)))
    with pytest.raises(NconvexError, match="only numbers and text"):
        read_arrays(path)


def test_what_numpy_compresses_is_read_and_bombs_are_not(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **ARRAYS)
    assert read_arrays(path)["numbers"].tolist() == ARRAYS["numbers"].tolist()
    archive(path, member(np.zeros(10**6)), compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(NconvexError, match="announces more data"):
        read_arrays(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize(
    "content",
    [
        member(np.zeros(1), shape=(b"(1,), }   ", b"(True,), }")),
        member(np.array(["abc"]), code=(b"c\0\0\0", b"c\0\xff\0")),
        member(np.array(["abc"]), code=(b"c\0\0\0", b"\0\xd8\0\0")),
    ],
    ids=["length True", "beyond Unicode", "half a surrogate"],
)
def test_what_numpy_lets_pass_and_python_does_not_is_refused(tmp_path, content):
    archive(tmp_path / "a.npz", content)
    with pytest.raises(NconvexError, match=r"announces|characters"):
        read_arrays(tmp_path / "a.npz")


def test_deflated_arrays_come_back_where_there_is_room(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"zeros": np.zeros(10**6)}, deflate=True)
    assert path.stat().st_size < 20_000
    np.testing.assert_array_equal(read_arrays(path, room=9 * 10**6)["zeros"], np.zeros(10**6))
    with pytest.raises(NconvexError, match="announces more data than it may hold"):
        read_arrays(path, room=7 * 10**6)


def test_a_deflated_member_is_not_read_beyond_what_it_announces(tmp_path):
    path = tmp_path / "a.npz"
    archive(path, member(np.zeros(10**7)), compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 1000)  # of 80 million bytes
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(NconvexError, match=r"a\.npz"):
        read_arrays(path, room=10**6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize("deflate", [False, True])
def test_files_bear_no_date(tmp_path, deflate):
    write_arrays(tmp_path / "a.npz", ARRAYS, deflate)
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@given(st.integers(0, 127), st.binary(min_size=1, max_size=4))
def test_damaged_headers_are_refused_or_harmless(position, bytes_):
    content = bytearray(member(np.zeros((2, 3))))
    content[position : position + len(bytes_)] = bytes_
    stream = io.BytesIO()
    archive(stream, bytes(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(stream.getvalue())
        with contextlib.suppress(NconvexError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, on headers of Python 2
            read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"no npy", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_what_is_not_an_array_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    archive(path, content)
    with pytest.raises(NconvexError, match="not an array"):
        read_arrays(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(NconvexError, match="cannot read"):
            read_arrays(path)


@pytest.mark.skipif(os.name == "nt", reason="needs devices")
@pytest.mark.parametrize("read", [read_arrays, lambda path: read_network(path, None)])
def test_devices_and_pipes_that_never_end_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.npz")  # to open it would wait for a writer
    for path in (tmp_path / "pipe.npz", tmp_path / "device.npz", tmp_path / "device.pt"):
        if path.stem == "device":
            path.symlink_to("/dev/zero")
        if path.suffix == ".npz" or find_spec("torch"):
            with pytest.raises(NconvexError, match="a device or a pipe"):
                read(path)


def test_a_refusal_quotes_little_of_the_file(tmp_path):
    path = tmp_path / "x.npz"
    write_arrays(path, {"a": np.zeros(9)})
    content = bytearray(path.read_bytes())
    content[26:28] = (500).to_bytes(2, "little")  # the length of the first member's name
    path.write_bytes(content)
    with pytest.raises(NconvexError, match="truncated or not an npz file") as refused:
        read_arrays(path)
    assert len(str(refused.value)) < 200 + len(str(path))
