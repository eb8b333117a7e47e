import sys
from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.measure.measurement import SCENARIOS
from autosinian.measure.process import run
from tests.measure.conftest import LIMITS, SAMPLES, Bench


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_accuracy_is_one_because_the_given_indices_choose_the_samples(
    scenario: str, bench: Bench, tmp_path: Path
) -> None:
    measurement = bench.run(scenario, "AccuracyOnly", tmp_path)
    assert measurement.valid, measurement.invalid_reason
    assert measurement.accuracy == 1.0
    assert measurement.samples == SAMPLES
    assert measurement.samples_per_second is None


def test_accuracy_uncovers_a_system_under_test_that_ignores_the_indices(
    bench: Bench, tmp_path: Path
) -> None:
    script = tmp_path / "ignoring.py"
    script.write_text(
        "import sys\n"
        "from autosinian.measure import worker\n"
        "from autosinian.measure.samples import Samples\n"
        "honest = Samples.gather\n"
        "Samples.gather = lambda self, rows, buffer: honest(self, rows * 0, buffer)\n"
        "worker.main(sys.argv[3:])\n"
    )
    job = bench.job("Offline", "AccuracyOnly", tmp_path / "out")
    measurement = run(job, **LIMITS, python=[sys.executable, str(script)])
    labels = np.load(bench.labels)
    assert measurement.accuracy == pytest.approx(float((labels == labels[0]).mean()))
    assert (labels == labels[0]).mean() < 0.3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_performance_run_is_valid_and_has_its_figures(
    scenario: str, bench: Bench, tmp_path: Path
) -> None:
    measurement = bench.run(scenario, "PerformanceOnly", tmp_path, labels=None)
    assert measurement.valid, measurement.invalid_reason
    assert measurement.samples_per_second is not None
    assert measurement.samples_per_second > 0
    assert set(measurement.latency_ns) == {
        *("mean", "50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
    }
    assert measurement.latency_ns["50.00"] <= measurement.latency_ns["99.90"]
    assert measurement.accuracy is None
    assert measurement.target_qps == (8000 if scenario == "Server" else None)
    assert measurement.samples > 100
    assert 0.1 < measurement.loadgen_s < measurement.worker_s
    assert measurement.peak_memory_bytes > 10 << 20
    assert {"openvino", "mlcommons-loadgen", "device"} <= set(measurement.versions)
    assert (tmp_path / "mlperf_log_detail.txt").exists()
    if scenario == "SingleStream":
        assert measurement.early_stopping_latency_ns is not None


@pytest.mark.parametrize("scenario", ["Offline", "SingleStream"])
def test_a_submission_run_has_accuracy_and_performance(
    scenario: str, bench: Bench, tmp_path: Path
) -> None:
    measurement = bench.run(scenario, "SubmissionRun", tmp_path)
    assert measurement.valid, measurement.invalid_reason
    assert measurement.accuracy == 1.0
    assert measurement.samples_per_second is not None


def test_the_raw_loop_gives_samples_per_second(bench: Bench, tmp_path: Path) -> None:
    measurement = bench.run("Offline", "RawLoop", tmp_path, labels=None)
    assert measurement.valid
    assert measurement.samples_per_second is not None
    assert measurement.samples == pytest.approx(
        measurement.samples_per_second * measurement.loadgen_s
    )


def test_a_run_lasts_about_as_long_as_asked_without_an_estimate(
    bench: Bench, tmp_path: Path
) -> None:
    measurement = bench.run(
        "Offline", "PerformanceOnly", tmp_path, settings={"min_duration_ms": 400}
    )
    assert measurement.valid, measurement.invalid_reason
    assert 0.4 <= measurement.loadgen_s < 4


def test_multi_stream_queries_larger_than_a_batch_are_answered(
    bench: Bench, tmp_path: Path
) -> None:
    settings = {"multi_stream_samples_per_query": 11, "min_query_count": 700}
    measurement = bench.run("MultiStream", "SubmissionRun", tmp_path, settings=settings)
    assert measurement.valid, measurement.invalid_reason
    assert measurement.accuracy == 1.0


def test_server_queries_wait_to_fill_a_batch(bench: Bench, tmp_path: Path) -> None:
    median = {}
    for timeout_us in (0, 20_000):
        sut = {"warmup_s": 0.05, "deque_timeout_us": timeout_us, "in_flight": 1}
        settings = {"server_target_qps": 40, "min_duration_ms": 300}
        measurement = bench.run(
            "Server", "PerformanceOnly", tmp_path / str(timeout_us), sut=sut, settings=settings
        )
        median[timeout_us] = measurement.latency_ns["50.00"]
    assert median[0] < 20e6 <= median[20_000] * 1.01


def test_an_overloaded_server_run_is_invalid_with_loadgens_reason(
    bench: Bench, tmp_path: Path
) -> None:
    settings = {"server_target_qps": 300_000, "server_target_latency_ns": 100_000}
    measurement = bench.run("Server", "PerformanceOnly", tmp_path, settings=settings)
    assert not measurement.valid
    assert "Reduce target QPS" in measurement.invalid_reason


def test_a_sample_that_is_not_labelled_right_costs_its_share(bench: Bench, tmp_path: Path) -> None:
    labels = np.load(bench.labels)
    labels[:30] = (labels[:30] + 1) % 10
    np.save(tmp_path / "labels.npy", labels)
    measurement = bench.run(
        "Offline", "AccuracyOnly", tmp_path / "out", labels=str(tmp_path / "labels.npy")
    )
    assert measurement.accuracy == pytest.approx(1 - 30 / SAMPLES)


def test_labels_are_needed_where_accuracy_is_scored(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mode AccuracyOnly needs labels"):
        bench.run("Offline", "AccuracyOnly", tmp_path, labels=None)


def test_inputs_of_another_shape_are_bad_input(bench: Bench, tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", np.zeros((5, 3, 4, 4), np.float32))
    with pytest.raises(InputError, match="must be float32, N x 10 x 4 x 4"):
        bench.run(
            "Offline", "PerformanceOnly", tmp_path / "out", inputs=str(tmp_path / "inputs.npy")
        )


def test_more_loaded_samples_than_there_are_is_bad_input(bench: Bench, tmp_path: Path) -> None:
    settings = {"performance_sample_count_override": SAMPLES + 1}
    with pytest.raises(InputError, match=r"must be at most the number of samples \(300\), got 301"):
        bench.run("Offline", "PerformanceOnly", tmp_path, settings=settings)


def test_too_few_queries_for_early_stopping_are_told(bench: Bench, tmp_path: Path) -> None:
    settings = {"server_target_qps": 100}
    measurement = bench.run("Server", "PerformanceOnly", tmp_path, settings=settings)
    assert not measurement.valid
    assert "queries" in measurement.invalid_reason
    assert "\n" not in measurement.invalid_reason


def test_an_unknown_sut_setting_is_bad_input(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sut setting must be one of .* got 'dequeue'"):
        bench.run("Server", "PerformanceOnly", tmp_path, sut={"dequeue": 1})
