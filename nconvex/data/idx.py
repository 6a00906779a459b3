"""IDX files, the format of MNIST: two zero bytes, the type, the number of dimensions, the
dimensions as big-endian integers of four bytes, and the elements.

Nothing in a file is trusted. No more memory is taken than the file holds; a compressed one may hold
`RATIO` times its own bytes, and is decompressed no further than one byte beyond what it announces.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from nconvex.definitions import NconvexError

#: Elements that a file may announce. MNIST's training images have 47 million.
CAP = 2**28

#: How many times its bytes a gzipped file may hold, where that is more than `ANY_RATIO`: MNIST's
#: images are packed to a fifth. Deflate can pack zeros to a thousandth.
RATIO, ANY_RATIO = 50, 2**24

UINT8 = 0x08
_GZIP = b"\x1f\x8b"
_LITTLE_ENDIAN = (
    "has a header with the lowest byte first; write its numbers with the highest byte first"
)
_AGAIN = "; copy or download it again"
_CHUNK = 2**20


def read(path: str | os.PathLike[str], dimensions: int) -> bytearray:
    """Read an IDX file of bytes, gzipped or not; see `unpack`.

    Raises:
        NconvexError: The file cannot be read, or `unpack` refuses it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return unpack(file, str(path), dimensions)
    except OSError as error:
        raise NconvexError(f"cannot read {path}: {error.strerror or error}") from error


def unpack(file: IO[bytes], name: str, dimensions: int) -> bytearray:
    """Check an IDX file of bytes and return it whole, header included, decompressed if need be.

    Args:
        file: Seekable.
        name: What to call it in a message.
        dimensions: How many it must have.

    Raises:
        NconvexError: It is not an IDX file, of another type, byte order or number of dimensions,
            empty, larger than `CAP`, packed too well, truncated, damaged, or longer than it
            announces.
    """
    packed = file.read(2) == _GZIP
    room = CAP
    if packed:
        room = min(CAP, max(ANY_RATIO, RATIO * file.seek(0, os.SEEK_END)))
    file.seek(0)
    try:
        stream: Any = gzip.GzipFile(fileobj=file) if packed else file
        return _unpacked(stream, name, dimensions, room)
    except EOFError:
        raise NconvexError(f"{name} is a truncated gzip file{_AGAIN}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise NconvexError(f"{name} is a damaged gzip file ({error}){_AGAIN}") from error


def array(raw: bytearray) -> np.ndarray:
    """View the elements of an IDX file that `unpack` returned, as uint8."""
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _unpacked(stream: IO[bytes], name: str, dimensions: int, room: int) -> bytearray:
    def refused(reason: str) -> NconvexError:
        return NconvexError(f"{name} {reason}")

    raw = bytearray()
    _append(raw, stream, 4)
    if raw == bytes((dimensions, UINT8, 0, 0)):
        raise refused(_LITTLE_ENDIAN)
    if len(raw) < 4 or raw[:2] != b"\0\0":
        start = raw.hex(" ") or "nothing"
        raise refused(
            f"is neither an IDX file nor a gzipped one: it starts with {start}, not with 00 00"
            f"{_AGAIN}"
        )
    if raw[2] != UINT8:
        raise refused(f"holds elements of IDX type 0x{raw[2]:02x}; only bytes (0x08) are read")
    if raw[3] != dimensions:
        raise refused(
            f"has {raw[3]} dimensions where {dimensions} are expected (images have 3, labels 1); "
            "was it exchanged with another file?"
        )
    header = 4 + 4 * dimensions
    _append(raw, stream, header - len(raw))
    if len(raw) < header:
        raise refused(f"ends within its header{_AGAIN}")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    size = math.prod(shape)
    announced = f"{' x '.join(map(str, shape))} elements"
    if size == 0:
        raise refused(f"is empty: it announces {announced}; give at least one")
    swapped = struct.unpack_from(f"<{dimensions}I", raw, 4)
    if size > CAP >= math.prod(swapped) > 0:
        raise refused(f"{_LITTLE_ENDIAN}, of {' x '.join(map(str, swapped))} elements")
    if size > CAP:
        raise refused(f"announces {announced}; at most {CAP} are read, so use a smaller data set")
    if size > room:
        raise refused(
            f"announces {announced} in a gzip file that is too small to be trusted with them; "
            "decompress it first"
        )
    _append(raw, stream, size + 1)
    if len(raw) < header + size:
        raise refused(f"announces {announced} but holds {len(raw) - header}{_AGAIN}")
    if len(raw) > header + size:
        raise refused(f"goes on after the {announced} that it announces{_AGAIN}")
    return raw


def _append(data: bytearray, stream: IO[bytes], count: int) -> None:
    """Append up to `count` bytes of a stream; fewer only at its end."""
    end = len(data) + count
    while len(data) < end and (part := stream.read(min(end - len(data), _CHUNK))):
        data += part
