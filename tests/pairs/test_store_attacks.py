"""Stores are data: whatever a file holds, it is read or refused in one line, and never run."""

import os
import shutil
import sqlite3
from contextlib import closing

import attack_surveys
import pytest

import nconvex as nc
from nconvex import NconvexError, RMSProp
from nconvex.commands.survey import main

SETTINGS = nc.survey.grid(L0=(2e-2, 1e-2), samples=40, rmsprop=RMSProp(budget=400))


def test_every_other_list_of_tables_is_refused_and_its_sql_never_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole, path = tmp_path / "whole", tmp_path / "s"
    nc.survey.run(SETTINGS, pairs=1, seed=5, store=whole)
    for statement in attack_surveys.SCHEMAS:  # views and triggers without end among them
        shutil.copy(whole, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(statement)
        before = path.read_bytes()
        for argv in (["status", "s"], ["resume", "s"]):
            assert main(argv) == 2, statement
            out, err = capsys.readouterr()
            assert out == ""
            assert err.count("\n") == 1
        assert path.read_bytes() == before


def test_a_list_of_tables_without_end_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "s"
    nc.survey.run(SETTINGS[0], pairs=1, store=path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("PRAGMA writable_schema = ON")
        connection.executemany(
            "INSERT INTO sqlite_master VALUES ('view', ?, ?, 0, ?)",
            [(f"v{k}", f"v{k}", f"CREATE VIEW v{k} AS SELECT 1") for k in range(20_000)],
        )
        connection.execute("COMMIT")
    monkeypatch.setattr("nconvex.pairs.store.TABLES_TIMEOUT", -1.0)
    with pytest.raises(NconvexError, match=r"is damaged or not a survey \(interrupted\)"):
        nc.survey.load(path)


def test_mutated_stores_are_refused_in_one_line_or_read(tmp_path):
    report = attack_surveys.stores(int(os.environ.get("NCONVEX_ATTACKS", "40")))
    assert "refused in one line" in report


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("beads", float("inf")),
        ("beads", 0.5),
        ("search_steps", -1.0),
        ("starts", 1e30),
        ("starts", "many"),
        ("outcome", "perhaps"),
        ("outcome", "depth_exhausted"),
        ("outcome", None),
        ("connected", 0),
        ("connected", 2),
        ("max_error", 1.0),
        ("max_error", None),
        ("L0", 0.5),
        ("task", "cubic"),
        ("hidden", "8-8"),
        ("setting", 7),
        ("pair", 99),
        ("pair", -1),
        ("normalized_length", 0.5),
        ("digest", "0" * 16),
    ],
)
def test_records_that_no_survey_makes_are_refused(tmp_path, column, value):
    path = tmp_path / "s"
    good = nc.survey.run(SETTINGS[0], pairs=1, seed=5, store=path).records
    assert good["connected"][0]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE pairs SET {column} = ?", (value,))
        (row,) = connection.execute("SELECT * FROM pairs").fetchall()
        if column != "digest":
            connection.execute("UPDATE pairs SET digest = ?", (attack_surveys.digest([*row[:-1]]),))
    with pytest.raises(NconvexError, match=r"s is damaged or not a survey \("):
        nc.survey.load(path)
    with pytest.raises(NconvexError, match=r"s is damaged or not a survey \("):
        nc.survey.resume(path)
