"""What is in the file stays there, whatever happens to those who write to it."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import nconvex as nc
from nconvex import NconvexError, RMSProp
from nconvex.commands.survey import main
from nconvex.pairs import running
from nconvex.pairs.store import FORMAT, Store

FIELDS = (("setting", "i8"), ("pair", "i8"), ("word", "U8"), ("flag", "?"), ("value", "f8"))
ABOUT = {"what": [1, 2.5, "three"]}
VERSIONS = {"nconvex": "0"}

SETTINGS = nc.survey.grid(L0=(2e-2, 1e-2), samples=40, rmsprop=RMSProp(budget=400))
PAIRS = 12

#: A process that surveys SETTINGS; more slowly than it could, so that kills hit it in the middle.
WORKER = """
import sys, time
sys.path.insert(0, {tests!r})
import nconvex as nc
from test_store import SETTINGS, PAIRS
print("ready", flush=True)
nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, store=sys.argv[1], workers=2, keep_strings=True,
             progress=lambda *_: time.sleep({pause}))
"""


def worker(path, pause=0.0):
    code = WORKER.format(tests=os.path.dirname(__file__), pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted():
    return nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, workers=1).records


def filled(path):
    with Store(path, FIELDS, ABOUT, VERSIONS) as store:
        store.add((0, 1, "one", True, 0.1))
        store.add((0, 0, "", False, np.nan), np.arange(6.0).reshape(3, 2))
    return path


# -- What is put in comes out ----------------------------------------------------------------------


def test_records_come_back_bit_for_bit_in_order(tmp_path):
    path = filled(tmp_path / "s")
    with Store(path, FIELDS) as store:
        records = store.records()
        assert records[["setting", "pair"]].tolist() == [(0, 0), (0, 1)]
        assert records["value"][1] == 0.1
        assert np.isnan(records["value"][0])
        assert records["flag"].tolist() == [False, True]
        assert store.configuration == ABOUT
        assert store.versions == VERSIONS
        np.testing.assert_array_equal(store.beads(0, 0), np.arange(6.0).reshape(3, 2))
        assert store.beads(0, 1) is None
    assert [file.name for file in tmp_path.iterdir()] == ["s"]  # one file, no journal


def test_a_pair_is_kept_once(tmp_path):
    with Store(tmp_path / "s", FIELDS, ABOUT, VERSIONS) as store:
        assert store.add((0, 0, "first", True, 1.0))
        assert not store.add((0, 0, "second", True, 2.0), np.zeros((2, 2)))
        assert (0, 0) in store
        assert (0, 1) not in store
        assert store.records()["word"].tolist() == ["first"]
        assert store.beads(0, 0) is None


# -- Files that are not what they should be --------------------------------------------------------


def test_damaged_files_are_told(tmp_path):
    path = filled(tmp_path / "s")
    whole = path.read_bytes()
    with Store(path, FIELDS) as store:
        good = store.records().tobytes(), store.beads(0, 0).tobytes()
    refused = 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=40):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data))
        try:
            with Store(path, FIELDS) as store:  # never another record, unnoticed
                assert (store.records().tobytes(), store.beads(0, 0).tobytes()) == good
        except NconvexError:
            refused += 1
    assert refused > 50
    for data in (b"", b"not a database" * 100, whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(NconvexError, match=r"damaged or not a survey|is not a survey"):
            Store(path, FIELDS)


def test_a_string_is_read_no_larger_than_it_is(tmp_path):
    path = filled(tmp_path / "s")
    head = np.lib.format.magic(1, 0) + b"v\x00"
    shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    for blob in (head + shape.ljust(117) + b"\n" + bytes(64), b"", "text", head):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            digest = hashlib.blake2b(
                blob if isinstance(blob, bytes) else repr(blob).encode(), digest_size=8
            ).hexdigest()
            connection.execute("UPDATE strings SET beads = ?, digest = ?", (blob, digest))
        with Store(path, FIELDS) as store, pytest.raises(NconvexError, match="is not an array"):
            store.beads(0, 0)


# -- Reading, growing ------------------------------------------------------------------------------


def test_a_survey_grows_and_is_the_same_as_in_one_go(tmp_path, uninterrupted):
    path = tmp_path / "s"
    nc.survey.run(SETTINGS, pairs=3, seed=5, store=path)
    seen = []
    grown = nc.survey.run(
        SETTINGS, pairs=PAIRS, seed=5, store=path, progress=lambda done, *_: seen.append(done)
    )
    assert seen == list(range(7, 2 * PAIRS + 1))  # what was there is not done again
    assert grown.records.tobytes() == uninterrupted.tobytes()
    assert nc.survey.load(path).pairs == PAIRS
    with pytest.raises(NconvexError, match=r"another survey, with seed=\(5,\), not \(6,\); choose"):
        nc.survey.run(SETTINGS, pairs=PAIRS, seed=6, store=path)
    with pytest.raises(NconvexError, match="another survey, with keep_strings=False, not True"):
        nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, store=path, keep_strings=True)


def test_a_store_grows_by_settings_and_what_is_not_asked_for_stays(tmp_path, uninterrupted):
    path = tmp_path / "s"
    first, second = SETTINGS
    nc.survey.run(second, pairs=PAIRS, seed=5, store=path)
    before = nc.survey.load(path).records.tobytes()
    seen = []
    grown = nc.survey.run(
        SETTINGS, pairs=3, seed=5, store=path, progress=lambda *at: seen.append(at)
    )  # in another order than the file's, and fewer pairs
    expected = uninterrupted[uninterrupted["pair"] < 3]
    assert grown.records.tobytes() == expected.tobytes()
    assert (grown.settings, grown.pairs) == (SETTINGS, 3)
    assert [(done, total, row["setting"]) for done, total, row in seen] == [
        (4, 6, 0), (5, 6, 0), (6, 6, 0)
    ]  # fmt: skip
    whole = nc.survey.load(path)
    assert (whole.settings, whole.pairs) == ((second, first), PAIRS)
    assert whole.of(0).tobytes() == before
    assert len(whole.of(1)) == 3
    again = nc.survey.run(first, pairs=3, seed=5, store=path, progress=pytest.fail)
    assert again.records.tobytes() == expected[:3].tobytes()
    assert len(nc.survey.load(path).records) == PAIRS + 3
    assert nc.survey.resume(path).complete


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_who_may_only_read_reads_and_leaves_all_as_it_is(monkeypatch, capsys):
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which others may not enter
        path = Path(folder) / "s"
        survey = nc.survey.run(SETTINGS, pairs=1, seed=5, store=path)
        before = path.stat().st_mtime_ns, path.read_bytes(), os.listdir(folder)
        path.chmod(0o444)
        os.chmod(folder, 0o555)
        superuser = os.geteuid() == 0
        if superuser:
            os.seteuid(65534)
        try:
            assert nc.survey.load(path).records.tobytes() == survey.records.tobytes()
            assert main(["status", str(path)]) == 0
            assert main(["export", str(path), "--csv", "-"]) == 0
            assert capsys.readouterr().out.count("\n") > 5
            assert main(["resume", str(path)]) == 2
            assert "readonly database; choose a folder that" in capsys.readouterr().err
        finally:
            if superuser:
                os.seteuid(0)
            os.chmod(folder, 0o755)
        assert (path.stat().st_mtime_ns, path.read_bytes(), os.listdir(folder)) == before


def test_a_survey_is_read_while_others_write(tmp_path, uninterrupted):
    path = tmp_path / "s"
    counts = []
    nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, store=path, workers=1,
              progress=lambda *_: counts.append(len(nc.survey.load(path).records)))  # fmt: skip
    assert counts == list(range(1, 2 * PAIRS + 1))
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (":memory:", "would keep nothing; name a file"),
        (".", "is not a file that can keep a survey"),
        ("x" * 300, "File name too long"),
        ("x" * 250, "File name too long"),  # for the files that SQLite keeps beside it
        ("file/s", "Not a directory"),
        ("no/s", "choose a folder that exists and is writable"),
        ("/dev/null", "is not a file that can keep a survey"),
        ("a\0b", "choose another file"),
    ],
)
def test_what_cannot_keep_a_survey_is_refused(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(NconvexError, match=words):
        nc.survey.run(SETTINGS, pairs=1, seed=5, store=name)
    assert os.listdir() == ["file"]


def test_any_other_name_will_do(tmp_path):
    for name in ("with space", "per%cent", "what?mode=ro", "sharp#", "ü", "a&immutable=1"):
        nc.survey.run(SETTINGS[0], pairs=1, seed=5, store=tmp_path / name)
        assert nc.survey.load(tmp_path / name).complete
        assert name in os.listdir(tmp_path)


def test_other_files_and_other_versions_are_told(tmp_path):
    path = filled(tmp_path / "s")
    with pytest.raises(NconvexError, match="its tables are not those"):
        Store(path, FIELDS[:-1])
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    with pytest.raises(NconvexError, match=f"is of format {FORMAT + 1}, not {FORMAT}; use the ver"):
        Store(path, FIELDS)
    connection = sqlite3.connect(tmp_path / "other")
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(NconvexError, match="is not a survey of nconvex"):
        Store(tmp_path / "other", FIELDS, ABOUT, VERSIONS)
    with pytest.raises(NconvexError, match="does not exist"):
        Store(tmp_path / "none", FIELDS)
    with pytest.raises(NconvexError, match="choose a folder that exists"):
        Store(tmp_path / "no" / "folder", FIELDS, ABOUT, VERSIONS)


def test_a_survey_is_not_continued_by_other_versions(tmp_path, monkeypatch):
    path = tmp_path / "s"
    nc.survey.run(SETTINGS[0], pairs=1, store=path)
    older = {**running.versions(), "numba": "0.1"}
    monkeypatch.setattr(running, "versions", lambda: older)
    with pytest.raises(NconvexError, match="was made by nconvex"):
        nc.survey.run(SETTINGS[0], pairs=1, store=path)
    assert len(nc.survey.load(path).records) == 1


# -- Whatever happens ------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kills_at_random_moments_lose_and_double_nothing(tmp_path, uninterrupted):
    path = tmp_path / "s"
    kills = int(os.environ.get("NCONVEX_KILLS", "10"))
    rng = np.random.default_rng(1)
    seen: set = set()
    hits = files = 0
    while hits < kills:
        run = worker(path, pause=0.05)
        assert run.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.6))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        if run.returncode != -signal.SIGKILL:  # it was done before the kill: start another file
            assert run.returncode == 0
        else:
            hits += 1
        if not path.exists() or path.stat().st_size == 0:
            continue  # killed before it made the file
        try:
            records = nc.survey.load(path).records
        except NconvexError:
            assert not seen  # killed while it made the file
            continue
        found = {(int(r["setting"]), int(r["pair"])) for r in records}
        assert len(found) == len(records)
        assert seen <= found
        seen = found
        expected = uninterrupted[[r["setting"] * PAIRS + r["pair"] for r in records]]
        assert records.tobytes() == expected.tobytes()
        if len(records) == len(uninterrupted):
            files += 1
            seen = set()
            path = tmp_path / f"s{files}"
    result = nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, store=path, workers=2, keep_strings=True)
    assert result.records.tobytes() == uninterrupted.tobytes()


def test_two_processes_on_one_file(tmp_path, uninterrupted):
    path = tmp_path / "s"
    runs = [worker(path, pause=0.02) for _ in range(2)]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    assert nc.survey.load(path).records.tobytes() == uninterrupted.tobytes()


@pytest.mark.skipif(os.name == "nt", reason="needs limits on files")
def test_a_full_disk_loses_nothing_that_was_finished(tmp_path, uninterrupted):
    path = tmp_path / "s"
    code = f"""
import resource, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import nconvex as nc
from nconvex import NconvexError
from test_store import SETTINGS, PAIRS
nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, workers=1)
room = 60_000
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    nc.survey.run(SETTINGS, pairs=PAIRS, seed=5, store=sys.argv[1], workers=2, keep_strings=True)
except NconvexError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "what was finished is safe; make room and resume" in run.stdout
    records = nc.survey.load(path).records
    assert 0 < len(records) < len(uninterrupted)
    assert nc.survey.resume(path).records.tobytes() == uninterrupted.tobytes()


def test_the_layout_of_format_2_does_not_change(tmp_path):
    nc.survey.run(SETTINGS[0], pairs=1, seed=5, store=tmp_path / "s")
    with closing(sqlite3.connect(tmp_path / "s")) as connection:
        tables = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        ((text,),) = connection.execute("SELECT json FROM about WHERE key = 'configuration'")
    record = (
        "setting INTEGER, pair INTEGER, task TEXT, activation TEXT, loss TEXT, hidden TEXT, "
        "L0 REAL, alpha REAL, depth INTEGER, accept REAL, sampler TEXT, outcome TEXT, "
        "connected INTEGER, certified INTEGER, beads REAL, normalized_length REAL, "
        "path_length REAL, max_error_lower REAL, max_error REAL, line_max_error REAL, "
        "loss_1 REAL, loss_2 REAL, starts INTEGER, training_steps INTEGER, search_steps REAL, "
        "segments_above REAL, steepest REAL"
    )
    assert tables == [
        ("CREATE TABLE about (key TEXT PRIMARY KEY, json TEXT)",),
        (f"CREATE TABLE pairs ({record}, digest TEXT, PRIMARY KEY (setting, pair)) WITHOUT ROWID",),
        (None,),
        (None,),
        (
            "CREATE TABLE strings (setting INTEGER, pair INTEGER, beads BLOB, digest TEXT, "
            "PRIMARY KEY (setting, pair))",
        ),
    ]
    rmsprop = {
        "learning_rate": 5e-3, "final_learning_rate": 1e-4, "decay": 0.9, "epsilon": 1e-8,
        "budget": 400, "check_every": 10,
    }  # fmt: skip
    setting = {
        "task": "quadratic", "activation": "relu", "loss": "mse", "hidden": [4, 4], "L0": 2e-2,
        "alpha": 0.8, "depth": 10, "accept": 1.0, "insert": "peak", "sampler": "plain",
        "samples": 40, "rmsprop": rmsprop, "bead_rmsprop": None,
    }  # fmt: skip
    expected = {"settings": [setting], "pairs": 1, "seed": [5], "keep_strings": False}
    assert json.loads(text) == expected
    assert FORMAT == 2
