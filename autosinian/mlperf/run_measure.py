"""One run in worker processes: as asked, with queries enough, or the highest rate that holds."""

from dataclasses import replace

from autosinian.export.runs import Limits
from autosinian.measure.measurement import Job, Measurement
from autosinian.mlperf.request import Serving, Tell
from autosinian.mlperf.run_report import PEAK

EXPECTED = "offline_expected_qps"
_TOO_SHORT = "Increase expected QPS"
# Beside LoadGen's own tenth: machines vary from minute to minute.
_ABOVE = 1.2
_MOMENT_MS = 2000


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
