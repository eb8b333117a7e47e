"""One performance run of an engine file, alike while exporting and while verifying."""

from dataclasses import dataclass, replace
from pathlib import Path

from autosinian.errors import TrialFailure
from autosinian.evaluate.evaluation import scenario_metrics
from autosinian.evaluate.quiet import alone, working
from autosinian.measure.measurement import Job, Measurement
from autosinian.measure.repeat import run_undisturbed
from autosinian.measure.workers import Workers

# A Server figure costs a bisection; from a good start three runs bracket it.
_SERVER_PROBES = 3
_SERVER_REACH = 2.0

# LoadGen itself adds a tenth to the expected rate; machines vary by more.
_HEADROOM = 1.2
_ATTEMPTS = 3

HIGHER_IS_BETTER = ("samples_per_second",)


@dataclass(frozen=True)
class Limits:
    """What one worker may take."""

    time_s: float
    memory_bytes: int


def ranking_metric(scenario: str) -> str:
    """The metric MLPerf inference ranks a scenario by, as `Offline.samples_per_second`."""
    rate = scenario in ("Offline", "Server")
    return f"{scenario}.{'samples_per_second' if rate else 'latency_ms'}"


def is_maximized(metric: str) -> bool:
    """Whether more is better of a performance metric's qualified name."""
    return metric.rpartition(".")[2] in HIGHER_IS_BETTER


def perform(
    job: Job, workers: Workers, limits: Limits, *, expected_rate: float | None = None
) -> Measurement:
    """One performance run with its device to itself; Server's is the best rate that holds.

    `expected_rate` is what is known of it, in samples/s: Offline makes its queries in advance for
    it, the Server bisection starts from it. An INVALID run is repeated for the rate that it
    reached, because an Offline run that turns out faster than expected ends before its time. One
    that was disturbed is repeated once.
    Raises `TrialFailure` where LoadGen says INVALID each time.
    """
    rate = expected_rate
    for _ in range(_ATTEMPTS):
        with alone(job.devices):
            measured = _run(job, workers, limits, rate)
        if measured.valid:
            return measured
        # What it reached is known also of a run that was too short.
        rate = max(rate or 0.0, measured.samples_per_second or 0.0) or None
    reason = measured.invalid_reason or "no reason given"
    raise TrialFailure(
        "performance", f"LoadGen says INVALID in {job.scenario} {_ATTEMPTS} times: {reason}"
    )


def _run(job: Job, workers: Workers, limits: Limits, rate: float | None) -> Measurement:
    if job.scenario == "Server":
        start = rate or 1.0
        return workers.find_server_qps(
            job,
            start * _SERVER_REACH,
            start,
            time_limit_s=limits.time_s,
            memory_limit_bytes=limits.memory_bytes,
            max_probes=_SERVER_PROBES,
        )
    if job.scenario == "Offline" and rate:
        # A setting of the study's own comes first.
        job = replace(job, settings={"offline_expected_qps": _HEADROOM * rate, **job.settings})
    return run_undisturbed(
        lambda: workers.run(job, time_limit_s=limits.time_s, memory_limit_bytes=limits.memory_bytes)
    )


def score(job: Job, workers: Workers, limits: Limits) -> Measurement:
    """One AccuracyOnly run. Raises `TrialFailure` where it gives no accuracy."""
    with working(job.devices):
        measured = workers.run(
            job, time_limit_s=limits.time_s, memory_limit_bytes=limits.memory_bytes
        )
    if measured.accuracy is None or not measured.valid:
        raise TrialFailure("accuracy", measured.invalid_reason or "LoadGen gave no accuracy")
    return measured


def for_duration(job: Job, seconds: float, output_folder: Path) -> Job:
    """`job` with another length and place for its logs."""
    return replace(
        job,
        settings={**job.settings, "min_duration_ms": max(1, round(seconds * 1000))},
        output_folder=str(output_folder),
    )


def performance_metrics(measured: Measurement) -> dict[str, float]:
    """The metrics of one run by qualified name; Server's latency, which lies at its bound, apart.

    Raises `TrialFailure` where the scenario's ranking metric is missing.
    """
    metrics = scenario_metrics(measured)
    if ranking_metric(measured.scenario) not in metrics:
        raise TrialFailure("performance", f"LoadGen gave no {ranking_metric(measured.scenario)}")
    return metrics
