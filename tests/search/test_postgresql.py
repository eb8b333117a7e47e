"""A study on a real PostgreSQL server, which goes away and comes back."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.search.ledger import Ledger
from autosinian.search.outcome import CANDIDATE, read_outcome
from autosinian.search.sampler import DistinctSampler
from autosinian.search.storage import load_study, open_storage, open_study
from autosinian.store import Store
from autosinian.store.patience import Patience
from autosinian.testing.postgresql import TemporaryServer, find_binaries
from tests.search.studies import ask, figures, keep_baseline
from tests.space.small_supernet import small_space

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(
    find_binaries() is None, reason="no PostgreSQL server is installed (Debian: postgresql)"
)
PROCESSES, TRIALS, ROUNDS = 4, 4, 5


@pytest.fixture(scope="module")
def server() -> Iterator[TemporaryServer]:
    with TemporaryServer() as started:
        yield started


def searched(url: str, name: str, trials: int, patience: Patience, folder: Path) -> None:
    """Add trials to a study as a search does."""
    space = small_space()
    store = Store(url, name, patience)
    storage = open_storage(url, patience=patience)
    sampler = DistinctSampler(space, store, [], kind="random")
    study = open_study(name, storage, sampler, space.document, space.fingerprint())
    keep_baseline(study, space, figures(space.baseline()))
    ledger = Ledger(study, store, space, folder)
    for _ in range(trials):
        trial, candidate = ask(study, space)
        trial.set_user_attr(CANDIDATE, candidate.to_dict())
        assert store.beat(candidate.key) is not False
        ledger.tell(trial, candidate, figures(candidate))
    storage.remove_session()
    store.close()


def states(url: str, name: str) -> Counter[str]:
    """The states of a study's trials; every finished candidate is there once."""
    outcome = read_outcome(load_study(name, url))
    keys = [r.candidate.key for r in outcome.records if r.candidate and r.state != "lost"]
    assert len(keys) == len(set(keys))
    assert {c.state for c in Store(url, name).claims()} <= {"done", "released"}
    return Counter(record.state for record in outcome.records)


WORKER = """
import sys
from pathlib import Path
from autosinian.store.patience import Patience
from tests.search.test_postgresql import TRIALS, searched
sys.stdin.readline()
searched(sys.argv[1], "shared", TRIALS, Patience(), Path(sys.argv[2]))
"""


def test_processes_share_a_study(server: TemporaryServer, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, server.url, str(tmp_path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    told = [process.communicate("go\n", timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, told
    found = states(server.url, "shared")
    assert found["measured"] + found["infeasible"] == PROCESSES * TRIALS == found.total()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_search_goes_on_when_its_server_is_back(
    server: TemporaryServer, tmp_path: Path, round_: int
) -> None:
    told: list[str] = []
    patience = Patience(60.0, told.append)
    name = f"restarted-{round_}"
    url, trials, errors = server.url, 40, []

    def search() -> None:
        try:
            searched(url, name, trials, patience, tmp_path)
        except Exception as error:  # noqa: BLE001  (shown by the assertion below)
            errors.append(error)

    searched(url, name, 1, patience, tmp_path)
    seen = load_study(name, url)
    thread = threading.Thread(target=search)
    thread.start()
    while len(seen.get_trials(deepcopy=False)) < 3 + round_:
        assert thread.is_alive(), errors
    # In the middle of whatever it does now.
    time.sleep(random.uniform(0.0, 0.05))
    server.stop(crash=True)
    while not told:
        thread.join(0.02)
        assert thread.is_alive(), errors
    server.start()
    thread.join(100)
    assert errors == []
    assert len(told) == 2
    assert told[0].startswith("paused: the database gave `")
    assert told[1].startswith("going on after ")
    found = states(url, name)
    assert found["measured"] + found["infeasible"] == found.total() == trials + 1


def test_a_server_that_stays_away_ends_in_one_line(server: TemporaryServer, tmp_path: Path) -> None:
    patience = Patience(1.0)
    store = Store(server.url, "ended", patience)
    assert store.claim("a", 0)
    server.stop()
    with pytest.raises(InputError, match=r"within 1 s \(`--patience`\)") as ended:
        store.claim("b", 1)
    assert "\n" not in str(ended.value)
    server.start()
    patience.limit_s = 30.0
    assert store.claim("b", 1)
    assert len(store.claims()) == 2


def test_ages_of_claims_are_by_the_clock_of_the_server(
    server: TemporaryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(server.url, "clock")
    with monkeypatch.context() as there:
        there.setattr("autosinian.store.store._owner", lambda: "elsewhere:1:0.0")
        store.claim("a", 0)
    # This machine's clock is an hour wrong.
    monkeypatch.setattr("autosinian.store.store.time.time", lambda: 1e9)
    assert store.stale() == []
