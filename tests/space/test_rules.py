import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.space.rules import Constraint, Metric

OFFLINE = ("Offline",)
TWO = ("Offline", "Server")
positive = st.floats(1e-3, 1e6, allow_nan=False)


def test_a_metric_takes_the_only_scenario() -> None:
    assert Metric.parse("samples_per_second", OFFLINE) == Metric("samples_per_second", "Offline")
    assert str(Metric.parse("samples_per_second", OFFLINE)) == "Offline.samples_per_second"


def test_a_metric_of_the_network_has_no_scenario() -> None:
    assert str(Metric.parse("accuracy", TWO)) == "accuracy"
    assert Metric.parse("accuracy", TWO).maximized
    assert not Metric.parse("macs", TWO).maximized


def test_latency_is_minimized_and_rate_maximized() -> None:
    assert not Metric.parse("Server.latency_ms", TWO).maximized
    assert Metric.parse("Server.samples_per_second", TWO).maximized


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("samples_per_second", "must name its scenario"),
        ("speed", "must be one of accuracy"),
        ("SingleStream.latency_ms", "must be one of Offline, Server"),
        ("Offline.latency_ms", "must be of a scenario that has a latency"),
        ("Offline.accuracy", "must be one of"),
        ("", "must be one of"),
    ],
)
def test_a_metric_that_cannot_be_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Metric.parse(text, TWO)


@pytest.mark.parametrize(
    ("text", "at_least", "factor", "offset"),
    [
        ("accuracy >= 0.93", True, 0.0, 0.93),
        ("accuracy>=.93", True, 0.0, 0.93),
        ("  accuracy  >=  0.99 * reference ", True, 0.99, 0.0),
        ("accuracy >= 0.99*reference + 0.001", True, 0.99, 0.001),
        ("accuracy >= reference - 0.01", True, 1.0, -0.01),
        ("macs <= 3e8", False, 0.0, 3e8),
        ("parameters <= 0.5 * reference", False, 0.5, 0.0),
        ("Server.latency_ms <= 15", False, 0.0, 15.0),
        ("Offline.samples_per_second >= 2 * reference", True, 2.0, 0.0),
    ],
)
def test_a_constraint_is_read(text: str, at_least: bool, factor: float, offset: float) -> None:
    constraint = Constraint.parse(text, TWO)
    assert (constraint.at_least, constraint.factor) == (at_least, factor)
    assert constraint.offset == pytest.approx(offset)
    assert constraint.text == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accuracy",
        "accuracy > 0.9",
        "accuracy == 0.9",
        "accuracy >= high",
        "accuracy >= -0.5",
        "accuracy >= reference * 0.99",
        "accuracy >= reference - reference",
        "accuracy >= 0.9 and macs <= 3",
        "0.9 <= accuracy",
        "accuracy >= 1..0",
        "accuracy >= __import__('os')",
    ],
)
def test_a_constraint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a constraint must look like"):
        Constraint.parse(text, OFFLINE)


def test_an_accuracy_bar_above_one_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="must be at most 1, but `accuracy >= 93`"):
        Constraint.parse("accuracy >= 93", OFFLINE)


def test_an_accuracy_bar_above_one_is_refused_once_the_reference_is_known() -> None:
    constraint = Constraint.parse("accuracy >= 1.2 * reference", OFFLINE)
    assert constraint.bound({"accuracy": 0.8}) == pytest.approx(0.96)
    with pytest.raises(InputError, match="must be at most 1"):
        constraint.bound({"accuracy": 0.9})


@given(value=positive, bound=positive)
def test_a_violation_is_positive_exactly_where_the_bound_is_missed(
    value: float, bound: float
) -> None:
    at_least = Constraint.parse(f"Offline.samples_per_second >= {bound!r}", OFFLINE)
    at_most = Constraint.parse(f"macs <= {bound!r}", OFFLINE)
    assert (at_least.violation(value, {}) > 0) == (value < bound)
    assert (at_most.violation(value, {}) > 0) == (value > bound)


@given(reference=positive, factor=st.floats(0.1, 10), value=positive)
def test_a_violation_is_relative_to_the_bound(
    reference: float, factor: float, value: float
) -> None:
    constraint = Constraint.parse(f"macs <= {factor!r} * reference", OFFLINE)
    bound = constraint.bound({"macs": reference})
    assert bound == pytest.approx(factor * reference)
    assert constraint.violation(value, {"macs": reference}) == pytest.approx(
        (value - bound) / bound
    )


def test_a_violation_of_a_zero_bound_is_finite() -> None:
    assert math.isfinite(Constraint.parse("macs <= 0", OFFLINE).violation(5.0, {}))


@given(text=st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        constraint = Constraint.parse(text, OFFLINE)
    except InputError as error:
        assert "\n" not in str(error) or "\n" in text
    else:
        assert math.isfinite(constraint.bound({str(constraint.metric): 1e-9}))
