from dataclasses import replace

import pytest

from autosinian.report.remaining import remaining_seconds
from autosinian.search.outcome import Outcome


def test_time_left_is_the_trials_left_times_what_a_trial_takes(outcome: Outcome) -> None:
    records = tuple(replace(r, duration_s=4.0) for r in outcome.records)
    assert remaining_seconds(replace(outcome, records=records), 5, None) == pytest.approx(20)


def test_one_trial_that_hung_does_not_move_the_estimate(outcome: Outcome) -> None:
    records = [replace(r, duration_s=4.0) for r in outcome.records]
    records[-1] = replace(records[-1], duration_s=300.0, state="infeasible")
    estimate = remaining_seconds(replace(outcome, records=tuple(records)), 10, None)
    assert estimate == pytest.approx(40)


def test_the_time_limit_bounds_it(outcome: Outcome) -> None:
    records = tuple(replace(r, duration_s=4.0) for r in outcome.records)
    assert remaining_seconds(replace(outcome, records=records), 100, 12.5) == 12.5
    assert remaining_seconds(outcome, 100, -3.0) == 0.0


def test_before_the_first_trial_only_a_time_limit_is_known(empty: Outcome) -> None:
    assert remaining_seconds(empty, 100, None) is None
    assert remaining_seconds(empty, 100, 60.0) == 60.0
