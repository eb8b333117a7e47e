"""One run in worker processes: as asked, with queries enough, or the highest rate that holds."""

from dataclasses import replace

from autosinian.export.runs import Limits
from autosinian.measure.measurement import Job, Measurement
from autosinian.mlperf.request import Serving, Tell
from autosinian.mlperf.run_report import PEAK
from autosinian.mlperf.source import Source

EXPECTED = "offline_expected_qps"
_TOO_SHORT = "Increase expected QPS"
# Beside LoadGen's own tenth: machines vary from minute to minute.
_ABOVE = 1.2
_MOMENT_MS = 2000
# What LoadGen and the worker keep of a sample of Offline's one query, and of another query.
_SAMPLE_BYTES, _QUERY_BYTES = 200, 500
_OFFICIAL_MS = 600_000
_LATENCIES = {
    "SingleStream": ("single_stream_expected_latency_ns", "50.00"),
    "MultiStream": ("multi_stream_expected_latency_ns", "50.00"),
}
_STREAM_SLACK = 2.0


def memory_for(source: Source, job: Job) -> int:
    """Bytes that a worker may take for `job`: as the export's, and what its queries take.

    LoadGen makes all queries of a run beforehand, for the streams twice as many as it expects.
    """
    # Libraries of GPUs take some GiB before the first image.
    base = source.memory_bytes * (4 if job.devices else 1)
    known = source.measured.get(job.scenario, {})
    seconds = float(job.settings.get("min_duration_ms", _OFFICIAL_MS)) / 1000
    if job.scenario in _LATENCIES:
        name, percentile = _LATENCIES[job.scenario]
        latency_ns = job.settings.get(name) or known.get("latency_ns", {}).get(percentile)
        queries = _STREAM_SLACK * seconds * 1e9 / float(latency_ns) if latency_ns else 0.0
        return base + round(queries * _QUERY_BYTES)
    field = EXPECTED if job.scenario == "Offline" else "server_target_qps"
    rate = max(job.settings.get(field, 0), known.get("samples_per_second") or 0)
    each = _SAMPLE_BYTES if job.scenario == "Offline" else _QUERY_BYTES
    return base + round(_ABOVE * float(rate) * seconds * each)


def measure(
    job: Job, serving: Serving, mode: str, limits: Limits, tell: Tell, *, adjust: bool
) -> Measurement:
    """Run `job`; for FindPeakPerformance the Server bisection.

    With `adjust` an Offline run gets queries enough for the engine's speed where the config file
    expects less: LoadGen calls a run INVALID that ends before its time. Such a run is repeated
    once. Raises as `Workers.run` does.
    """
    if mode == PEAK:
        return _peak(job, serving, limits, tell)
    expected = serving.settings.get(EXPECTED)
    if expected is None or not adjust or mode == "AccuracyOnly":
        return _once(job, serving, limits)
    reached = _engine_rate(job, serving, limits)
    if reached > expected:
        tell(f"note: {expected:g} samples/s are expected, but the engine does {reached:.1f}")
        job = replace(job, settings={**job.settings, EXPECTED: _ABOVE * reached})
    measured = _once(job, serving, limits)
    if measured.valid or not measured.invalid_reason.startswith(_TOO_SHORT):
        return measured
    tell(f"note: the run was too short, as it did {measured.samples_per_second} samples/s; again")
    more = _ABOVE * (measured.samples_per_second or reached)
    return _once(replace(job, settings={**job.settings, EXPECTED: more}), serving, limits)


def _peak(job: Job, serving: Serving, limits: Limits, tell: Tell) -> Measurement:
    tell("measuring the engine's own rate, which no Server rate exceeds")
    upper = _engine_rate(job, serving, limits)
    start = job.settings.get("server_target_qps")
    return serving.workers.find_server_qps(
        job,
        upper,
        None if start is None else float(start),
        time_limit_s=limits.time_s,
        memory_limit_bytes=limits.memory_bytes,
    )


def _engine_rate(job: Job, serving: Serving, limits: Limits) -> float:
    """Samples/s of the engine without LoadGen, over a moment."""
    moment = min(_MOMENT_MS, int(job.settings.get("min_duration_ms", _MOMENT_MS)))
    loop = replace(job, mode="RawLoop", scenario="Offline", settings={"min_duration_ms": moment})
    measured = _once(loop, serving, limits)
    assert measured.samples_per_second is not None  # a raw loop's only figure
    return measured.samples_per_second


def _once(job: Job, serving: Serving, limits: Limits) -> Measurement:
    return serving.workers.run(
        job, time_limit_s=limits.time_s, memory_limit_bytes=limits.memory_bytes
    )
