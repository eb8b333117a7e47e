"""What is away for a while is waited for, what is broken is told at once."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from autosinian.errors import InputError, Unavailable
from autosinian.store import Store
from autosinian.store.patience import Patience, passing_reason


def test_what_comes_back_is_gone_on_with_and_told_once() -> None:
    told: list[str] = []
    left = [Unavailable("the disk is full")] * 3

    def action() -> str:
        if left:
            raise left.pop()
        return "done"

    assert Patience(60.0, told.append).retry(action, str) == "done"
    assert told[0] == "paused: the disk is full; waiting up to 60 s"
    assert told[1].startswith("going on after ")
    assert len(told) == 2


def test_patience_has_an_end_of_one_line() -> None:
    def action() -> None:
        raise Unavailable("the disk is full")

    start = time.monotonic()
    with pytest.raises(
        InputError, match=r"within 0\.5 s .*the disk is full; run the same"
    ) as ended:
        Patience(0.5).retry(action, str)
    assert time.monotonic() - start < 5
    assert "\n" not in str(ended.value)


def test_without_patience_and_for_what_lasts_the_error_itself_is_raised() -> None:
    def action() -> None:
        raise Unavailable("the disk is full")

    with pytest.raises(Unavailable, match=r"^the disk is full$"):
        Patience().retry(action, str)
    with pytest.raises(Unavailable, match=r"^the disk is full$"):
        Patience(60.0).retry(action, lambda error: "")
    impatient = Patience(60.0)
    impatient.end()
    with pytest.raises(Unavailable):
        impatient.retry(action, str)


def test_a_locked_database_passes_and_a_missing_table_does_not(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", connect_args={"timeout": 0.0})
    with sqlite3.connect(tmp_path / "x.db") as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OperationalError) as locked, engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (1)"))
    assert passing_reason(locked.value) == "the database gave `database is locked`"
    with pytest.raises(OperationalError) as missing, engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO u VALUES (1)"))
    assert passing_reason(missing.value) == ""
    assert passing_reason(RuntimeError("database is locked")) == ""


def test_a_store_waits_for_a_database_file_that_comes_back(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "studies").mkdir()
    url = f"sqlite:///{tmp_path / 'studies' / 'study.db'}"
    store = Store(url, "study", Patience(60.0, told.append))
    assert store.claim("a", 0)
    store.close()
    (tmp_path / "studies").rename(tmp_path / "away")
    back = threading.Timer(0.7, lambda: (tmp_path / "away").rename(tmp_path / "studies"))
    back.start()
    assert store.claim("b", 1)
    back.join()
    assert [claim.candidate for claim in store.claims()] == ["a", "b"]
    assert "unable to open database file" in told[0]
    assert len(told) == 2
