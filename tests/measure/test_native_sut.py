from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import TrialFailure
from autosinian.measure.measurement import Measurement
from autosinian.measure.process import run
from tests.measure.conftest import LIMITS, ROOT, SAMPLES, Bench
from tests.measure.test_process import misbehaving

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # workers import `tests.measure.worker_engines`


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_samples_that_loadgen_names_are_answered(
    scenario: str, bench: Bench, tmp_path: Path
) -> None:
    labels = np.load(bench.labels)
    labels[::7] = (labels[::7] + 1) % 10
    np.save(tmp_path / "labels.npy", labels)
    job = bench.job(
        scenario,
        "AccuracyOnly",
        tmp_path,
        engine=misbehaving(bench, "NativeEngine"),
        labels=str(tmp_path / "labels.npy"),
    )
    measured = run(job, **LIMITS)
    assert measured.valid, measured.invalid_reason
    assert measured.versions["sut"] == "c++"
    assert measured.samples == SAMPLES
    assert measured.accuracy == pytest.approx(1 - 43 / SAMPLES)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_performance_run_is_valid(scenario: str, bench: Bench, tmp_path: Path) -> None:
    # Rates that a busy machine holds too, and enough queries for early stopping.
    settings = {"server_target_qps": 800, "min_duration_ms": 900} if scenario == "Server" else {}
    job = bench.job(
        scenario,
        "PerformanceOnly",
        tmp_path,
        engine=misbehaving(bench, "NativeEngine"),
        settings=settings,
    )
    measured = run(job, **LIMITS)
    assert measured.valid, measured.invalid_reason
    assert measured.versions["sut"] == "c++"


def test_the_python_one_serves_where_it_is_asked_for_or_the_session_needs_it(
    bench: Bench, tmp_path: Path
) -> None:
    job = bench.job(
        "Offline", "AccuracyOnly", tmp_path / "asked", engine=misbehaving(bench, "NativeEngine")
    )
    asked = run(replace(job, sut={**job.sut, "native": False}), **LIMITS)
    needed = run(bench.job("Offline", "AccuracyOnly", tmp_path / "needed"), **LIMITS)
    assert asked.versions["sut"] == needed.versions["sut"] == "python"
    assert asked.accuracy == needed.accuracy == 1.0


def test_a_lane_that_fails_ends_the_run_with_a_reason(bench: Bench, tmp_path: Path) -> None:
    job = bench.job(
        "Offline", "PerformanceOnly", tmp_path, engine=misbehaving(bench, "FailingNativeEngine")
    )
    with pytest.raises(TrialFailure, match="a lane's finish failed with status 1"):
        run(job, **LIMITS)


def served(
    bench: Bench, folder: Path, engine: str, sut: dict[str, float | bool] | None = None
) -> Measurement:
    """A short Server run with two batches in flight."""
    job = bench.job(
        "Server",
        "PerformanceOnly",
        folder,
        engine=misbehaving(bench, engine),
        settings={"server_target_qps": 200, "min_duration_ms": 900},
    )
    return run(replace(job, sut={**job.sut, "in_flight": 2, **(sut or {})}), **LIMITS)


def test_no_batch_waits_on_a_busy_stream_while_another_is_idle(
    bench: Bench, tmp_path: Path
) -> None:
    measured = served(bench, tmp_path, "UnevenNativeEngine")
    assert measured.versions["sut"] == "c++"
    assert measured.samples


def test_a_batch_that_is_not_full_leaves_when_the_one_before_has_had_its_time(
    bench: Bench, tmp_path: Path
) -> None:
    assert served(bench, tmp_path / "paced", "PacedNativeEngine").samples
    with pytest.raises(TrialFailure, match="a lane's start failed with status 1"):
        served(bench, tmp_path / "not", "PacedNativeEngine", {"pacing": False})
