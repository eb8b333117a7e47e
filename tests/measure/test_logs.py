import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.measure.logs import accuracy_of, find_log, read_detail, read_labels, read_verdict


def line(key: str, value: object, *, error: bool = False) -> str:
    return ":::MLLOG " + json.dumps(
        {"key": key, "value": value, "metadata": {"is_error": error, "is_warning": False}}
    )


def entry(index: int, label: int) -> str:
    data = label.to_bytes(8, "little", signed=True).hex().upper()
    return json.dumps({"seq_id": index, "qsl_idx": index, "data": data, "token_count": 0})


def write_accuracy(path: Path, answers: list[tuple[int, int]]) -> Path:
    path.write_text("[\n" + ",\n".join(entry(*answer) for answer in answers) + "\n]\n")
    return path


def test_the_last_value_of_a_key_counts_and_other_lines_do_not() -> None:
    text = "\n".join([line("a", 1), "chatter", line("a", 2), line("oops", "bad", error=True)])
    assert read_detail(text) == ({"a": 2, "oops": "bad"}, ["bad"])


def test_a_line_cut_off_by_a_kill_is_passed_over() -> None:
    assert read_detail(line("a", 1) + "\n" + line("b", 2)[:20]) == ({"a": 1}, [])


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    read_detail(text)


def test_multi_stream_latencies_are_those_of_whole_queries(tmp_path: Path) -> None:
    log = tmp_path / "detail.txt"
    log.write_text(
        "\n".join(
            [
                line("result_validity", "VALID"),
                line("effective_samples_per_query", 8),
                line("result_mean_query_latency_ns", 4e6),
                line("result_99.00_percentile_per_query_latency_ns", 5e6),
                line("result_99.00_percentile_latency_ns", 3e6),
                line("early_stopping_latency_ms", 6e6),
            ]
        )
    )
    verdict = read_verdict(log, "MultiStream")
    assert verdict.valid
    assert verdict.latency_ns == {"99.00": 5e6, "mean": 4e6}
    assert verdict.samples_per_second == pytest.approx(2000)
    assert verdict.early_stopping_latency_ns == 6e6


def test_a_log_without_a_verdict_is_invalid(tmp_path: Path) -> None:
    log = tmp_path / "detail.txt"
    log.write_text(line("effective_scenario", "Offline"))
    verdict = read_verdict(log, "Offline")
    assert not verdict.valid
    assert verdict.invalid_reason == "no verdict"


def test_labels_are_read_as_little_endian_int64(tmp_path: Path) -> None:
    log = write_accuracy(tmp_path / "accuracy.json", [(2, 999), (0, -1), (1, 7)])
    labels, seen = read_labels(log, 4)
    assert labels.tolist() == [-1, 7, 999, 0]
    assert seen.tolist() == [True, True, True, False]


def test_accuracy_of_fifty_thousand_samples(tmp_path: Path) -> None:
    truth = np.arange(50_000) % 1000
    answers = [(int(i), int(truth[i]) + (i < 500)) for i in range(50_000)]
    log = write_accuracy(tmp_path / "accuracy.json", answers)
    assert accuracy_of(log, truth) == (0.99, 50_000)


def test_accuracy_needs_every_sample_answered(tmp_path: Path) -> None:
    log = write_accuracy(tmp_path / "accuracy.json", [(0, 1)])
    with pytest.raises(ValueError, match="answers 1 of 2 samples"):
        accuracy_of(log, np.array([1, 1]))


def test_two_answers_for_one_sample_must_agree(tmp_path: Path) -> None:
    log = write_accuracy(tmp_path / "accuracy.json", [(0, 1), (0, 2)])
    with pytest.raises(ValueError, match="sample 0 was answered 1 and then 2"):
        read_labels(log, 1)


def test_an_absent_log_is_none(tmp_path: Path) -> None:
    assert find_log(tmp_path, "detail") is None
