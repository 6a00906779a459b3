"""What commands hand over, where it cannot be taken: pipes, devices, disks, terminals, signals."""

import io
import math
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command_lines import refused
from hypothesis import given
from hypothesis import strategies as st

from nconvex.commands import interrupts, outputs
from nconvex.commands.survey import main as survey
from nconvex.definitions import NconvexError, beside
from nconvex.files import write_whole
from nconvex.pairs import running

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files and signals")


def run(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options):
    """Run code in a process, where standard streams and signals are real."""
    head = (  # the package itself takes longer to import than all of these tests
        "import os, sys, types; sys.modules['nconvex'] = types.ModuleType('nconvex')\n"
        f"sys.modules['nconvex'].__path__ = [{str(Path(outputs.__file__).parents[1])!r}]\n"
        "from nconvex.commands import interrupts, outputs\n"
    )
    command = [sys.executable, "-c", head + code]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, **options)


# -- Text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2Jclear", "\udcff", "tab\t", "\u2028"])
def test_an_error_is_one_line_whatever_names_hold(name, capsys):
    def command():
        raise NconvexError(f"no {name}")

    assert outputs.guarded("prog", command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("prog: error: no ")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"])
def test_what_an_encoding_lacks_is_replaced(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    outputs.say("loss – 0.1 \udcff")
    outputs.complain("Müller–Brown")
    assert b"loss" in stream.buffer.getvalue()
    assert stream.buffer.getvalue().count(b"\n") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("stream", "status"), [("stdout", 1), ("stderr", 0), ("both", 1)])
def test_a_full_disk_behind_a_standard_stream_loses_nothing(tmp_path, stream, status):
    code = (
        "def save(): open('saved', 'w').close()\n"
        "outputs.Progress(False).live('at work')\n"
        "sys.exit(outputs.guarded('prog', lambda: outputs.deliver('prog', 'result', save)))"
    )
    names = ("stdout", "stderr") if stream == "both" else (stream,)
    with open("/dev/full", "w") as full:
        done = run(code, cwd=tmp_path, **dict.fromkeys(names, full))
    assert done.returncode == status
    assert (tmp_path / "saved").exists()
    if stream == "stdout":
        assert done.stderr.splitlines()[1:] == [
            "prog: error: cannot write to stdout: No space left on device; redirect it elsewhere"
        ]


@posix
def test_a_reader_that_goes_away_loses_no_file(tmp_path):
    code = (
        "def save(): open('saved', 'w').close()\n"
        "sys.exit(outputs.guarded('p', lambda: outputs.deliver('p', 'x\\n' * 10**6, save)))"
    )
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as pipe:
        done = run(code, stdout=pipe, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (outputs.CLOSED_PIPE, "")
    assert (tmp_path / "saved").exists()


@given(st.floats(1e-9, 1e3), st.integers(-3, 3))
def test_a_value_is_shown_on_its_side_of_the_threshold(L0, steps):
    value = L0 + steps * math.ulp(L0)
    text = beside(value, L0)
    assert (float(text) <= L0) == (value <= L0)
    assert len(beside(2.0 * L0, L0)) <= len(f"{2.0 * L0:.4g}")


# -- Files ----------------------------------------------------------------------------------------


@posix
def test_what_is_no_regular_file_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, lambda file: file.write(b"data"))
    reader.join()
    assert read == [b"data"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", lambda file: file.write(b"data"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "target"]


@posix
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "linked"])
def test_standard_output_is_written_to_and_not_replaced(tmp_path, name):
    (tmp_path / "linked").symlink_to("/dev/stdout")
    code = (
        "from nconvex.files import write_whole; print('before')\n"
        f"write_whole({name!r}, lambda file: file.write(b'data\\n')); print('after')"
    )
    assert run(code, cwd=tmp_path).stdout == "before\ndata\nafter\n"
    with open(tmp_path / "out", "w") as file:
        run(code, stdout=file, cwd=tmp_path)
    assert (tmp_path / "out").read_text() == "before\ndata\nafter\n"
    assert (tmp_path / "linked").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@posix
def test_standard_output_that_cannot_be_written_to_is_told_by_whoever_writes(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(NconvexError, match="takes no bytes"):
        write_whole("-", lambda file: file.write(b"data"))
    outputs.say("nobody listens")


@pytest.mark.parametrize("length", [250, 255])
def test_names_may_be_as_long_as_the_system_lets_them(tmp_path, length):
    path = tmp_path / ("n" * length)
    outputs.require_output("--out", path)
    write_whole(path, lambda file: file.write(b"data"))
    assert path.read_bytes() == b"data"


@posix
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing/a.png", "No such file or directory"),
        ("n" * 256, "File name too long"),
        ("folder", "Is a directory"),
        ("folder/../store.sqlite", "is also"),
        ("link", "is also"),
        ("file/a.png", "Not a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_and_left_alone(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    store = tmp_path / "store.sqlite"
    (tmp_path / "link").symlink_to(store)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NconvexError, match=words) as error:
        outputs.require_output("--out", tmp_path / name, [store])
    assert str(error.value).startswith("--out")
    assert sorted(tmp_path.rglob("*")) == before
    outputs.require_output("--out", tmp_path / "other", [store])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--out", "missing/x.png"], "--out: cannot write missing/x.png: No such file"),
        (["--store", "s", "--out", "s"], "--out s is also s"),
        (["--store", "s", "--out", "./s-wal"], "--out s-wal is also s-wal"),
        (["--store", "-"], "'-' is no file; name one"),
        (["--store", ""], "'' is no file; name one"),
        (["--store", "/"], "/"),
        (["--hidden", "4", "4"], "joined by dashes, e.g. --hidden 4-4"),
        (["--hidden", "4,4"], "'4,4' must be units joined by dashes"),
        (["--L0", "1e-3", "0.001"], "--L0 names 0.001 twice"),
        (["--task", "mnist", "cubic"], "survey it apart from cubic"),
    ],
)
def test_surveys_refuse_before_any_work(tmp_path, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "run", lambda *_, **__: pytest.fail("work was done"))
    if argv == ["--store", "/"]:
        monkeypatch.undo()  # the store itself finds out
    assert words in refused(capsys, survey, ["run", "--pairs", "1", *argv])
    assert not list(tmp_path.iterdir())


# -- Figures --------------------------------------------------------------------------------------


def test_figures_need_no_backend_and_fail_in_one_line(tmp_path, monkeypatch, capsys):
    from matplotlib.figure import Figure

    monkeypatch.setenv("MPLBACKEND", "nonsense")  # matplotlib refuses to be imported with it
    code = (
        "import pathlib\n"
        "def make():\n"
        "    import matplotlib.pyplot\n"
        "    return outputs.png(matplotlib.figure.Figure())\n"
        "outputs.draw(pathlib.Path('a.png'), make)"
    )
    done = run(code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.environ["MPLBACKEND"] == "nonsense"

    def broken():
        figure = Figure()
        figure.text(0, 0, "$\\nonsense$")
        return outputs.png(figure)

    def whole():  # it does not suffer
        return outputs.png(Figure())

    def deliver():
        drawings = [lambda: outputs.draw(tmp_path / "b.png", broken), None]
        drawings += [lambda: outputs.draw(tmp_path / "c.png", whole)]
        return outputs.deliver("prog", "result", None, drawings)

    assert outputs.guarded("prog", deliver) == outputs.OUTPUT_FAILED
    out, err = capsys.readouterr()
    assert out == "result\n"
    assert err.startswith("prog: error: cannot draw")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "c.png"]


# -- Signals --------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("signum", interrupts.SIGNALS)
@pytest.mark.parametrize("moment", ["work", "print", "save", "draw"])
def test_signals_at_any_moment_keep_the_result_and_the_handlers(tmp_path, capsys, signum, moment):
    before = [signal.getsignal(each) for each in interrupts.SIGNALS]
    done = []

    def step(name):
        if name == moment:
            os.kill(os.getpid(), signum)
            os.kill(os.getpid(), signum)
        done.append(name)

    def command():
        text = "result"
        try:
            step("work")
        except KeyboardInterrupt:
            text = "partial"
        monkeypatch = pytest.MonkeyPatch()
        with monkeypatch.context() as patch:
            patch.setattr(outputs, "say", lambda line: (print(line), step("print")))
            pictures = [lambda: step("draw"), lambda: step("draw on")]
            return outputs.deliver("prog", text, lambda: step("save"), pictures)

    assert outputs.guarded("prog", command) == 128 + signum
    out, err = capsys.readouterr()
    assert out == ("partial\n" if moment == "work" else "result\n")
    assert "save" in done
    assert ("draw" in done) == ("draw on" in done) == (moment == "work")
    assert "Traceback" not in err
    assert [signal.getsignal(each) for each in interrupts.SIGNALS] == before


@posix
def test_a_signal_that_python_drops_comes_again(capsys):
    class Dropping:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    def command():
        Dropping()
        threading.Event().wait(20)
        return 0

    assert outputs.guarded("prog", command) == 130
    assert capsys.readouterr().err == "interrupted\n"


@posix
def test_what_is_ignored_stays_ignored():
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "def command():\n"
        "    os.kill(os.getpid(), signal.SIGHUP); return 0\n"
        "sys.exit(outputs.guarded('prog', command))"
    )
    assert run(code).returncode == 0


@posix
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("argv", [["-m", "nconvex.quad"], ["-mnconvex", "survey"], ["nconvex"]])
def test_a_signal_while_the_package_is_imported_ends_the_command(tmp_path, argv, signum):
    script = "from nconvex.__main__ import main\nmain()"
    (tmp_path / "nconvex").write_text(script)  # as pip installs it
    argv = [str(tmp_path / word) if word == "nconvex" else word for word in argv]
    stub = f"import os, time; os.kill(os.getpid(), {int(signum)}); time.sleep(20)"
    (tmp_path / "numpy.py").write_text(stub)  # what takes long to import
    done = subprocess.run(
        [sys.executable, *argv],
        capture_output=True,
        text=True,
        cwd=Path(outputs.__file__).parents[2],
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(outputs.__file__).parents[2]}",
        },
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + signum, "", "interrupted\n")


@posix
def test_importing_the_package_leaves_signals_to_others():
    code = "import signal; print(signal.getsignal(2) is signal.default_int_handler)"
    assert run(code).stdout == "True\n"
