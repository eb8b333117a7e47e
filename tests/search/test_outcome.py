import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autosinian.search.judge import Judge
from autosinian.search.outcome import REASON, Outcome, read_outcome
from autosinian.space.space import Space
from tests.search.studies import ask, evaluation, keep_baseline, open_small_study, tell
from tests.space.small_supernet import TEXT, small_space

FIGURES = [
    (0.90, 100.0),  # the baseline
    (0.90, 300.0),
    (0.895, 500.0),
    (0.895, 400.0),  # dominated
    (0.80, 9000.0),  # too inaccurate
    (0.92, 200.0),
]


def study_of(
    space: Space, folder: Path, figures: list[tuple[float, float]] = FIGURES
) -> optuna.Study:
    study, _ = open_small_study(space, folder)
    judge = Judge(space.document, {"accuracy": 0.90})
    for accuracy, rate in figures:
        trial, candidate = ask(study, space)
        tell(study, trial, candidate, evaluation(accuracy, rate), judge)
    return study


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    found = study_of(small_space(), tmp_path)
    keep_baseline(found, small_space(), evaluation(*FIGURES[0]))
    return found


def numbers(outcome: Outcome) -> list[int]:
    return [record.number for record in outcome.front]


def test_the_front_has_what_nothing_else_beats(study: optuna.Study) -> None:
    assert numbers(read_outcome(study)) == [5, 1, 2]


def test_the_best_is_the_fastest_that_is_feasible(study: optuna.Study) -> None:
    outcome = read_outcome(study)
    assert outcome.best is not None and outcome.best.number == 2
    assert [record.number for record in outcome.ranked()] == [2, 3, 1, 5, 0]


def test_an_infeasible_trial_says_why(study: optuna.Study) -> None:
    record = read_outcome(study).records[4]
    assert record.state == "infeasible"
    assert not record.feasible
    assert "accuracy >= reference - 0.01" in record.reason
    assert record.metrics["Offline.samples_per_second"] == 9000.0


def test_the_summary_is_json_that_holds_the_study(study: optuna.Study) -> None:
    summary = json.loads(json.dumps(read_outcome(study).summary(), allow_nan=False))
    assert summary["study"] == "study"
    assert (summary["trials"], summary["measured"], summary["infeasible"]) == (6, 5, 1)
    assert summary["best"]["metrics"]["Offline.samples_per_second"] == 500.0
    assert summary["baseline"]["accuracy"] == 0.90
    assert [entry["trial"] for entry in summary["front"]] == [5, 1, 2]
    assert summary["best"]["candidate"]["engine"]["engine"] == "small"


def test_states_are_told_apart(study: optuna.Study) -> None:
    space = small_space()
    lost, _ = ask(study, space)
    lost.set_user_attr(REASON, "interrupted")
    study.tell(lost, state=TrialState.FAIL)
    failed, _ = ask(study, space)
    failed.set_user_attr(REASON, "build: no such layer")
    for text, violation in Judge(space.document, {}).failure().items():
        failed.set_constraint(text, violation)
    study.tell(failed, state=TrialState.PRUNED)
    ask(study, space)
    outcome = read_outcome(study)
    assert [r.state for r in outcome.records[6:]] == ["lost", "infeasible", "running"]
    assert outcome.records[7].reason == "build: no such layer"
    assert outcome.summary()["lost"] == 1
    assert all(r.elapsed_s >= 0 for r in outcome.records)


def test_a_study_without_trials_has_no_best(tmp_path: Path) -> None:
    outcome = read_outcome(study_of(small_space(), tmp_path, []))
    assert outcome.best is None
    assert outcome.front == []
    assert outcome.summary()["best"] is None
    assert outcome.reference == {}


def test_equal_candidates_are_both_on_the_front(tmp_path: Path) -> None:
    twins = [(0.9, 100.0), (0.9, 100.0), (0.9, 99.0)]
    assert numbers(read_outcome(study_of(small_space(), tmp_path, twins))) == [0, 1]


def test_one_objective_has_a_front_of_one(tmp_path: Path) -> None:
    space = small_space(TEXT.replace("[accuracy, samples_per_second]", "[samples_per_second]"))
    outcome = read_outcome(study_of(space, tmp_path))
    assert numbers(outcome) == [2]
    assert outcome.best is not None and outcome.best.number == 2


def test_an_objective_to_be_small_is_ranked_so(tmp_path: Path) -> None:
    space = small_space(TEXT.replace("[accuracy, samples_per_second]", "[accuracy, macs]"))
    outcome = read_outcome(study_of(space, tmp_path))
    assert str(outcome.deciding_metric) == "macs"
    assert numbers(outcome) == [5]
