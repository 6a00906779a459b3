import gzip
import hashlib
import http.server
import os
import re
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from test_idx import encode, header

from nconvex.data import digits
from nconvex.data.mnist_subset import make
from nconvex.definitions import NconvexError
from nconvex.files import write_arrays

ROOT = Path(__file__).resolve().parents[2]
FULL = Path(os.environ.get(digits.VARIABLE, ROOT.parent / "shared" / "data" / "mnist"))
ORIGINALS = digits.FILES
NAMES = [file.name for file in ORIGINALS]


def small(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28), np.uint8)
    return encode(images), encode(rng.integers(0, 10, count, np.uint8))


#: A data set of 30 training and 20 test images, by file name.
CONTENT = dict(zip(NAMES, small(30, 0) + small(20, 1), strict=True))


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine without data, without a network and without proxies."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(digits.VARIABLE, raising=False)
    monkeypatch.setattr(digits, "cache_folder", lambda: tmp_path / "cache" / "mnist")
    monkeypatch.setattr(digits, "MIRRORS", ())


@pytest.fixture
def tiny(monkeypatch):
    """CONTENT in place of the originals."""
    files = tuple(
        digits.File(file.name, file.dimensions, hashlib.sha256(CONTENT[file.name]).hexdigest())
        for file in ORIGINALS
    )
    monkeypatch.setattr(digits, "FILES", files)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    fill(folder)
    return folder


def fill(folder, pack=bytes, suffix=""):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / f"{name}{suffix}").write_bytes(pack(content))


def assert_is_content(data):
    for name, array in zip(
        NAMES, (data.X, data.labels, data.X_test, data.labels_test), strict=True
    ):
        assert array.dtype == np.uint8
        assert array.shape == ((len(array), 784) if "images" in name else (len(array),))
        assert CONTENT[name].endswith(array.tobytes())
    assert (len(data.X), len(data.X_test)) == (30, 20)


# -- The subset -----------------------------------------------------------------------------------


def test_the_subset_is_there_without_a_network_and_stratified():
    data = digits.load()
    assert data.name == ("MNIST subset, 5,000 training and 1,000 test images, shipped with nconvex")
    assert data.X.shape == (5000, 784)
    assert data.X_test.shape == (1000, 784)
    assert {array.dtype for array in (data.X, data.labels, data.X_test, data.labels_test)} == {
        np.dtype(np.uint8)
    }
    np.testing.assert_array_equal(np.bincount(data.labels), [500] * 10)
    np.testing.assert_array_equal(np.bincount(data.labels_test), [100] * 10)
    assert np.count_nonzero(np.diff(data.labels.astype(int))) > 4000  # in no order of digits
    assert len(np.unique(np.vstack([data.X, data.X_test]), axis=0)) == 6000


def test_the_subset_is_the_one_whose_provenance_is_stated():
    text = (digits.SUBSET.parent / "PROVENANCE.md").read_text(encoding="utf-8")
    stated = {name: sha256 for sha256, name in re.findall(r"^(\w{64})  (\S+)$", text, re.M)}
    data = digits.load()
    for name in ("X", "labels", "X_test", "labels_test"):
        found = hashlib.sha256(getattr(data, name).tobytes()).hexdigest()
        assert found == stated.pop(name)
    assert stated == {file.name: file.sha256 for file in ORIGINALS}
    for said in ("LeCun", "Cortes", "Burges", "ShareAlike 3.0", f"seed {make.SEED}"):
        assert said in text


@pytest.mark.skipif(
    not (FULL / f"{NAMES[0]}.gz").exists() and not (FULL / NAMES[0]).exists(),
    reason=f"needs all of MNIST: name a folder with it in {digits.VARIABLE}",
)
def test_the_subset_can_be_made_again_from_all_of_mnist(monkeypatch, tmp_path):
    monkeypatch.setenv(digits.VARIABLE, str(FULL))
    full = digits.load("full")
    assert full.name == f"MNIST, 60,000 training and 10,000 test images, from {FULL}"
    assert digits.load(str(FULL)).name == full.name
    arrays = make.subset(full)
    shipped = digits.load()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, getattr(shipped, name))
    for name in ("a", "b"):
        write_arrays(tmp_path / name, arrays, deflate=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_draw_is_stratified_without_repetition_and_shuffled():
    labels = np.repeat(np.arange(10), 50)
    drawn = make.draw(labels, 20, 0)
    assert len(set(drawn)) == 200
    np.testing.assert_array_equal(np.bincount(labels[drawn]), [20] * 10)
    assert np.count_nonzero(np.diff(labels[drawn])) > 150
    assert set(drawn) != set(make.draw(labels, 20, 1))


# -- A folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")])
def test_a_folder_is_read_gzipped_or_not_and_named_honestly(tmp_path, pack, suffix):
    fill(tmp_path / "fashion", pack, suffix)
    data = digits.load(str(tmp_path / "fashion"))
    assert_is_content(data)
    assert data.name == (
        f"IDX files other than MNIST's, 30 training and 20 test images, from {tmp_path / 'fashion'}"
    )


@pytest.mark.usefixtures("tiny")
def test_a_folder_with_the_originals_is_called_mnist(folder):
    assert digits.load(str(folder)).name.startswith("MNIST, 30 training and 20 test images")
    (folder / NAMES[3]).write_bytes(encode(np.zeros(20, np.uint8)))
    assert digits.load(str(folder)).name.startswith("IDX files other than MNIST's")


@pytest.mark.parametrize("source", ["", "Full", "no/such/folder", "a\0b"])
def test_an_unknown_source_is_named(source):
    with pytest.raises(NconvexError, match=rf"data {re.escape(repr(source))} is neither 'subset'"):
        digits.load(source)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named_with_all_that_are_needed(folder, name):
    (folder / name).unlink()
    with pytest.raises(NconvexError, match=rf"folder holds neither {name} nor {name}\.gz; .*t10k"):
        digits.load(str(folder))


def test_names_with_a_dot_are_found(tmp_path):
    fill(tmp_path / "dotted")
    for name in NAMES:
        path = tmp_path / "dotted" / name
        path.rename(path.with_name(name.replace("-idx", ".idx")))
    assert_is_content(digits.load(str(tmp_path / "dotted")))


@pytest.mark.parametrize("below", ["raw", "MNIST/raw"])
def test_the_folder_below_that_has_the_files_is_named(tmp_path, below):
    fill(tmp_path / below, gzip.compress, ".gz")
    with pytest.raises(NconvexError, match=rf"; .*{below} has it, so give that folder"):
        digits.load(str(tmp_path))


@pytest.mark.parametrize(
    ("owner", "function", "message"),
    [
        (os, "listdir", "a folder that can be read"),
        (Path, "stat", r"cannot read .*ubyte: Perm"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_named(monkeypatch, folder, owner, function, message):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    source = str(folder)
    monkeypatch.setattr(owner, function, refuse)
    with pytest.raises(NconvexError, match=message):
        digits.load(source)


FAULTS = {
    "images of another size": (
        NAMES[0],
        header(30, 32, 32) + bytes(30 * 32 * 32),
        "images of 32 x 32 pixels; give images of 28 x 28",
    ),
    "fewer labels than images": (
        NAMES[1],
        encode(np.zeros(29, np.uint8)),
        "29 labels",
    ),
    "fewer images than labels": (
        NAMES[2],
        header(19, 28, 28) + bytes(19 * 784),
        f"holds 19 images but .*{NAMES[3]} 20 labels",
    ),
    "a label beyond 9": (
        NAMES[3],
        encode(np.array([0] * 7 + [10] + [0] * 12, np.uint8)),
        "label 7 is 10; labels must lie in 0 to 9",
    ),
    "labels in place of images": (NAMES[2], CONTENT[NAMES[3]], "1 dimensions where 3"),
    "no IDX file": (NAMES[1], b"<!DOCTYPE html>", "neither an IDX file"),
}


@pytest.mark.parametrize(("name", "content", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_named_with_its_file(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(NconvexError, match=rf"{name}.*{message}"):
        digits.load(str(folder))


# -- All of MNIST, without a network --------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_the_named_folder_comes_before_the_cache(monkeypatch, tmp_path, folder):
    fill(digits.cache_folder(), gzip.compress, ".gz")
    data = digits.load("full")
    assert_is_content(data)
    assert data.name == f"MNIST, 30 training and 20 test images, from {digits.cache_folder()}"
    monkeypatch.setenv(digits.VARIABLE, str(folder))
    assert digits.load("full").name.endswith(f", from {folder}")
    (folder / NAMES[1]).unlink()
    assert digits.load("full").name.endswith(f", from {folder} and {digits.cache_folder()}")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("where", ["variable", "cache"])
def test_what_is_not_the_original_is_refused(monkeypatch, tmp_path, where):
    folder = digits.cache_folder()
    if where == "variable":
        folder = tmp_path / "folder"
        monkeypatch.setenv(digits.VARIABLE, str(folder))
    fill(folder)
    (folder / NAMES[2]).write_bytes(header(20, 28, 28) + bytes(20 * 784))
    with pytest.raises(NconvexError, match=rf"{NAMES[2]} is not MNIST's .*SHA-256.*remove it"):
        digits.load("full")


def test_a_variable_that_names_no_folder_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(digits.VARIABLE, str(tmp_path / "typo"))
    with pytest.raises(NconvexError, match=r"NCONVEX_MNIST names .*typo.*correct or unset"):
        digits.load("full")
    assert len(digits.load("subset").X) == 5000


CACHES = {
    "linux": ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/nconvex/mnist"),
    "linux, by default": ("linux", {}, "/home/me/.cache/nconvex/mnist"),
    "macOS": ("darwin", {}, "/home/me/Library/Caches/nconvex/mnist"),
    "Windows": ("win32", {"LOCALAPPDATA": "/local"}, "/local/nconvex/mnist"),
    "Windows, by default": ("win32", {}, "/home/me/AppData/Local/nconvex/mnist"),
}


@pytest.mark.parametrize(("platform", "variables", "folder"), CACHES.values(), ids=CACHES.keys())
def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, platform, variables, folder):
    monkeypatch.undo()
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert digits.cache_folder() == Path(folder)


def test_a_user_without_a_home_is_told_what_to_do(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(NconvexError, match=r"set XDG_CACHE_HOME .*--data FOLDER"):
        digits.load("full")


# -- Downloads, from a server on this machine -----------------------------------------------------


def test_only_https_mirrors_are_shipped(monkeypatch):
    monkeypatch.undo()
    assert len(digits.MIRRORS) >= 3
    for mirror in digits.MIRRORS:
        assert re.fullmatch(r"https://[\w.-]+/\S*/", mirror)


class Server(http.server.ThreadingHTTPServer):
    """Answers /NAME/FILE.gz by the behaviour of that name: a function of the request's handler."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours = {}
        self.requests = []
        self.sent = 0  # by the endless mirror
        self.closing = threading.Event()

    def mirror(self, name, behaviour):
        self.behaviours[name] = behaviour
        return f"http://127.0.0.1:{self.server_port}/{name}/"

    def handle_error(self, request, client_address):
        """Ignore clients that leave in the middle: they are meant to."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        name, file = self.path.removeprefix("http://elsewhere.invalid").split("/")[1:]
        self.server.behaviours[name](self, file)

    def start(self, length=None, status=200, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *args):
        pass


def packed(file):
    return gzip.compress(CONTENT[file.removesuffix(".gz")])


def good(handler, file):
    handler.start(len(packed(file)))
    handler.wfile.write(packed(file))


def without_length(handler, file):
    handler.start()
    handler.wfile.write(packed(file))


def unpacked(handler, file):
    """What a server does that unpacks for clients that accept no encoding."""
    handler.start()
    handler.wfile.write(CONTENT[file.removesuffix(".gz")])


def absent(handler, file):
    handler.start(0, status=404)


def other(handler, file):
    """Another data set of the same format."""
    content = bytearray(CONTENT[file.removesuffix(".gz")])
    content[-1] ^= 1
    handler.start()
    handler.wfile.write(gzip.compress(content))


def truncated(handler, file):
    handler.start(len(packed(file)))
    handler.wfile.write(packed(file)[:-9])


def truncated_without_length(handler, file):
    handler.start()
    handler.wfile.write(packed(file)[:-9])


def garbage(handler, file):
    handler.start()
    handler.wfile.write(b"<!DOCTYPE html><title>Sign in to the network</title>")


def endless(handler, file):
    handler.start()
    while not handler.server.closing.is_set():
        handler.wfile.write(bytes(2**16))
        handler.server.sent += 2**16


def hanging(handler, file):
    handler.start(10**6)
    handler.wfile.write(packed(file)[:20])
    handler.server.closing.wait(20)


def dripping(handler, file):
    handler.start(10**6)
    while not handler.server.closing.wait(0.02):
        handler.wfile.write(b"\x1f")


def no_http(handler, file):
    handler.wfile.write(b"what?\r\n\r\n")


def redirecting(location):
    def behaviour(handler, file):
        handler.start(0, status=302, Location=location + file)

    return behaviour


@pytest.fixture
def server(tiny, monkeypatch):
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def mirrors(server, monkeypatch):
    """Sets the mirrors, as behaviours; returns their addresses."""

    def mirrors(*behaviours):
        addresses = [server.mirror(f"m{i}", behaviour) for i, behaviour in enumerate(behaviours)]
        monkeypatch.setattr(digits, "MIRRORS", tuple(addresses))
        return addresses

    return mirrors


@pytest.mark.parametrize("behaviour", [good, without_length, unpacked])
def test_a_download_is_checked_and_kept(mirrors, server, behaviour):
    (address,) = mirrors(behaviour)
    lines = []
    data = digits.load("full", lines.append)
    assert_is_content(data)
    assert data.name == f"MNIST, 30 training and 20 test images, from {address}"
    assert lines == [f"downloading {address}{name}.gz" for name in NAMES]
    assert {path.name: path.read_bytes() for path in digits.cache_folder().iterdir()} == CONTENT
    assert digits.load("full").name.endswith(f"from {digits.cache_folder()}")
    assert len(server.requests) == 4


def test_only_what_is_missing_is_downloaded(mirrors, server):
    mirrors(good)
    fill(digits.cache_folder())
    (digits.cache_folder() / NAMES[3]).unlink()
    assert_is_content(digits.load("full"))
    assert server.requests == [f"/m0/{NAMES[3]}.gz"]


BAD = {
    "absent": (absent, "HTTP Error 404"),
    "other": (other, r"its file has the SHA-256 \w{64}, not \w{64}"),
    "truncated": (truncated, r"announced \d+ bytes but sent \d+"),
    "truncated, without a length": (truncated_without_length, "truncated gzip"),
    "garbage": (garbage, "neither an IDX file nor a gzipped one"),
    "endless": (endless, "sends more than 1000000 bytes"),
    "hanging": (hanging, "timed out"),
    "dripping": (dripping, r"sent only \d+ bytes in 1 s"),
    "no HTTP": (no_http, "what"),
    "redirecting to HTTPS": (redirecting("https://127.0.0.1:1/"), "redirects from http to https:"),
    "redirecting to FTP": (redirecting("ftp://127.0.0.1/"), "redirects from http to ftp:"),
    "redirecting nowhere": (redirecting("http://["), "Invalid IPv6 URL"),
}


@pytest.mark.parametrize(("bad", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_mirror_is_named_and_the_next_one_serves(mirrors, server, monkeypatch, bad, message):
    monkeypatch.setattr(digits, "TIMEOUT", 1.0)
    monkeypatch.setattr(digits, "DEADLINE", 1.0)
    monkeypatch.setattr(digits, "DOWNLOAD_CAP", 10**6)
    _, second = mirrors(bad, good)
    lines = []
    began = time.monotonic()
    data = digits.load("full", lines.append)
    assert time.monotonic() - began < 5
    assert_is_content(data)
    assert data.name.endswith(f"from {second}")
    failed = [line for line in lines if line.startswith("failed")]
    assert len(failed) == 1  # the other files are taken from the good mirror at once
    assert re.search(rf"failed, 127\.0\.0\.1:\d+: .*{message}", failed[0])
    assert server.sent < 20 * 10**6  # what fits into the buffers on the way is sent in vain
    mirrors(bad)
    for path in digits.cache_folder().iterdir():
        path.unlink()
    with pytest.raises(NconvexError, match=rf"{NAMES[0]} could not be downloaded \(.*{message}"):
        digits.load("full")
    assert list(digits.cache_folder().iterdir()) == []


def test_a_redirect_within_the_scheme_is_followed(mirrors, server):
    mirrors(redirecting(server.mirror("target", good)))
    assert_is_content(digits.load("full"))


def test_https_never_leads_to_plain_http():
    handler = digits._SameScheme()
    request = urllib.request.Request("https://mirror.invalid/mnist")
    for location in ("http://mirror.invalid/mnist", "http://127.0.0.1/", "ftp://mirror.invalid/"):
        with pytest.raises(OSError, match="redirects from https to") as caught:
            handler.redirect_request(request, None, 302, "Found", {}, location)
        caught.value.close()
    followed = handler.redirect_request(request, None, 302, "Found", {}, "https://other.invalid/")
    assert followed.full_url == "https://other.invalid/"


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(
        digits, "MIRRORS", ("http://127.0.0.1:1/mnist/", "http://127.0.0.1:2/mnist/")
    )
    with pytest.raises(NconvexError) as caught:
        digits.load("full")
    message = str(caught.value)
    assert "\n" not in message
    assert message.count("refused") == 2
    for said in (*NAMES, "127.0.0.1:2", "gzipped or not", "--data FOLDER"):
        assert said in message
    assert str(digits.cache_folder()) in message
    assert not digits.cache_folder().exists()


def test_proxies_are_honoured(server, monkeypatch):
    server.mirror("m0", good)
    monkeypatch.setattr(digits, "MIRRORS", ("http://elsewhere.invalid/m0/",))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert_is_content(digits.load("full"))
    assert server.requests[0] == f"http://elsewhere.invalid/m0/{NAMES[0]}.gz"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_download_leaves_nothing(mirrors, server, monkeypatch, error):
    def large(handler, file):
        handler.start()
        handler.wfile.write(bytes(3 * 2**20))

    mirrors(large)

    def progress(line):
        if line.endswith("2 MiB"):
            raise error

    with pytest.raises(error):
        digits.load("full", progress)
    assert not digits.cache_folder().exists()


def test_a_cache_that_cannot_be_written_is_no_obstacle(mirrors, tmp_path):
    mirrors(good)
    (tmp_path / "cache").write_text("a file where the folder should be")
    lines = []
    assert_is_content(digits.load("full", lines.append))
    assert sum("is not kept for later runs" in line for line in lines) == 4
