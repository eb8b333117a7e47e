"""A search that cannot meet its constraints ends, and says what came nearest."""

from pathlib import Path

from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.judge import Judge
from autosinian.search.ledger import Ledger
from autosinian.search.nearest import hopeless_words, is_hopeless, misses, nearest
from autosinian.search.outcome import CANDIDATE, Outcome, read_outcome
from tests.search.studies import ask, evaluation, figures, keep_baseline, open_small_study
from tests.space.small_supernet import TEXT, small_space

BAR = TEXT.replace("accuracy >= reference - 0.01", "accuracy >= 0.9")


def outcome_of(folder: Path, accuracies: list[float | None]) -> Outcome:
    """A study of trials with these accuracies; None is one that failed."""
    space = small_space(BAR)
    study, store = open_small_study(space, folder, kind="random")
    keep_baseline(study, space, figures(space.baseline()))
    ledger = Ledger(study, store, space, folder)
    judge = Judge(space.document, {})
    for accuracy in accuracies:
        trial, candidate = ask(study, space)
        trial.set_user_attr(CANDIDATE, candidate.to_dict())
        if accuracy is None:
            ledger.tell_infeasible(trial, candidate, "build: no kernel")
        elif judge.refuse({"accuracy": accuracy}):
            ledger.tell(trial, candidate, Evaluation({"accuracy": accuracy}, complete=False))
        else:
            ledger.tell(trial, candidate, evaluation(accuracy, 100.0))
    return read_outcome(study)


def test_the_nearest_come_first_and_say_what_they_miss(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, [0.5, None, 0.88, 0.7])
    assert [record.number for record in nearest(outcome)] == [2, 3, 0]
    assert [record.number for record in nearest(outcome, 4)] == [2, 3, 0, 1]
    assert misses(outcome, outcome.records[2]) == (
        "misses `accuracy >= 0.9` by 2.2 % (0.88 against 0.9)"
    )
    assert misses(outcome, outcome.records[1]) == "failed: build: no kernel"


def test_only_so_many_trials_without_a_feasible_one_are_hopeless(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, [0.5, None, 0.88])
    assert is_hopeless(outcome, 3)
    assert not is_hopeless(outcome, 4)
    words = hopeless_words(outcome, 3)
    assert "no candidate met the constraints in 3 trials" in words[0]
    assert words[1].strip().startswith("trial 2 misses `accuracy >= 0.9`")
    assert len(words) == 4


def test_one_feasible_candidate_is_hope(tmp_path: Path) -> None:
    assert not is_hopeless(outcome_of(tmp_path, [0.5, 0.95, 0.6]), 2)
