"""Optuna's own conformance tests, on both databases, and what is ours beyond them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from autosinian.search.storage import open_storage
from autosinian.search.study_storage import StudyStorage
from autosinian.testing.postgresql import TemporaryServer, find_binaries
from tests.search.studies import url_of

ONE = [StudyDirection.MINIMIZE]


@pytest.fixture(scope="module")
def server() -> Iterator[TemporaryServer]:
    pytest.importorskip("psycopg")
    if find_binaries() is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    with TemporaryServer() as started:
        yield started


def emptied(server: TemporaryServer) -> str:
    engine = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return server.url


class TestOnSqlite(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> StudyStorage:
        return open_storage(url_of(tmp_path))


class TestOnPostgresql(StorageTestCase):
    @pytest.fixture
    def storage(self, server: TemporaryServer) -> StudyStorage:
        return open_storage(emptied(server))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return url_of(tmp_path)
    return emptied(request.getfixturevalue("server"))


def test_optuna_reads_what_was_written(url: str) -> None:
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, study_name="s", directions=["minimize"] * 2)
    choices = CategoricalDistribution(("a", None, 1, True))
    trial = study.ask({"x": IntDistribution(0, 9), "y": choices})
    trial.suggest_float("z", 0.0, 1.0)
    trial.set_user_attr("text", {"a": [1, 2]})
    trial.set_constraint("c", -1.0)
    study.tell(trial, [1.0, float("inf")])
    study.add_trial(trial_of(7))
    study.enqueue_trial({"x": 3})
    plain = optuna.load_study(study_name="s", storage=RDBStorage(url)).get_trials()
    assert study.get_trials() == plain
    assert [t.number for t in plain] == [0, 1, 2]
    assert plain[0].params == trial.params
    assert plain[0].values == [1.0, float("inf")]
    assert plain[2].state == TrialState.WAITING


def trial_of(x: int) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(
        params={"x": x},
        distributions={"x": IntDistribution(0, 9)},
        values=[float(x), -float("inf")],
        user_attrs={"u": 1},
        system_attrs={"s": None},
    )


def test_what_optuna_and_others_write_meanwhile_is_read(url: str) -> None:
    ours = optuna.create_study(storage=open_storage(url), study_name="s")
    theirs = optuna.load_study(study_name="s", storage=RDBStorage(url))
    for number in range(3):
        one, two = ours.ask({"x": IntDistribution(0, 9)}), theirs.ask({"x": IntDistribution(0, 9)})
        assert (one.number, two.number) == (2 * number, 2 * number + 1)
        two.suggest_float("later", 0.0, 1.0)
        assert ours.get_trials()[two.number].params == two.params
        theirs.tell(two, 2.0)
        assert [t.number for t in ours.get_trials(states=(TrialState.RUNNING,))] == [one.number]
        ours.tell(one, 1.0)
    assert ours.get_trials() == theirs.get_trials()
    assert len(ours.get_trials(states=(TrialState.COMPLETE,))) == 6


def test_what_waits_is_written_by_the_next_call_of_another_kind(url: str) -> None:
    storage = open_storage(url)
    study_id = storage.create_new_study(ONE, "s")
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_param(trial_id, "x", 0.5, FloatDistribution(0.0, 1.0))
    storage.set_trial_user_attr(trial_id, "a", (1, 2))
    assert storage.get_trial(trial_id).user_attrs == {"a": [1, 2]}
    other = open_storage(url)
    assert other.get_trial(trial_id).params == {}
    storage.get_study_user_attrs(study_id)
    assert other.get_trial(trial_id).params == {"x": 0.5}
    assert other.get_trial(trial_id).user_attrs == {"a": [1, 2]}


def test_a_trial_that_another_process_ended_is_let_go(url: str) -> None:
    storage, other = open_storage(url), open_storage(url)
    study_id = storage.create_new_study(ONE, "s")
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_param(trial_id, "x", 0.5, FloatDistribution(0.0, 1.0))
    other.set_trial_state_values(trial_id, TrialState.FAIL)
    assert [t.state for t in storage.get_all_trials(study_id)] == [TrialState.FAIL]
    assert storage.get_trial(trial_id).params == {}
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, "a", 1)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])


def test_what_is_done_beside_a_trial_s_end_stands_or_falls_with_it(url: str) -> None:
    storage = open_storage(url)
    study_id = storage.create_new_study(ONE, "s")
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_user_attr(trial_id, "a", 1)

    def refuse(connection: sa.Connection) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError), storage.beside(trial_id, refuse):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert open_storage(url).get_trial(trial_id).state == TrialState.RUNNING
    assert open_storage(url).get_trial(trial_id).user_attrs == {}
    done: list[Any] = []
    with storage.beside(trial_id, done.append):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert len(done) == 1
    assert open_storage(url).get_trial(trial_id).value == 1.0


def test_a_transaction_whose_end_was_not_heard_of_is_not_done_twice(url: str) -> None:
    storage = open_storage(url)
    study_id = storage.create_new_study(ONE, "s")
    lost = 0

    def twice(way: Any) -> Any:
        def again(work: Any, patience: Any = None) -> Any:
            nonlocal lost
            lost += 1
            way(work, patience)  # it is there, but the connection was cut before we heard
            return way(work, patience)

        return again

    storage.database.transact = twice(storage.database.transact)  # type: ignore[method-assign]
    storage.database.run = twice(storage.database.run)  # type: ignore[method-assign]
    for number in range(3):
        trial_id = storage.create_new_trial(study_id)
        storage.set_trial_param(trial_id, "x", 0.5, FloatDistribution(0.0, 1.0))
        storage.set_trial_user_attr(trial_id, "a", number)
        assert storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
        storage.create_new_trial(study_id, optuna.trial.create_trial(value=2.0))
    trials = optuna.load_study(study_name="s", storage=RDBStorage(url)).get_trials()
    assert [t.number for t in trials] == list(range(6))
    assert [t.value for t in trials] == [1.0, 2.0] * 3
    assert [t.user_attrs for t in trials[::2]] == [{"a": n} for n in range(3)]
    assert lost >= 9


def test_large_studies_beside_others_are_read_as_optuna_reads_them(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autosinian.search.trial_reading.FEW", 4)
    monkeypatch.setattr("autosinian.search.trial_reading.SPAN", 3)
    monkeypatch.setattr("autosinian.search.trial_reading.CHUNK", 7)
    storage = RDBStorage(url)
    studies = [optuna.create_study(study_name=name, storage=storage) for name in ("s", "t")]
    sampler = optuna.samplers.RandomSampler(seed=0)
    for number in range(20):
        study = studies[number % 3 % 2]
        study.sampler = sampler
        trial = study.ask({"x": IntDistribution(0, 9), "y": FloatDistribution(0.0, 1.0)})
        trial.report(float(number), 1)
        trial.set_user_attr("n", number)
        study.tell(trial, float(number))
    for name in ("s", "t"):
        plain = optuna.load_study(study_name=name, storage=storage).get_trials()
        assert optuna.load_study(study_name=name, storage=open_storage(url)).get_trials() == plain
