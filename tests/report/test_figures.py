import pytest

from autosinian.report.figures import amount, cell, comparison, duration, label, points, times


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("accuracy", 0.91234, "91.23 %"),
        ("Offline.samples_per_second", 12345.6, "12,346 samples/s"),
        ("Server.samples_per_second", 99.96, "99.96 queries/s"),
        ("SingleStream.latency_ms", 0.01234, "0.0123 ms"),
        ("SingleStream.latency_ms", 0.0, "0 ms"),
        ("macs", 15_360_000, "15.4 M MACs"),
        ("parameters", 999, "999 parameters"),
    ],
)
def test_amounts_have_a_unit_and_the_digits_that_matter(
    name: str, value: float, words: str
) -> None:
    assert amount(name, value) == words


def test_labels_say_the_unit_once() -> None:
    assert label("accuracy") == "accuracy (%)"
    assert label("Offline.samples_per_second") == "Offline samples/s"
    assert label("macs") == "MACs"


def test_accuracy_is_compared_in_points_and_all_else_as_a_ratio() -> None:
    assert comparison("accuracy", 0.92, 0.91) == "+1.00 points"
    assert comparison("Offline.samples_per_second", 300, 100) == "3.00x"
    assert comparison("Offline.samples_per_second", 300, None) == ""
    assert comparison("Offline.samples_per_second", 300, 0.0) == ""
    assert cell("accuracy", 0.9, 0.91) == "90.00 (-1.00)"


def test_no_difference_has_no_minus_sign() -> None:
    assert points(-0.0) == "+0.00 points"
    assert points(-0.00001) == "+0.00 points"


def test_ratios_keep_three_digits() -> None:
    assert [times(value) for value in (0.5214, 4.213, 12.34, 1234.5)] == [
        "0.521x",
        "4.21x",
        "12.3x",
        "1,234x",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.84, "0.8 s"),
        (9.97, "10 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert duration(seconds) == words
