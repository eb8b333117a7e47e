import pytest

from autosinian.report.grouping import group_reasons, median_overhead_s, stage_times
from autosinian.search.outcome import Outcome


def test_reasons_that_differ_in_numbers_are_one_group(outcome: Outcome) -> None:
    groups = group_reasons(outcome)
    crashed = next(g for g in groups if g.example.startswith("performance"))
    assert crashed.trials == (5, 13, 21)
    assert crashed.example == "performance: no result within 305 s"


def test_every_infeasible_trial_is_in_one_group(outcome: Outcome) -> None:
    grouped = sorted(number for group in group_reasons(outcome) for number in group.trials)
    assert grouped == [r.number for r in outcome.records if r.state == "infeasible"]


def test_stages_share_all_of_the_time_in_the_order_of_a_trial(outcome: Outcome) -> None:
    stages = stage_times(outcome)
    assert [s.name for s in stages] == ["extract", "quantize", "build", "accuracy", "performance"]
    assert sum(s.share for s in stages) == pytest.approx(1)
    assert all(s.median_s * s.trials == pytest.approx(s.total_s, rel=0.5) for s in stages)


def test_nothing_measured_gives_no_times(empty: Outcome) -> None:
    assert stage_times(empty) == []
    assert median_overhead_s(empty) is None
    assert group_reasons(empty) == []
