import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from autosinian.errors import InputError
from autosinian.search.storage import (
    load_study,
    open_storage,
    open_study,
    storage_url,
    work_folder,
)
from tests.search.studies import open_small_study, url_of
from tests.space.small_supernet import TEXT, small_space


def test_a_study_lies_in_its_own_file_unless_told_otherwise() -> None:
    assert storage_url("x", None) == "sqlite:///studies/x.db"
    assert storage_url("x", "postgresql://host/db") == "postgresql://host/db"
    assert work_folder("x") == Path("studies/x")


def test_the_same_space_opens_its_study_again(tmp_path: Path) -> None:
    study, _ = open_small_study(small_space(), tmp_path)
    study.ask()
    again, _ = open_small_study(small_space(TEXT + "trials: 3\n"), tmp_path)
    assert len(again.get_trials()) == 1
    assert again.metric_names == ["accuracy", "Offline.samples_per_second"]


def test_a_study_of_another_space_is_refused_naming_what_differs(tmp_path: Path) -> None:
    open_small_study(small_space(), tmp_path)
    other = small_space(TEXT.replace("- 0.01", "- 0.02").replace("high: 2}", "high: 3}"))
    with pytest.raises(InputError, match="of another space") as caught:
        open_small_study(other, tmp_path)
    assert "constraints" in str(caught.value)
    assert "serving" in str(caught.value)
    assert "precision" not in str(caught.value)


def test_a_study_of_other_directions_is_refused(tmp_path: Path) -> None:
    open_small_study(small_space(), tmp_path)
    other = small_space(TEXT.replace("[accuracy, samples_per_second]", "[accuracy, macs]"))
    with pytest.raises(InputError, match="objectives"):
        open_small_study(other, tmp_path)
    one = small_space(TEXT.replace("[accuracy, samples_per_second]", "[samples_per_second]"))
    with pytest.raises(InputError, match="objectives"):
        open_small_study(one, tmp_path)


def test_a_study_that_another_program_made_is_refused(tmp_path: Path) -> None:
    storage = open_storage(url_of(tmp_path))
    foreign = optuna.create_study(storage=storage, study_name="study", directions=["maximize"] * 2)
    foreign.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=1)
    with pytest.raises(InputError, match="was not made by `autosinian search`"):
        open_small_study(small_space(), tmp_path)
    with pytest.raises(InputError, match="was not made by `autosinian search`"):
        load_study("study", url_of(tmp_path))


def test_a_missing_study_is_refused_with_those_there_are(tmp_path: Path) -> None:
    open_small_study(small_space(), tmp_path)
    with pytest.raises(InputError, match=r"no study `other` .*study"):
        load_study("other", url_of(tmp_path))
    assert load_study("study", url_of(tmp_path)).study_name == "study"


def test_reading_a_missing_database_creates_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no"):
        load_study("x", f"sqlite:///{tmp_path / 'absent' / 'x.db'}")
    assert not (tmp_path / "absent").exists()


def refused(url: str) -> str:
    with pytest.raises(InputError) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    assert "the storage must be a database" in str(caught.value)
    return str(caught.value)


def test_a_storage_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(f"sqlite:///{tmp_path / 'file' / 'x.db'}")
    refused(f"sqlite:///{tmp_path}")
    (tmp_path / "x.db").write_bytes(b"no database at all, whatever its name" * 200)
    assert "not a database" in refused(f"sqlite:///{tmp_path / 'x.db'}")


def test_a_database_of_another_optuna_is_refused(tmp_path: Path) -> None:
    open_storage(url_of(tmp_path))
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
    refused(url_of(tmp_path))


@pytest.mark.parametrize(
    "url",
    ["nothing://x", "study.db", "postgresql://user:secret@127.0.0.1:1/db", "mysql://u:secret@h/d"],
)
def test_a_url_without_a_database_is_refused_without_its_password(url: str) -> None:
    assert "secret" not in refused(url)


OPENER = """
import sys
from pathlib import Path
from tests.search.studies import open_small_study
from tests.space.small_supernet import small_space
sys.stdin.readline()
open_small_study(small_space(), Path(sys.argv[1]))
"""


def test_searches_may_create_their_study_at_the_same_time(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [process.communicate("go\n", timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], told


def test_the_space_of_a_study_is_kept_in_it(tmp_path: Path) -> None:
    space = small_space()
    study, _ = open_small_study(space, tmp_path)
    assert study.user_attrs["autosinian:document"] == space.document.model_dump(mode="json")
    again = open_study(
        "study", open_storage(url_of(tmp_path)), None, space.document, space.fingerprint()
    )
    assert again.user_attrs["autosinian:space"] == space.fingerprint()
