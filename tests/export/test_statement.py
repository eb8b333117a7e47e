"""What a bundle states of its performance, and what contradicts it."""

import pytest

from autosinian.export.statement import NOISE_FLOOR, Statement, state

RATE, LATENCY = "Offline.samples_per_second", "SingleStream.latency_ms"


def test_steady_rounds_are_stated_within_the_noise_floor() -> None:
    statement = state(RATE, [1000.0, 1000.0, 1000.0], 3)
    assert statement.interval.low == pytest.approx(1000 * (1 - NOISE_FLOOR))
    assert statement.interval.high == pytest.approx(1000 * (1 + NOISE_FLOOR))
    assert statement.width == pytest.approx(NOISE_FLOOR)


def test_only_slower_contradicts_a_rate() -> None:
    statement = state(RATE, [1000.0, 1000.0], 2)
    assert statement.slower(850.0) and not statement.faster(850.0)
    assert statement.faster(1150.0) and not statement.slower(1150.0)
    assert not statement.slower(950.0) and not statement.faster(950.0)
    assert statement.better(850.0, 950.0) == 950.0


def test_only_slower_contradicts_a_latency() -> None:
    statement = state(LATENCY, [2.0, 2.0], 2)
    assert statement.slower(2.5) and not statement.faster(2.5)
    assert statement.faster(1.5) and not statement.slower(1.5)
    assert statement.better(2.5, 1.9) == 1.9


def test_a_rate_is_never_stated_below_zero() -> None:
    statement = state(RATE, [10.0, 1000.0], 2)
    assert statement.interval.low == 0.0
    assert statement.width > 1.0


def test_a_statement_survives_json() -> None:
    statement = state(LATENCY, [2.0, 2.1, 2.2], 3)
    assert Statement.from_dict(statement.to_dict()) == statement
    assert "SingleStream.latency_ms 2.5, stated " in statement.describe(2.5)
