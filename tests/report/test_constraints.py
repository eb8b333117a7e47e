from pathlib import Path

from autosinian.report.constraints import bindings
from autosinian.search.judge import LOADGEN, RAN
from autosinian.search.outcome import Outcome
from tests.report.example_study import SPACE, make_outcome


def test_each_constraint_counts_the_trials_that_missed_it(outcome: Outcome) -> None:
    found = {b.text: b for b in bindings(outcome)}
    for rule in outcome.document.rules:
        missed = sum(
            rule.violation(r.metrics[str(rule.metric)], outcome.reference) > 0
            for r in outcome.records
            if str(rule.metric) in r.metrics
        )
        assert found[rule.text].refused == missed


def test_a_crashed_trial_counts_for_running_and_not_for_figures_nobody_knows(
    outcome: Outcome,
) -> None:
    found = {b.text: b for b in bindings(outcome)}
    crashed = [r for r in outcome.records if r.violations.get(RAN, 0) > 0]
    assert len(crashed) == found[RAN].refused == found[RAN].alone > 0
    assert LOADGEN not in found


def test_slack_of_the_best_is_in_points_or_in_percent_of_the_bound(outcome: Outcome) -> None:
    found = {b.text: b for b in bindings(outcome)}
    best = outcome.best
    assert best is not None
    bar = outcome.reference["accuracy"] - 0.006
    accuracy = found["accuracy >= reference - 0.006"]
    assert accuracy.bound == f"≥ {100 * bar:.2f} %"
    assert accuracy.slack == f"+{100 * (best.metrics['accuracy'] - bar):.2f} points"
    latency = found["SingleStream.latency_ms <= 4"]
    share = 1 - best.metrics["SingleStream.latency_ms"] / 4
    assert latency.slack == f"{100 * share:.2f} %"


def test_the_constraint_that_refused_most_comes_first(outcome: Outcome) -> None:
    counts = [b.refused for b in bindings(outcome)]
    assert counts == sorted(counts, reverse=True)


def test_a_bound_relative_to_a_baseline_that_is_not_there_is_not_told(empty: Outcome) -> None:
    found = {b.text: b for b in bindings(empty)}
    assert found["accuracy >= reference - 0.006"].bound == ""
    assert found["SingleStream.latency_ms <= 4"].bound == "≤ 4.00 ms"


def test_a_study_without_constraints_has_no_bindings(tmp_path: Path) -> None:
    assert bindings(make_outcome(tmp_path, trials=2, space=SPACE | {"constraints": []})) == []
