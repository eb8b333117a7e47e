"""The bounds of the audits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.mlperf.audit_judge import AccuracyFinding, judge_accuracy, judge_performance
from autosinian.mlperf.submission_logs import RunLog, read_run
from tests.mlperf.log_files import write_answers, write_run


def run(folder: Path, **values: Any) -> RunLog:
    found = read_run(write_run(folder, **values))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("test", "before", "after", "passed"),
    [
        ("TEST01", 1000.0, 901.0, True),
        ("TEST01", 1000.0, 899.0, False),
        ("TEST01", 1000.0, 1101.0, False),
        ("TEST04", 1000.0, 500.0, True),
        ("TEST04", 1000.0, 1099.0, True),
        ("TEST04", 1000.0, 1101.0, False),
        ("TEST05", 1000.0, 951.0, True),
        ("TEST05", 1000.0, 949.0, False),
        ("TEST05", 1000.0, 5000.0, True),
    ],
)
def test_rates_are_compared(
    test: str, before: float, after: float, passed: bool, tmp_path: Path
) -> None:
    reference = run(tmp_path / "a", result_samples_per_second=before)
    audited = run(tmp_path / "b", result_samples_per_second=after)
    found = judge_performance(test, reference, audited)
    assert found.passed == passed
    assert ("TEST PASS" in found.text) == passed
    assert bool(found.reason) != passed


@pytest.mark.parametrize(
    ("test", "before", "after", "passed"),
    [
        ("TEST01", 500_000, 549_000, True),
        ("TEST01", 500_000, 551_000, False),
        ("TEST01", 500_000, 449_000, False),
        ("TEST04", 500_000, 900_000, True),
        ("TEST04", 500_000, 456_000, True),
        ("TEST04", 500_000, 453_000, False),
        ("TEST05", 500_000, 526_000, False),
        # Short latencies may differ by 20 %.
        ("TEST01", 100_000, 119_000, True),
        ("TEST01", 100_000, 121_000, False),
        ("TEST04", 100_000, 84_000, True),
    ],
)
def test_latencies_are_compared(
    test: str, before: int, after: int, passed: bool, tmp_path: Path
) -> None:
    single = {"effective_scenario": "SingleStream"}
    reference = run(tmp_path / "a", **single, early_stopping_latency_ss=before)
    audited = run(tmp_path / "b", **single, early_stopping_latency_ss=after)
    assert judge_performance(test, reference, audited).passed == passed


def test_what_cannot_be_compared_is_not_passed(tmp_path: Path) -> None:
    good = run(tmp_path / "good")
    for changes, said in (
        ({"result_validity": "INVALID"}, "not VALID"),
        ({"effective_scenario": "Server"}, "scenarios differ"),
        ({"result_samples_per_second": 0}, "no score"),
    ):
        found = judge_performance("TEST04", good, run(tmp_path / "other", **changes))
        assert not found.passed
        assert said in found.reason
    bounds = [
        run(
            tmp_path / f"server{bound}",
            effective_scenario="Server",
            effective_target_latency_ns=bound,
        )
        for bound in (15_000_000, 20_000_000)
    ]
    assert "latency bounds differ" in judge_performance("TEST01", *bounds).reason


def answers(folder: Path, sampled: dict[int, int]) -> AccuracyFinding:
    """Judge sampled answers; the accuracy run answers each of 1,000 samples with its label."""
    truth = np.arange(1000, dtype=np.int64) % 10
    accuracy = run(folder / "accuracy", effective_test_mode="AccuracyOnly")
    write_answers(
        accuracy.folder / "mlperf_log_accuracy.json",
        {n: int(label) for n, label in enumerate(truth)},
    )
    return judge_accuracy(accuracy, write_answers(folder / "sampled.json", sampled), truth)


def test_equal_answers_pass(tmp_path: Path) -> None:
    found = answers(tmp_path, {3: 3, 17: 7, 999: 9})
    assert found.passed
    assert "num_perf_log_data_mismatch = 0\n" in found.text
    assert found.text.splitlines()[-1] == "TEST PASS"
    assert not found.baseline


def test_one_answer_for_every_sample_is_caught(tmp_path: Path) -> None:
    found = answers(tmp_path, dict.fromkeys(range(500), 3))
    assert not found.passed
    assert "450 of 500 sampled answers differ" in found.reason
    assert found.baseline == "accuracy=100.000%, good=500, total=500\n"
    assert found.compliance == "accuracy=10.000%, good=50, total=500\n"


def test_rounding_is_borne(tmp_path: Path) -> None:
    sampled = {n: n % 10 for n in range(500)} | {7: 1}
    found = answers(tmp_path, sampled)
    assert found.passed
    assert "TEST FAIL" in found.text
    assert found.compliance == "accuracy=99.800%, good=499, total=500\n"


def test_no_answer_and_foreign_answers_do_not_pass(tmp_path: Path) -> None:
    assert "no answer" in answers(tmp_path / "none", {}).reason
    assert "cannot be compared" in answers(tmp_path / "beyond", {5000: 1}).reason
