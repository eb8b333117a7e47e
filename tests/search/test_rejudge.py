"""A study goes on under other constraints, with every figure that it has."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autosinian.errors import InputError
from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.judge import Judge
from autosinian.search.ledger import Ledger
from autosinian.search.outcome import CANDIDATE, read_outcome
from autosinian.search.rejudge import rejudge
from autosinian.search.storage import open_storage, open_study
from autosinian.space.candidate import Candidate
from autosinian.space.space import Space
from autosinian.store import Store
from tests.search.studies import ask, figures, keep_baseline, open_small_study, url_of
from tests.space.small_supernet import TEXT, small_space

RULE = "constraints: [accuracy >= reference - 0.01]"


def searched(folder: Path, space: Space, trials: int = 8) -> tuple[optuna.Study, Store]:
    """A study whose candidates below the accuracy bar ended early."""
    study, store = open_small_study(space, folder, kind="random", first=[space.baseline()])
    reference = figures(space.baseline())
    keep_baseline(study, space, reference)
    ledger = Ledger(study, store, space, folder)
    judge = Judge(space.document, reference.metrics)
    for _ in range(trials):
        trial, candidate = ask(study, space)
        trial.set_user_attr(CANDIDATE, candidate.to_dict())
        measured = figures(candidate)
        if judge.refuse(measured.metrics):
            metrics = {k: v for k, v in measured.metrics.items() if "." not in k}
            measured = Evaluation(metrics, complete=False)
        ledger.tell(trial, candidate, measured)
    return study, store


def reopened(folder: Path, space: Space) -> optuna.Study:
    """The study of that space, opened by another process."""
    storage = open_storage(url_of(folder))
    return open_study("study", storage, None, space.document, space.fingerprint())


def test_a_tighter_constraint_turns_trials_infeasible_and_measures_nothing(tmp_path: Path) -> None:
    study, store = searched(tmp_path, small_space(TEXT.replace(RULE, "constraints: []")))
    space = small_space(TEXT)
    with pytest.raises(InputError, match=r"of another space: `constraints` was \[\], is .*0.01"):
        reopened(tmp_path, space)
    told = rejudge(study, store, space.document, space.fingerprint())
    after = read_outcome(reopened(tmp_path, space))
    bar = after.reference["accuracy"] - 0.01
    for record in after.records:
        assert record.feasible == (record.metrics["accuracy"] >= bar)
        assert set(record.violations) >= {"accuracy >= reference - 0.01"}
        assert bool(record.reason) != record.feasible
    assert told.trials == 8
    assert told.now_infeasible == 8 - len(after.feasible) > 0
    assert told.now_feasible == told.reopened == 0


def test_a_looser_constraint_lets_what_ended_early_be_measured(tmp_path: Path) -> None:
    study, store = searched(tmp_path, small_space(TEXT))
    early = [t for t in study.get_trials() if t.state == TrialState.PRUNED]
    assert early
    space = small_space(TEXT.replace("- 0.01", "- 0.9"))
    told = rejudge(study, store, space.document, space.fingerprint())
    assert told.reopened == len(early)
    assert told.now_infeasible == 0
    again, _ = open_small_study(space, tmp_path, kind="random")
    proposed = [ask(again, space)[1] for _ in early]
    assert all(Candidate.from_dict(t.user_attrs[CANDIDATE]) in proposed for t in early)
    after = read_outcome(reopened(tmp_path, space))
    assert sum(record.feasible for record in after.records) == 8 - len(early)


def test_optunas_samplers_see_the_new_verdicts(tmp_path: Path) -> None:
    study, store = searched(tmp_path, small_space(TEXT.replace(RULE, "constraints: []")))
    space = small_space(TEXT.replace("- 0.01", "- 0.0"))
    rejudge(study, store, space.document, space.fingerprint())
    trials = reopened(tmp_path, space).get_trials()
    missed = [max(t.constraints.values()) > 0 for t in trials]
    assert any(missed) and not all(missed)


def test_a_change_of_more_than_the_constraints_is_refused(tmp_path: Path) -> None:
    study, store = searched(tmp_path, small_space(TEXT), trials=2)
    space = small_space(TEXT.replace("- 0.01", "- 0.02").replace("high: 2}", "high: 3}"))
    with pytest.raises(InputError, match=r"nothing else changed, but .*serving"):
        rejudge(study, store, space.document, space.fingerprint())


def test_a_study_that_another_search_works_on_is_refused(tmp_path: Path) -> None:
    study, store = searched(tmp_path, small_space(TEXT), trials=2)
    ask(study, small_space(TEXT))
    space = small_space(TEXT.replace("- 0.01", "- 0.02"))
    with pytest.raises(InputError, match="to itself"):
        rejudge(study, store, space.document, space.fingerprint())
