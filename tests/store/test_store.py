import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from autosinian.errors import InputError
from autosinian.store import Store
from autosinian.store.store import STALE_AFTER_S, STUCK_AFTER_S


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


@pytest.fixture
def one(tmp_path: Path) -> Store:
    return Store(url_of(tmp_path), "study")


def test_a_candidate_is_claimed_once(one: Store, tmp_path: Path) -> None:
    assert one.claim("a", 0)
    assert not one.claim("a", 1)
    assert not Store(url_of(tmp_path), "study").claim("a", 2)
    assert [(c.candidate, c.state, c.trial, c.attempts) for c in one.claims()] == [
        ("a", "running", 0, 1)
    ]


def test_a_finished_candidate_stays_claimed(one: Store) -> None:
    one.claim("a", 0)
    one.finish("a")
    assert not one.claim("a", 1)
    assert one.claims()[0].state == "done"
    assert one.stale() == []


def test_a_released_candidate_is_claimed_again_and_counted(one: Store) -> None:
    one.claim("a", 0)
    one.release("a")
    assert one.claim("a", 5)
    assert not one.claim("a", 6)
    claim = one.claims()[0]
    assert (claim.trial, claim.attempts, claim.state) == (5, 2, "running")


def test_an_interruption_is_no_attempt(one: Store) -> None:
    for trial in range(3):
        assert one.claim("a", trial)
        one.forget("a")
    assert one.claim("a", 3)
    assert one.claims()[0].attempts == 1


def test_studies_of_one_database_do_not_share_claims(tmp_path: Path) -> None:
    one, other = Store(url_of(tmp_path), "one"), Store(url_of(tmp_path), "other")
    assert one.claim("a", 0)
    assert other.claim("a", 0)
    assert len(one.claims()) == len(other.claims()) == 1


def test_a_running_claim_of_a_living_process_is_not_stale(one: Store) -> None:
    one.claim("a", 0)
    assert one.stale() == []


CLAIMER = """
import sys, time
from autosinian.store import Store
store = Store(sys.argv[1], "study")
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    if store.claim(f"key-{number}", number):
        print(number, flush=True)
"""


def start_claimer(url: str, count: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, url, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_never_claim_the_same_candidate(tmp_path: Path) -> None:
    processes = [start_claimer(url_of(tmp_path), 200) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [[int(n) for n in process.communicate(timeout=60)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(won[0] + won[1]) == list(range(200))


def test_processes_may_create_the_tables_at_the_same_time(tmp_path: Path) -> None:
    code = "import sys; from autosinian.store import Store; Store(sys.argv[1], 's').claim('a', 0)"
    processes = [subprocess.Popen([sys.executable, "-c", code, url_of(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(Store(url_of(tmp_path), "s").claims()) == 1


def test_the_claims_of_a_killed_process_are_stale_at_once(one: Store, tmp_path: Path) -> None:
    process = start_claimer(url_of(tmp_path), 3)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    for _ in range(3):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    stale = one.stale()
    assert {claim.candidate for claim in stale} == {"key-0", "key-1", "key-2"}
    assert [one.take_over(claim) for claim in stale] == [True] * 3
    assert [one.take_over(claim) for claim in stale] == [False] * 3
    assert one.stale() == []
    assert not one.claim("key-1", 9)
    assert one.release("key-1")
    assert one.claim("key-1", 9)
    assert {c.candidate: c.attempts for c in one.claims()} == {"key-0": 1, "key-1": 2, "key-2": 1}


def test_a_claim_of_another_host_is_stale_without_a_heartbeat(
    one: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "elsewhere")
        one.claim("a", 0)
    assert one.stale() == []
    later = time.time() + STALE_AFTER_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert [claim.candidate for claim in one.stale()] == ["a"]
    assert not one.beat("a")
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "elsewhere")
        assert one.beat("a")
    assert one.stale() == []


def test_a_process_that_lost_its_claim_changes_nothing_of_it(
    one: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "elsewhere")
        one.claim("a", 0)
    assert one.take_over(one.claims()[0])
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "elsewhere")
        assert not (one.beat("a") or one.finish("a") or one.release("a") or one.forget("a"))
    assert one.claims()[0].state == "running"
    assert one.finish("a")
    assert one.claims()[0].state == "done"


def test_a_claim_of_a_stopped_process_is_stale_in_the_end(
    one: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.claim("a", 0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + STUCK_AFTER_S - 1)
    assert one.stale() == []
    monkeypatch.setattr(time, "time", lambda: now + STUCK_AFTER_S + 1)
    assert [claim.candidate for claim in one.stale()] == ["a"]


def test_equal_process_ids_of_two_containers_are_not_mixed_up(
    one: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr("autosinian.store.store._host", lambda: f"{socket.gethostname()}/other")
        there.setattr(
            "autosinian.store.store._owner", lambda: f"{socket.gethostname()}/other:1:0.0"
        )
        one.claim("a", 0)
    assert one.stale() == []  # process 1 here began at another time, but that says nothing


def test_a_claim_that_is_told_twice_because_the_answer_was_lost_is_ours(one: Store) -> None:
    assert one.claim("a", 4)
    assert one.claim("a", 4)
    assert not one.claim("a", 5)
    assert one.claims()[0].attempts == 1


def test_what_was_done_may_be_opened_again(one: Store) -> None:
    one.claim("a", 0)
    one.reopen("a")
    assert not one.claim("a", 1)
    one.finish("a")
    one.reopen("a")
    assert one.claim("a", 2)
    assert one.claims()[0].attempts == 1


def test_facts_of_a_study_are_recalled_together(one: Store, tmp_path: Path) -> None:
    one.remember("quarantine", "a", {"x": 1}, of_study=True)
    one.remember("quarantine", "b", {"x": 2}, of_study=True)
    Store(url_of(tmp_path), "other").remember("quarantine", "c", {"x": 3}, of_study=True)
    assert [value["x"] for value in one.recall_all("quarantine")] == [1, 2]


def test_a_claim_that_beat_again_is_not_taken_over(one: Store) -> None:
    one.claim("a", 0)
    seen = one.claims()[0]
    time.sleep(0.01)
    one.beat("a")
    assert not one.take_over(seen)


def test_a_fact_is_recalled_by_its_key_and_kind(one: Store) -> None:
    assert one.recall("accuracy", "a") is None
    one.remember("accuracy", "a", {"accuracy": 0.5, "nested": [1, {"x": None}]})
    assert one.recall("accuracy", "a") == {"accuracy": 0.5, "nested": [1, {"x": None}]}
    assert one.recall("other", "a") is None


def test_the_first_fact_of_a_key_stays(one: Store) -> None:
    one.remember("accuracy", "a", {"accuracy": 0.5})
    one.remember("accuracy", "a", {"accuracy": 0.6})
    assert one.recall("accuracy", "a") == {"accuracy": 0.5}


def test_facts_survive_the_process(tmp_path: Path) -> None:
    first = Store(url_of(tmp_path), "one")
    first.remember("accuracy", "a", {"accuracy": 0.5})
    first.close()
    assert Store(url_of(tmp_path), "other").recall("accuracy", "a") == {"accuracy": 0.5}


def refused(url: str) -> str:
    with pytest.raises(InputError) as caught:
        Store(url, "study")
    message = str(caught.value)
    assert "\n" not in message
    assert "the storage must be a database that can be opened and written" in message
    return message


def test_a_database_in_no_folder_is_refused(tmp_path: Path) -> None:
    assert "unable to open" in refused(f"sqlite:///{tmp_path}/absent/study.db")


def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    assert "unable to open" in refused(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database, though long enough to be one" * 100)
    assert "not a database" in refused(url_of(tmp_path))


def test_a_driver_that_is_not_installed_is_refused_without_the_password() -> None:
    message = refused("mysql://user:secret@localhost/db")
    assert "secret" not in message


def test_a_server_that_is_not_there_is_refused_without_the_password() -> None:
    assert "secret" not in refused("postgresql://user:secret@127.0.0.1:1/db")


@pytest.mark.parametrize("url", ["", "study.db", "nothing://x", "sqlite:/x"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    refused(url)


def test_a_database_that_loses_a_table_is_told_in_one_line(one: Store, tmp_path: Path) -> None:
    one.claim("a", 0)
    with sa.create_engine(url_of(tmp_path)).begin() as connection:
        connection.execute(sa.text("DROP TABLE autosinian_claims"))
    for action in (lambda: one.claim("b", 1), lambda: one.beat("a"), one.claims, one.stale):
        with pytest.raises(InputError, match="no such table"):
            action()


def test_a_database_that_breaks_is_told_in_one_line(one: Store, tmp_path: Path) -> None:
    one.remember("accuracy", "a", {"accuracy": 0.5})
    one.close()
    (tmp_path / "study.db").write_bytes(b"broken by somebody else" * 1000)
    with pytest.raises(InputError, match="not a database"):
        one.recall("accuracy", "a")
    with pytest.raises(InputError, match="not a database"):
        one.remember("accuracy", "b", {"accuracy": 0.5})
