from dataclasses import replace

import pytest

from autosinian.errors import InputError, TrialFailure
from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.judge import LOADGEN, RAN, Judge
from tests.search.studies import evaluation
from tests.space.small_supernet import TEXT, small_document

RULE = "accuracy >= reference - 0.01"
JUDGE = Judge(small_document(), {"accuracy": 0.9})


def test_a_candidate_that_holds_every_constraint_is_feasible() -> None:
    violations = JUDGE.violations(evaluation(0.895, 100.0))
    assert set(violations) == {RULE, RAN, LOADGEN}
    assert all(v <= 0 for v in violations.values())
    assert JUDGE.reason(evaluation(0.895, 100.0)) == ""
    assert JUDGE.values(evaluation(0.895, 100.0)) == [0.895, 100.0]


def test_a_missed_constraint_is_named_with_its_figures() -> None:
    violations = JUDGE.violations(evaluation(0.8, 100.0))
    assert violations[RULE] == pytest.approx(0.09 / 0.89)
    assert JUDGE.reason(evaluation(0.8, 100.0)) == f"`{RULE}` missed: 0.8 against 0.89"
    assert JUDGE.refuse({"accuracy": 0.8})
    assert not JUDGE.refuse({"accuracy": 0.89})


def test_nothing_is_refused_by_what_is_not_known() -> None:
    assert not JUDGE.refuse({"macs": 1e12})


def test_an_invalid_run_is_infeasible_and_says_why() -> None:
    invalid = evaluation(0.9, 100.0, valid=False)
    assert JUDGE.violations(invalid)[LOADGEN] > 0
    assert "too few queries" in JUDGE.reason(invalid)


def test_stages_that_ended_early_have_no_values() -> None:
    early = Evaluation({"accuracy": 0.5, "macs": 1.0}, complete=False)
    assert JUDGE.values(early) is None
    assert JUDGE.violations(early)[RULE] > 0


def test_a_complete_measurement_without_its_figure_is_a_failure() -> None:
    complete = evaluation(0.9, 100.0)
    lacking = replace(complete, metrics={"accuracy": 0.9})
    with pytest.raises(TrialFailure, match=r"no figure for Offline\.samples_per_second"):
        JUDGE.values(lacking)


def test_a_failure_is_infeasible_in_every_way() -> None:
    failure = JUDGE.failure()
    assert failure[RULE] > 0
    assert failure[RAN] > 0
    assert set(failure) == set(JUDGE.violations(evaluation(0.9, 1.0)))


def test_an_accuracy_bar_above_one_is_refused_before_anything_is_measured() -> None:
    document = small_document(TEXT.replace("reference - 0.01", "1.5 * reference"))
    with pytest.raises(InputError, match="must be at most 1"):
        Judge(document, {"accuracy": 0.9})
