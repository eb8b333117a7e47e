"""What a killed process leaves is completed, retried once or given up; never lost, never twice."""

import datetime
import socket
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autosinian.errors import TrialFailure
from autosinian.search.ledger import UNCLAIMED_S, LeaseLost, Ledger
from autosinian.search.outcome import CANDIDATE, EVALUATION, Outcome, read_outcome
from autosinian.search.storage import load_study
from autosinian.space.candidate import Candidate
from autosinian.store import Store
from tests.search.studies import ask, evaluation, figures, keep_baseline, open_small_study
from tests.space.small_supernet import small_space


class Desk:
    """A study with a measured baseline, and what writes its trials."""

    def __init__(self, folder: Path) -> None:
        self.space = small_space()
        self.study, self.store = open_small_study(self.space, folder, kind="random")
        keep_baseline(self.study, self.space, figures(self.space.baseline()))
        self.folder = folder
        self.ledger = Ledger(self.study, self.store, self.space, folder)

    def ask(self) -> tuple[optuna.Trial, Candidate]:
        trial, candidate = ask(self.study, self.space)
        trial.set_user_attr(CANDIDATE, candidate.to_dict())
        return trial, candidate

    def outcome(self) -> Outcome:
        return read_outcome(self.study)

    def states(self) -> list[str]:
        return [record.state for record in self.outcome().records]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Claims are made by a process of this machine that has ended."""
    name = f"{socket.gethostname()}"
    monkeypatch.setattr("autosinian.store.store._owner", lambda: f"{name}/gone:1:0.0")
    monkeypatch.setattr("autosinian.store.store._host", lambda: f"{name}/gone")
    return monkeypatch


def test_a_measurement_that_was_kept_is_told_by_whoever_finds_it(
    desk: Desk, elsewhere: pytest.MonkeyPatch
) -> None:
    trial, candidate = desk.ask()
    desk.ledger.keep(trial, candidate, figures(candidate))
    elsewhere.undo()
    desk.store = Store(desk.store.url, "study")
    with pytest.MonkeyPatch.context() as now:
        now.setattr("autosinian.store.store._owner_is_gone", lambda owner: True)
        desk.ledger.sweep()
    record = desk.outcome().records[0]
    assert record.candidate == candidate
    assert record.metrics == figures(candidate).metrics
    assert record.state in ("measured", "infeasible")
    assert record.violations
    assert [claim.state for claim in desk.store.claims()] == ["done"]


def swept(desk: Desk) -> None:
    """Sweep as if every claim's owner had died."""
    with pytest.MonkeyPatch.context() as now:
        now.setattr("autosinian.store.store._owner_is_gone", lambda owner: True)
        desk.ledger.sweep()


def test_a_kept_measurement_of_another_study_of_that_number_is_not_taken(desk: Desk) -> None:
    trial, candidate = desk.ask()
    desk.ledger.keep(trial, candidate, figures(candidate))
    kept = desk.folder / "runs" / "trial-00000" / "evaluation.json"
    kept.write_text(kept.read_text().replace(str(trial.datetime_start), "2020-01-01 00:00:00"))
    swept(desk)
    assert desk.states() == ["lost"]
    assert [claim.state for claim in desk.store.claims()] == ["released"]


def test_a_half_written_file_is_no_measurement(desk: Desk) -> None:
    trial, candidate = desk.ask()
    desk.ledger.keep(trial, candidate, figures(candidate))
    kept = desk.folder / "runs" / "trial-00000" / "evaluation.json"
    kept.write_text(kept.read_text()[:100])
    swept(desk)
    assert desk.states() == ["lost"]


def test_what_was_written_to_the_study_but_not_told_is_told(desk: Desk) -> None:
    trial, candidate = desk.ask()
    trial.set_user_attr(EVALUATION, figures(candidate).to_dict())
    swept(desk)
    assert desk.outcome().records[0].metrics == figures(candidate).metrics
    assert [claim.state for claim in desk.store.claims()] == ["done"]


def test_a_dead_process_s_trial_is_tried_once_more_and_then_infeasible(desk: Desk) -> None:
    _, candidate = desk.ask()
    swept(desk)
    assert desk.states() == ["lost"]
    again, same = desk.ask()
    assert same == candidate
    swept(desk)
    assert desk.states() == ["lost", "lost", "infeasible"]
    record = desk.outcome().records[2]
    assert record.candidate == candidate
    assert record.reason == "the process that ran it died 2 times"
    assert all(violation >= 0 for violation in record.violations.values())
    assert not desk.store.claim(candidate.key, 9)
    swept(desk)
    assert len(desk.states()) == 3
    assert again.number == 1


def test_who_dies_while_giving_up_a_trial_leaves_nothing_twice(desk: Desk) -> None:
    desk.ask()
    swept(desk)
    desk.ask()
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(Store, "finish", lambda self, candidate: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            swept(desk)
    assert desk.states() == ["lost", "lost", "infeasible"]
    swept(desk)
    assert desk.states() == ["lost", "lost", "infeasible"]
    assert [claim.state for claim in desk.store.claims()] == ["done"]


def test_a_trial_that_was_told_but_not_closed_is_only_closed(desk: Desk) -> None:
    trial, _ = desk.ask()
    desk.study.tell(trial, [0.5, 10.0])
    before = desk.outcome()
    swept(desk)
    assert desk.outcome().records == before.records
    assert [claim.state for claim in desk.store.claims()] == ["done"]


def test_a_trial_ends_with_its_claim_or_not_at_all(desk: Desk) -> None:
    trial, candidate = desk.ask()
    desk.ledger.keep(trial, candidate, figures(candidate))
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(Store, "finish", lambda self, candidate, connection: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            desk.ledger.tell(trial, candidate, figures(candidate))
    there = load_study("study", desk.store.url).get_trials()[0]
    assert there.state == TrialState.RUNNING
    assert EVALUATION not in there.user_attrs
    assert [claim.state for claim in desk.store.claims()] == ["running"]
    swept(desk)
    assert desk.outcome().records[0].metrics == figures(candidate).metrics
    assert [claim.state for claim in desk.store.claims()] == ["done"]


def test_a_process_that_was_taken_for_dead_tells_nothing(desk: Desk) -> None:
    trial, candidate = desk.ask()
    swept(desk)  # this process owns the claim again, then releases it
    with pytest.raises(LeaseLost):
        desk.ledger.tell(trial, candidate, figures(candidate))
    with pytest.raises(LeaseLost):
        desk.ledger.tell_infeasible(trial, candidate, "too late")
    desk.ledger.give_back(trial, candidate, "too late")
    assert desk.states() == ["lost"]


def test_a_running_trial_without_a_claim_is_swept_when_it_is_old(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = desk.study.ask()
    swept(desk)
    assert desk.states() == ["running"]
    started = trial.datetime_start
    assert started is not None
    later = started + datetime.timedelta(seconds=UNCLAIMED_S + 1)
    monkeypatch.setattr("autosinian.search.ledger.time.time", later.timestamp)
    desk.ledger.sweep()
    assert desk.states() == ["lost"]


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_figure_that_cannot_be_is_refused_at_the_door(desk: Desk, rate: float) -> None:
    trial, candidate = desk.ask()
    with pytest.raises(TrialFailure, match=r"Offline\.samples_per_second must be a figure"):
        desk.ledger.tell(trial, candidate, evaluation(0.9, rate))
    with pytest.raises(TrialFailure, match="accuracy must be a figure"):
        desk.ledger.tell(trial, candidate, evaluation(1.5, 10.0))
    assert desk.study.get_trials()[0].state == TrialState.RUNNING
    assert EVALUATION not in desk.study.get_trials()[0].user_attrs


def test_a_candidate_that_failed_from_outside_is_tried_once_more(desk: Desk) -> None:
    trial, candidate = desk.ask()
    assert desk.ledger.try_again(trial, candidate, "killed by SIGKILL")
    trial, same = desk.ask()
    assert same == candidate
    assert not desk.ledger.try_again(trial, candidate, "killed by SIGKILL")
    desk.ledger.tell_infeasible(trial, candidate, "killed by SIGKILL")
    assert desk.states() == ["lost", "infeasible"]
    assert desk.outcome().records[1].reason == "killed by SIGKILL"
