"""Schedules by hand values, and trainings that end with their time."""

import itertools

import pytest

from autosinian.errors import InputError
from autosinian.int4.finetune.schedule import Clock, Schedule


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    schedule = Schedule(epochs=2, learning_rate=0.1, batch_size=10, warm_up=0.1)
    assert schedule.rate(0.0) < 0.002
    assert schedule.rate(0.1) == pytest.approx(0.0976, abs=1e-3)
    assert schedule.rate(1.0) == pytest.approx(0.0, abs=1e-9)
    clock = Clock(schedule, 55)
    assert clock.total == 10
    clock.step = 5
    assert (clock.progress, clock.epoch) == (0.5, 1.0)


@pytest.mark.parametrize(("first", "usual"), [(0.02, 0.02), (12.0, 0.02), (0.5, 0.5), (3.0, 3.0)])
def test_a_schedule_limited_by_time_ends_at_zero_when_the_time_is_over(
    first: float, usual: float
) -> None:
    time = Time()
    clock = Clock(Schedule(1000, 0.1, 10, seconds=60.0), 1000, time)
    rates, progress = [], [0.0]
    while not clock.done:
        rates.append(clock.schedule.rate(clock.progress))
        time.seconds += first if clock.step == 0 else usual
        clock.step += 1
        if clock.due:
            clock.plan()
        if clock.step % clock.steps_per_epoch == 0:
            time.seconds += 5 * usual  # an evaluation
            clock.plan()
        progress.append(clock.progress)
    assert 60 - 10 * usual <= clock.seconds <= 60 + 6 * usual
    assert progress == sorted(progress) and progress[-1] == 1
    assert max(rates) > 0.08
    # The steps before the last are near the end of the schedule: nothing was cut off.
    assert progress[-2] > 0.9
    assert max(after - before for before, after in itertools.pairwise(progress)) < 0.2


def test_slow_first_steps_are_not_taken_for_typical() -> None:
    time = Time()
    clock = Clock(Schedule(1000, 0.1, 10, seconds=130.0), 1000, time)
    while clock.step < 30:
        time.seconds += {0: 16.0, 3: 3.0}.get(clock.step, 0.1 if clock.step < 3 else 0.02)
        clock.step += 1
        if clock.due:
            clock.plan()
    assert clock.total == pytest.approx((130 - 19.3 - 26 * 0.02) / 0.02, rel=0.01)


def test_the_first_slow_step_takes_no_part_of_the_schedule() -> None:
    time = Time()
    clock = Clock(Schedule(1000, 0.1, 10, seconds=60.0), 1000, time)
    time.seconds += 15
    clock.step += 1
    assert clock.progress < 0.001


def test_a_schedule_of_epochs_ends_with_them_though_there_is_more_time() -> None:
    time = Time()
    clock = Clock(Schedule(2, 0.1, 10, seconds=1e6), 1000, time)
    while not clock.done:
        time.seconds += 0.1
        clock.step += 1
        if clock.due:
            clock.plan()
    assert clock.epoch == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1, 1), "must be above 0"),
        ((1, -0.1, 1), "must be above 0"),
        ((1, 0.1, 0), "must be above 0"),
        ((1, 0.1, 1, 0.0), "a time limit must be above 0 s"),
    ],
)
def test_schedules_that_train_nothing_are_refused(
    arguments: tuple[float, float, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Schedule(*arguments)
