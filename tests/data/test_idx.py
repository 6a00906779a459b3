import gzip
import io
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import attack_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nconvex.data import idx
from nconvex.definitions import NconvexError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def header(*shape, kind=8, dimensions=None):
    dimensions = len(shape) if dimensions is None else dimensions
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, dimensions, *shape)


def encode(array):
    return header(*array.shape) + array.tobytes()


@pytest.fixture
def write(tmp_path):
    def write(content, name="data"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("array", [IMAGES, np.array([7], np.uint8)])
def test_elements_come_back_with_their_shape(write, pack, array):
    raw = idx.read(write(pack(encode(array))), array.ndim)
    assert raw == encode(array)
    back = idx.array(raw)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, array)


def test_the_name_says_nothing_about_the_compression(write):
    raw = idx.read(write(encode(IMAGES), "unpacked-by-the-browser.gz"), 3)
    np.testing.assert_array_equal(idx.array(raw), IMAGES)


def test_a_gzip_of_several_members_is_read(write):
    content = encode(IMAGES)
    raw = idx.read(write(gzip.compress(content[:9]) + gzip.compress(content[9:])), 3)
    np.testing.assert_array_equal(idx.array(raw), IMAGES)


LITTLE = struct.pack("<3I", 2000, 28, 28)

FAULTS = {
    "nothing": (b"", "starts with nothing"),
    "shorter than the magic number": (b"\0\0\x08", "starts with 00 00 08, not"),
    "a zip file": (b"PK\x03\x04" + bytes(100), "neither an IDX file nor .* 50 4b 03 04"),
    "floats": (header(2, 3, 4, kind=0x0D) + bytes(96), r"type 0x0d; only bytes \(0x08\)"),
    "labels for images": (encode(IMAGES[:, 0, 0]), "has 1 dimensions where 3 are expected"),
    "255 dimensions": (header(1, dimensions=255), "has 255 dimensions where 3"),
    "a cut header": (header(2, 3, 4)[:-1], "ends within its header"),
    "no images": (header(0, 3, 4), "empty: it announces 0 x 3 x 4"),
    "no images of any size": (header(0, 2**32 - 1, 2**32 - 1), "empty"),
    "one element too few": (encode(IMAGES)[:-1], "announces 2 x 3 x 4 elements but holds 23"),
    "one element too many": (encode(IMAGES) + b"\0", "goes on after the 2 x 3 x 4 elements"),
    "too large": (header(2**32 - 1, 28, 28), "announces 4294967295 x 28 x 28 .* at most 268435456"),
    "a little-endian header": (b"\0\0\x08\x03" + LITTLE, "highest byte first, of 2000 x 28 x 28"),
    "all of it little-endian": (b"\x03\x08\0\0" + LITTLE, "highest byte first"),
    "too large for 64 bits": (header(2**32 - 1, 2**32 - 1, 2**32 - 1), "at most"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_named_with_the_file(write, pack, content, message):
    with pytest.raises(NconvexError, match=rf"data.*{message}"):
        idx.read(write(pack(content)), 3)


def test_a_file_that_was_gzipped_twice_is_refused(write):
    with pytest.raises(NconvexError, match=r"neither an IDX file nor a gzipped one.* 1f 8b"):
        idx.read(write(gzip.compress(gzip.compress(encode(IMAGES)))), 3)


def test_every_truncation_is_noticed(write):
    content = encode(IMAGES)
    packed = gzip.compress(content)
    for whole in (content, packed):
        for length in range(len(whole)):
            with pytest.raises(NconvexError, match="data"):
                idx.read(write(whole[:length]), 3)
    with pytest.raises(NconvexError, match="truncated gzip"):
        idx.read(write(packed[:-1]), 3)


def test_a_damaged_gzip_is_named(write):
    packed = bytearray(gzip.compress(encode(IMAGES)))
    packed[-5] ^= 0xFF  # the checksum
    with pytest.raises(NconvexError, match=r"damaged gzip file \(CRC"):
        idx.read(write(packed), 3)
    with pytest.raises(NconvexError, match=r"damaged gzip file \(Not a gzipped file"):
        idx.read(write(gzip.compress(encode(IMAGES)) + b"more"), 3)
    packed = gzip.compress(b"")[:10] + b"\xff" * 50  # no deflated data
    with pytest.raises(NconvexError, match=r"damaged gzip file \(Error -3"):
        idx.read(write(packed), 3)


def bomb(head, size):
    """Gzip `head` and then `size` zeros, without holding them."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(head)]
    zeros = bytes(2**20)
    parts += [packer.compress(zeros) for _ in range(size // len(zeros))]
    return b"".join(parts) + packer.flush()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (header(1, 28, 28), "goes on after"),
        (header(2**32 - 1, 28, 28), "at most"),
        (header(2**28), "too small to be trusted"),
        (header(2**24), "goes on after"),
    ],
    ids=["announces less", "announces too much", "announces more", "announces what any file may"],
)
def test_a_gzip_bomb_takes_no_more_memory_than_it_announces(write, head, message):
    size = 2**27
    path = write(bomb(head, size))
    tracemalloc.start()
    with pytest.raises(NconvexError, match=message):
        idx.read(path, head[3])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # a growing buffer may be twice as large for a moment while it moves
    assert peak < 2.5 * 2**24


def test_a_header_that_announces_much_takes_no_memory(write):
    path = write(header(2**28) + bytes(100))
    tracemalloc.start()
    with pytest.raises(NconvexError, match="holds 100"):
        idx.read(path, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * 2**20


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content):
    for start in (b"", header(2), header(1, 2, 3), b"\x1f\x8b\x08\0\0\0\0\0\0\xff"):
        for dimensions in (1, 3):
            try:
                raw = idx.unpack(io.BytesIO(start + content), "it", dimensions)
            except NconvexError as error:
                assert str(error).startswith("it ")  # noqa: PT017
            else:
                assert idx.array(raw).ndim == dimensions


def test_mutated_files_are_read_as_they_say_or_refused_in_one_line():
    assert " refused" in attack_files.images(60)


def test_a_missing_file_and_a_folder_are_named():
    with tempfile.TemporaryDirectory() as folder:
        for path in (Path(folder) / "none", Path(folder)):
            with pytest.raises(NconvexError, match=f"cannot read .*{path.name}"):
                idx.read(path, 3)


def test_well_packed_data_are_read(write):
    blank = np.zeros((60_000, 1, 200), np.uint8)  # packed to a thousandth, and no bomb
    raw = idx.read(write(gzip.compress(encode(blank))), 3)
    np.testing.assert_array_equal(idx.array(raw), blank)
    noise = np.random.default_rng(0).integers(
        0, 2, 2**24 + 1, np.uint8
    )  # more than any file may hold
    assert idx.read(write(gzip.compress(encode(noise), 1)), 1) == encode(noise)
