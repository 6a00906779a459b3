"""MNIST: 28 x 28 images of handwritten digits, by Y. LeCun, C. Cortes and C. J. C. Burges.

A subset ships with the package, so that everything runs at once and offline. All of MNIST is
read from the folder that the environment variable NCONVEX_MNIST names, then from `cache_folder()`;
what is in neither is downloaded into the latter.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from nconvex.data import idx
from nconvex.definitions import NconvexError, shown
from nconvex.files import read_arrays, write_whole


@dataclass(frozen=True)
class File:
    """One of the four files of MNIST.

    Attributes:
        name: The original one, without ".gz".
        dimensions: 3 for images, 1 for labels.
        sha256: Of the original's bytes, decompressed.
    """

    name: str
    dimensions: int
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names that the file is found under: with a dot, too, as some copies have it."""
        dotted = self.name.replace("-idx", ".idx")
        return self.name, f"{self.name}.gz", dotted, f"{dotted}.gz"


#: Training images, training labels, test images, test labels.
FILES = tuple(
    File(f"{part}-{content}-idx{dimensions}-ubyte", dimensions, sha256)
    for part, content, dimensions, sha256 in (
        ("train", "images", 3, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        ("train", "labels", 1, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        ("t10k", "images", 3, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        ("t10k", "labels", 1, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    )
)

#: Where the four files lie under their names with ".gz"; tried in turn.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)

#: Bytes after which a download is given up: more than the largest file has, even decompressed.
DOWNLOAD_CAP = 48_000_000

#: Seconds without an answer, and seconds for one file, after which a mirror is given up.
TIMEOUT, DEADLINE = 20.0, 600.0

#: Names a folder with the four files, each gzipped or not.
VARIABLE = "NCONVEX_MNIST"

SUBSET = Path(__file__).parent / "mnist_subset" / "mnist_subset.npz"
#: Bytes of the subset's arrays and their headers, generously.
SUBSET_ROOM = 5_000_000

SIDE = 28
CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Images with labels, for training and for testing.

    Attributes:
        X: (N, 784) uint8, one image a row, from 0 (paper) to 255 (ink).
        labels: (N,) uint8, from 0 to 9.
        X_test: (M, 784) uint8.
        labels_test: (M,) uint8.
        name: One line: which data, how many images, from where.
    """

    X: np.ndarray
    labels: np.ndarray
    X_test: np.ndarray
    labels_test: np.ndarray
    name: str


def load(source: str = "subset", progress: Callable[[str], None] | None = None) -> Digits:
    """Load MNIST, or data of the same format, e.g. Fashion-MNIST.

    Args:
        source: "subset" for the 5,000 training and 1,000 test images that ship with the package;
            "full" for all 70,000, downloaded where need be and checked to be the originals; or
            a folder with the four files, gzipped or not, which are taken as they are.
        progress: Is told, in one line each, what is being downloaded.

    Raises:
        NconvexError: The source is unknown, a file is missing, damaged or not what it should be,
            or every mirror failed.
    """
    if not isinstance(source, str | os.PathLike):
        raise NconvexError(f"data must be 'subset', 'full' or a folder, not {shown(source)}")
    if source == "subset":
        arrays = read_arrays(SUBSET, room=SUBSET_ROOM)
        what, origin = "MNIST subset", "shipped with nconvex"
    else:
        full = source == "full"
        raws, what, origin = _full(progress or (lambda line: None)) if full else _folder(source)
        arrays = _arrays(raws)
    count, count_test = len(arrays["X"]), len(arrays["X_test"])
    name = f"{what}, {count:,} training and {count_test:,} test images, {origin}"
    return Digits(**arrays, name=name)


def cache_folder() -> Path:
    """Where downloads are kept, as is the custom of the operating system.

    Raises:
        NconvexError: The user has no home folder.
    """
    try:
        if sys.platform == "win32":
            caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            caches = Path.home() / "Library" / "Caches"
        else:
            caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise NconvexError(
            "there is no home folder to keep MNIST in; set XDG_CACHE_HOME to a folder, or put "
            f"{_names()} into a folder and use --data FOLDER"
        ) from None
    return caches / "nconvex" / "mnist"


def _names() -> str:
    return ", ".join(file.name for file in FILES)


# -- Folders --------------------------------------------------------------------------------------


def _folder(source: str | os.PathLike[str]) -> tuple[dict[str, bytearray], str, str]:
    """Return the files of a folder by name, what they are, and where they are from."""
    try:
        os.listdir(os.fspath(source))
    except (OSError, TypeError, ValueError):
        raise NconvexError(
            f"data {shown(source)} is neither 'subset' nor 'full' nor a folder that can be read; "
            "give one of these"
        ) from None
    folder, raws = Path(source), {}
    for file in FILES:
        path = _find(folder, file)
        if path is None:
            raise NconvexError(
                f"the folder {source} holds neither {file.name} nor {file.name}.gz; "
                f"it must hold {_names()}, each gzipped or not{_hint(folder, file)}"
            )
        raws[str(path)] = idx.read(path, file.dimensions)
    originals = zip(raws.values(), FILES, strict=True)
    original = all(_sha256(raw) == file.sha256 for raw, file in originals)
    return raws, "MNIST" if original else "IDX files other than MNIST's", f"from {source}"


def _find(folder: Path, file: File) -> Path | None:
    for name in file.names:
        try:
            if stat.S_ISREG((folder / name).stat().st_mode):
                return folder / name
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise NconvexError(
                f"cannot read {folder / name}: {error.strerror or error}; change its permissions"
            ) from None
    return None


def _hint(folder: Path, file: File) -> str:
    """Where below a folder, as in torchvision's, the file is."""
    for pattern in ("*", "*/*"):
        for name in file.names:
            for path in sorted(folder.glob(f"{pattern}/{name}")):
                return f"; {path.parent} has it, so give that folder"
    return ""


def _sha256(raw: bytearray) -> str:
    return hashlib.sha256(raw).hexdigest()


# -- The originals --------------------------------------------------------------------------------


def _full(progress: Callable[[str], None]) -> tuple[dict[str, bytearray], str, str]:
    """Return the originals by name, what they are, and where they are from."""
    folders = [cache_folder()]
    if given := os.environ.get(VARIABLE):
        if not os.path.isdir(given):
            raise NconvexError(
                f"{VARIABLE} names {given!r}, which is no folder; correct or unset it"
            )
        folders.insert(0, Path(given))
    mirrors = list(MIRRORS)
    raws, origins = {}, []
    for file in FILES:
        path = next((path for folder in folders if (path := _find(folder, file))), None)
        if path is None:
            raw, origin = _download(file, mirrors, progress)
            _keep(file, raw, progress)
            name = f"{origin}{file.name}.gz"
        else:
            raw, origin, name = idx.read(path, file.dimensions), str(path.parent), str(path)
            if (found := _sha256(raw)) != file.sha256:
                raise NconvexError(
                    f"{path} is not MNIST's {file.name}: decompressed, its SHA-256 is {found}, not "
                    f"{file.sha256}; remove it to have the original downloaded, or use --data "
                    f"{path.parent} to take that folder's files as they are"
                )
        raws[name] = raw
        origins.append(origin)
    return raws, "MNIST", f"from {' and '.join(dict.fromkeys(origins))}"


def _keep(file: File, raw: bytearray, progress: Callable[[str], None]) -> None:
    """Write a file to the cache; where that is impossible, say so and go on without."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / file.name, lambda stream: stream.write(raw))
    except (OSError, NconvexError) as error:
        progress(f"{file.name} is not kept for later runs: {error}")


def _download(
    file: File, mirrors: list[str], progress: Callable[[str], None]
) -> tuple[bytearray, str]:
    """Get a file from the first mirror that has the original; that one then leads the list."""
    failures = []
    for mirror in mirrors:
        url = f"{mirror}{file.name}.gz"
        progress(f"downloading {url}")
        try:
            raw = idx.unpack(io.BytesIO(_fetch(url, progress)), "its answer", file.dimensions)
            if (found := _sha256(raw)) != file.sha256:
                raise NconvexError(f"its file has the SHA-256 {found}, not {file.sha256}")
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"{urlsplit(url).netloc}: {str(error) or type(error).__name__}")
            progress(f"failed, {failures[-1]}")
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
        else:
            mirrors.remove(mirror)
            mirrors.insert(0, mirror)
            return raw, mirror
    raise NconvexError(
        f"{file.name} could not be downloaded ({'; '.join(failures)}); without a network, put "
        f"{_names()}, each gzipped or not, into {cache_folder()}, or into any folder and use "
        "--data FOLDER"
    )


def _fetch(url: str, progress: Callable[[str], None]) -> bytearray:
    deadline = time.monotonic() + DEADLINE
    data = bytearray()
    opener = urllib.request.build_opener(_SameScheme)
    with opener.open(url, timeout=TIMEOUT) as response:
        announced = response.length
        while announced is None or len(data) < announced:
            part = response.read1(2**16)
            if not part:
                break
            if (len(data) + len(part)) // 2**20 > len(data) // 2**20:
                progress(f"downloading {url}: {(len(data) + len(part)) // 2**20} MiB")
            data += part
            if len(data) > DOWNLOAD_CAP:
                raise NconvexError(f"sends more than {DOWNLOAD_CAP} bytes")
            if time.monotonic() > deadline:
                raise NconvexError(f"sent only {len(data)} bytes in {DEADLINE:g} s")
    if announced is not None and len(data) < announced:
        raise NconvexError(f"announced {announced} bytes but sent {len(data)}")
    return data


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirects that keep the scheme: HTTPS never leads to plain HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, *rest: Any
    ) -> urllib.request.Request | None:
        code, _, headers, to = rest
        if urlsplit(to).scheme != req.type:
            text = f"redirects from {req.type} to {to}"
            raise urllib.error.HTTPError(req.full_url, code, text, headers, fp)
        return super().redirect_request(req, fp, *rest)


# -- From raw bytes to arrays ---------------------------------------------------------------------


def _arrays(raws: dict[str, bytearray]) -> dict[str, np.ndarray]:
    """Check and return the arrays of `Digits`; the files are named, in the order of `FILES`."""
    names, arrays = list(raws), [idx.array(raw) for raw in raws.values()]
    for k in (0, 2):
        (images, labels), (image_file, label_file) = arrays[k : k + 2], names[k : k + 2]
        if images.shape[1:] != (SIDE, SIDE):
            height, width = images.shape[1:]
            raise NconvexError(
                f"{image_file} holds images of {height} x {width} pixels; give images of "
                f"{SIDE} x {SIDE}"
            )
        if len(images) != len(labels):
            raise NconvexError(
                f"{image_file} holds {len(images)} images but {label_file} {len(labels)} labels; "
                "take both from the same data set"
            )
        if labels.max() >= CLASSES:
            first = int(np.argmax(labels >= CLASSES))
            raise NconvexError(
                f"{label_file}: label {first} is {labels[first]}; labels must lie in 0 to "
                f"{CLASSES - 1}, so use a data set of {CLASSES} classes"
            )
        arrays[k] = images.reshape(len(images), SIDE * SIDE)
    return dict(zip(("X", "labels", "X_test", "labels_test"), arrays, strict=True))
