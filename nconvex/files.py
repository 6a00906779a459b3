"""Files that are written whole or not at all, and array files that are read as data only."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import stat
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from nconvex.definitions import NconvexError

#: How many times its size an archive may hold, and up to how many bytes: zeros deflate to a
#: thousandth, weights and images hardly to a tenth.
RATIO = 100
DEFLATED = 2**30

#: Stands for standard output in place of a file's name.
STDOUT = "-"


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears under `path` only when it is complete and on disk.

    The bytes go to a temporary file in the same folder, are flushed to disk, and are moved over
    `path` in one step; whatever interrupts this leaves the old file as it was. A device, a pipe or
    standard output ("-") is written to as it is, once all bytes are there.

    Raises:
        BrokenPipeError: It is a standard stream, and its reader went away.
        NconvexError: The folder does not exist or cannot be written to, or the disk is full.
    """
    stream = is_stream(path)
    temporary = None
    try:
        if stream:
            _write_through(path, write)
            return
        target = os.path.realpath(path)  # a link stays, what it points to is replaced
        handle, temporary = _temporary(target)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, BrokenPipeError) and _standard(path) is not None:
            raise
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def try_to_write(path: str | os.PathLike[str]) -> None:
    """Find out whether `write_whole` could write a file, and leave everything as it is."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if os.path.lexists(path) and not os.access(path, os.W_OK) and os.path.exists(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not is_stream(path):
            target = os.path.realpath(path)
            with contextlib.suppress(FileNotFoundError):
                os.lstat(target)  # names that are too long are noticed here
            handle, temporary = _temporary(target)
            os.close(handle)
            os.unlink(temporary)
    except OSError as error:
        raise _cannot_write(path, error) from error


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a standard stream, a device or a pipe, and not a file to be replaced."""
    try:
        if str(path) == STDOUT or _standard(path) is not None:
            return True
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False  # not there yet, out of reach, or no path


def require_end(path: str | os.PathLike[str]) -> None:
    """Raise NconvexError for a device or a pipe, which is read until memory ends, or waited for."""
    if is_stream(path) and not os.path.isdir(path):
        raise NconvexError(f"cannot read {path}: it is a device or a pipe; give a file")


def _standard(path: str | os.PathLike[str]) -> TextIO | None:
    """Standard output or error if the path is one of them, also where they lead to a file."""
    if str(path) == STDOUT:
        return sys.stdout
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or a notebook's
            if os.path.samestat(os.stat(path), os.fstat(stream.fileno())):
                return stream
    return None


def _write_through(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    content = io.BytesIO()
    write(content)
    stream = _standard(path)
    if stream is None and str(path) != STDOUT:
        with open(path, "wb") as file:
            file.write(content.getbuffer())
        return
    if stream is None or not hasattr(stream, "buffer"):
        raise OSError(errno.EBADF, "it takes no bytes here")
    try:
        stream.flush()
        stream.buffer.write(content.getbuffer())
        stream.flush()
    except OSError:
        silence(stream)
        raise


def silence(stream: TextIO) -> None:
    """Let Python's own flush at its end, of what could not be written, not fail once more."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return  # not a file of the operating system's


def _temporary(target: str) -> tuple[int, str]:
    """Make a file beside another, under a name that is short, as names have a greatest length."""
    return tempfile.mkstemp(dir=os.path.dirname(target), prefix=".nconvex-")


def _cannot_write(path: str | os.PathLike[str], error: OSError) -> NconvexError:
    return NconvexError(
        f"cannot write {os.fspath(path)}: {error.strerror or error}; choose a file in a folder "
        "that exists, is writable and has room"
    )


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], deflate: bool = False
) -> None:
    """Write arrays to an npz file without pickle and without a date; see `write_whole`.

    Args:
        path: Of the file.
        arrays: By name.
        deflate: Compress them.
    """
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", method, compresslevel=9) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)

    write_whole(path, write)


def read_arrays(path: str | os.PathLike[str], room: int | None = None) -> dict[str, np.ndarray]:
    """Read an npz file as `write_arrays` writes it.

    Nothing in the file is trusted: members must hold exactly the numbers or text that their
    headers announce, and take no more memory than there is room, which is known before any is
    taken.

    Args:
        path: Of the file.
        room: Bytes that the members may have together, decompressed where they are; by default
            as many as the file, or `RATIO` times as many up to `DEFLATED`.

    Raises:
        NconvexError: The file cannot be read, is truncated or damaged, or is of another kind.
    """
    path = Path(path)
    try:
        require_end(path)
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if room is None:
                size = path.stat().st_size
                room = max(size, min(RATIO * size, DEFLATED))
            if sum(member.file_size for member in members) > room:
                raise NconvexError(f"{path} announces more data than it may hold; it is damaged")
            return {
                member.filename.removesuffix(".npy"): _read_member(path, archive, member)
                for member in members
            }
    except NconvexError:
        raise
    except OSError as error:
        raise NconvexError(f"cannot read {path}: {error.strerror or error}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        reason = f"{error!s:.80}"  # zipfile's may quote much of the file
        raise NconvexError(f"{path} is truncated or not an npz file ({reason})") from error


def _read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    def damaged(what: str) -> NconvexError:
        return NconvexError(f"{path}: {member.filename} {what}; write the file again")

    plain = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if member.compress_type not in plain or member.flag_bits & 1:
        raise damaged("is encrypted, or compressed in another way than np.savez_compressed does")
    with archive.open(member) as file:  # deflated bytes come out no further than they are asked for
        stream = io.BytesIO(file.read(member.file_size + 1))
    try:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(stream)]
        shape, fortran, dtype = read_header(stream)
    except Exception:  # NumPy's header parser raises many kinds on damaged bytes
        raise damaged("is not an array") from None
    if dtype.kind not in "biufU":
        raise damaged(f"holds {dtype}; only numbers and text are read")
    data = stream.read()
    count = math.prod(shape)
    whole = all(type(length) is int and length >= 0 for length in shape)  # True is an int, too
    if not whole or count * dtype.itemsize != len(data) or dtype.itemsize == 0:
        raise damaged(f"announces {shape} of {dtype} but holds {len(data)} bytes")
    array = np.frombuffer(data, dtype=dtype, count=count)
    if dtype.kind == "U":
        codes = array.astype(dtype.newbyteorder("=")).view(np.uint32)
        if (codes > sys.maxunicode).any() or ((codes >= 0xD800) & (codes <= 0xDFFF)).any():
            raise damaged("holds text of characters that there are not")
    return array.reshape(shape, order="F" if fortran else "C").copy()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
