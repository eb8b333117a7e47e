"""Which candidates are measured again, and what is said where there is none."""

import pytest

from autosinian.errors import InputError
from autosinian.evaluate.evaluation import Evaluation
from autosinian.export.contender import pick
from autosinian.search.judge import Judge
from autosinian.search.outcome import Outcome, Record
from autosinian.space.document import Document

REFERENCE = {"accuracy": 0.92, "Offline.samples_per_second": 100.0}
DOCUMENT = Document.model_validate(
    {
        "supernet": "tiny.pt",
        "data": {"name": "fashion_mnist"},
        "engine": "openvino",
        "objectives": ["accuracy", "samples_per_second"],
        "constraints": ["accuracy >= 0.99 * reference", "samples_per_second >= 2 * reference"],
    }
)


def record(number: int, accuracy: float, rate: float) -> Record:
    metrics = {"accuracy": accuracy, "Offline.samples_per_second": rate}
    evaluation = Evaluation(metrics, complete=True)
    violations = Judge(DOCUMENT, REFERENCE).violations(evaluation)
    state = "measured" if all(v <= 0 for v in violations.values()) else "infeasible"
    return Record(number, state, None, evaluation, violations, "", 1.0, 1.0)


def outcome(*records: Record) -> Outcome:
    baseline = Evaluation(REFERENCE, complete=True)
    return Outcome("mine", DOCUMENT, 0, {}, baseline, None, records)


def test_the_best_few_come_best_first() -> None:
    found = outcome(
        *(record(n, 0.92, rate) for n, rate in enumerate([250.0, 400.0, 300.0])),
        record(3, 0.5, 900.0),
    )
    assert [r.number for r in pick(found, 2)] == [1, 2]
    assert [r.number for r in pick(found, 9)] == [1, 2, 0]


def test_without_a_feasible_trial_the_nearest_says_what_it_misses() -> None:
    found = outcome(record(0, 0.5, 300.0), record(1, 0.90, 300.0), record(2, 0.92, 20.0))
    with pytest.raises(InputError) as refused:
        pick(found, 3)
    message = str(refused.value)
    assert "of 3 none is" in message
    assert "trial 1, misses `accuracy >= 0.99 * reference` by 1.2 % (0.9 against 0.9108)" in message
    assert "\n" not in message


def test_trials_that_all_failed_say_why() -> None:
    failed = Record(
        4, "infeasible", None, None, Judge(DOCUMENT, {}).failure(), "build: no operator", 1.0, 1.0
    )
    with pytest.raises(InputError, match="trial 4, failed: build: no operator"):
        pick(outcome(failed), 3)


def test_a_study_without_a_measured_trial_is_told_so() -> None:
    with pytest.raises(InputError, match="has none yet"):
        pick(outcome(), 3)
