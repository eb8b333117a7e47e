"""Student's t and the intervals made of it."""

import math
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.export.statistics import (
    Interval,
    confidence_interval,
    prediction_interval,
    student_t_quantile,
)

values_lists = st.lists(st.floats(1.0, 1e6), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("level", "degrees", "expected"),
    [
        # From the tables of any textbook.
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 5, 2.571),
        (0.95, 30, 2.042),
        (0.99, 1, 63.657),
        (0.99, 2, 9.925),
        (0.99, 4, 4.604),
        (0.99, 9, 3.250),
        (0.90, 6, 1.943),
        (0.95, 1000, 1.962),
    ],
)
def test_quantiles_are_those_of_the_tables(level: float, degrees: int, expected: float) -> None:
    assert student_t_quantile(level, degrees) == pytest.approx(expected, abs=6e-4)


@given(st.floats(0.0, 0.998), st.integers(1, 60))
def test_a_higher_level_reaches_farther(level: float, degrees: int) -> None:
    assert student_t_quantile(level, degrees) <= student_t_quantile(level + 0.001, degrees)


@given(st.integers(1, 60))
def test_more_degrees_reach_less_far(degrees: int) -> None:
    assert student_t_quantile(0.95, degrees + 1) < student_t_quantile(0.95, degrees)


def test_a_confidence_interval_by_hand() -> None:
    # mean 3, s = sqrt(2.5), s / sqrt(5) = 0.7071, t = 2.776
    found = confidence_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.95)
    assert found.mean == 3.0
    assert found.low == pytest.approx(3.0 - 2.776 * math.sqrt(0.5), abs=1e-3)
    assert found.high == pytest.approx(3.0 + 2.776 * math.sqrt(0.5), abs=1e-3)
    assert (found.level, found.n) == (0.95, 5)


def test_a_prediction_interval_by_hand() -> None:
    # s^2 (1/5 + 1/1) = 2.5 * 1.2 = 3
    found = prediction_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.95, 1, 0.0)
    assert found.high == pytest.approx(3.0 + 2.776 * math.sqrt(3.0), abs=2e-3)


def test_the_floor_holds_where_rounds_hardly_differ() -> None:
    found = prediction_interval([100.0, 100.0, 100.0], 0.99, 3, 0.05)
    assert (found.low, found.high) == (95.0, 105.0)


@given(values_lists, st.integers(1, 8))
def test_a_prediction_interval_holds_the_confidence_interval(
    values: list[float], future: int
) -> None:
    inner = confidence_interval(values, 0.95)
    outer = prediction_interval(values, 0.95, future, 0.0)
    assert outer.low <= inner.low <= inner.mean <= inner.high <= outer.high
    wide = prediction_interval(values, 0.95, future, 0.1)
    assert wide.low <= outer.low and outer.high <= wide.high


@given(values_lists, st.floats(0.01, 100.0))
def test_intervals_scale_with_their_values(values: list[float], factor: float) -> None:
    found = confidence_interval(values, 0.9)
    scaled = confidence_interval([factor * value for value in values], 0.9)
    assert scaled.mean == pytest.approx(factor * found.mean)
    scale = factor * max(abs(found.low), abs(found.high), found.mean)
    assert scaled.low == pytest.approx(factor * found.low, abs=1e-6 * scale)


def test_a_prediction_interval_holds_new_means_as_often_as_it_says() -> None:
    rng = random.Random(0)

    def rounds(n: int) -> list[float]:
        return [rng.gauss(1000.0, 20.0) for _ in range(n)]

    held = 0
    for _ in range(1000):
        found = prediction_interval(rounds(5), 0.9, 3, 0.0)
        held += found.low <= fmean(rounds(3)) <= found.high
    assert 0.87 <= held / 1000 <= 0.93


def test_the_pessimistic_bound_depends_on_what_is_better() -> None:
    found = Interval(2.0, 1.0, 3.0, 0.95, 5)
    assert found.pessimistic(maximized=True) == 1.0
    assert found.pessimistic(maximized=False) == 3.0
    assert Interval.from_dict(found.to_dict()) == found


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="at least 2 values"):
        confidence_interval(values, 0.95)
    with pytest.raises(InputError, match="at least 2 values"):
        prediction_interval(values, 0.95, 1, 0.0)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="degrees"):
        student_t_quantile(0.95, 0)
    with pytest.raises(InputError, match="level"):
        student_t_quantile(1.0, 3)
    with pytest.raises(InputError, match="future"):
        prediction_interval([1.0, 2.0], 0.9, 0, 0.0)
