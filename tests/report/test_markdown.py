from autosinian.report.markdown import plain, study_note, trial_note
from autosinian.search.outcome import Outcome


def test_a_feasible_trial_is_told_beside_the_baseline(outcome: Outcome) -> None:
    best = outcome.best
    assert best is not None
    note = trial_note(best, outcome.reference, {"net.config": "/artifacts/1/2/x"})
    assert note.startswith("**depth ")
    assert "**feasible**" in note
    assert "| accuracy \\(%\\) | " in note
    assert " points |" in note
    assert "| performance | 4." in note
    assert "[net.config](/artifacts/1/2/x)" in note
    assert "constraint missed" not in note


def test_an_infeasible_trial_is_told_with_its_reason(outcome: Outcome) -> None:
    crashed = outcome.records[5]
    note = trial_note(crashed, outcome.reference, {})
    assert "**infeasible**: performance: no result within 305 s" in note
    assert "| built and ran | 100.00 % |" in note


def test_a_note_before_the_baseline_compares_with_nothing(outcome: Outcome) -> None:
    assert "points" not in trial_note(outcome.records[0], {}, {})


def test_texts_cannot_break_a_note(hostile: Outcome) -> None:
    note = trial_note(hostile.records[5], hostile.reference, {})
    assert "<script" not in note.replace("\\<script", "")
    assert plain("a | b\n`c` <d>") == "a \\| b \\`c\\` \\<d\\>"


def test_the_studys_note_has_the_front_and_the_constraints(outcome: Outcome) -> None:
    note = study_note(outcome)
    best = outcome.best
    assert best is not None
    assert f"| **{best.number} best** |" in note
    assert note.count("| depth ") == len(outcome.front)
    assert "accuracy \\>= reference \\- 0.006" in note
    assert "`autosinian export-best example`" in note


def test_an_empty_study_has_a_note(empty: Outcome) -> None:
    assert "0 trials" in study_note(empty)
