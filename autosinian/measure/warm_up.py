"""What comes before LoadGen: the engine runs a moment, and LoadGen is told how fast it is."""

import time
from typing import Any

from autosinian.measure.measurement import Job
from autosinian.measure.raw_loop import Ready, latencies_s, raw_loop
from autosinian.measure.serving import BatchTimes
from autosinian.measure.settings import built_in_settings

WARMUP_S = 0.2
_WINDOWS, _LONGER_WINDOWS = 4, 2
_FEW_BATCHES = 64
# A run that ends before `min_duration_ms` is invalid, so its queries must not be too few.
_ABOVE_ESTIMATE = 1.1
_TIMED_CALLS = 3
_MANY_QUERIES = 500_000
_LONG_RUN = 1.5


def warm_up(ready: Ready, job: Job, settings: Any, *, streams: int) -> BatchTimes | None:
    """Run the engine a moment, and tell LoadGen the speed where the job does not. Returns the
    times of batches in Server, None elsewhere.

    LoadGen makes its queries in advance: Offline from `offline_expected_qps`, the streams from the
    expected latency, so that without them a run is much shorter or longer than `min_duration_ms`.
    """
    seconds = float(job.sut.get("warmup_s", WARMUP_S))
    if job.scenario == "Offline":
        rates = [raw_loop(ready, seconds / _WINDOWS)[0] for _ in range(_WINDOWS)]
        if max(rates) * seconds < _FEW_BATCHES * ready.batch_size:
            # The first batches of an engine are slow, and these were hardly more.
            rates += [raw_loop(ready, seconds)[0] for _ in range(_LONGER_WINDOWS)]
        _estimate(job, settings, "offline_expected_qps", _ABOVE_ESTIMATE * max(rates))
        return None
    if job.scenario == "Server":
        _warm_up_sizes(ready, seconds)
        return _batch_times(ready, seconds)
    multi = job.scenario == "MultiStream"
    samples = int(settings.multi_stream_samples_per_query) if multi else 1
    size = min(samples, ready.batch_size)
    shortest = min(latencies_s(ready.infer, size)) * -(-samples // size)
    name = "multi_stream_expected_latency_ns" if multi else "single_stream_expected_latency_ns"
    streams = streams if samples > size else 1
    expected = shortest * 1e9 / streams
    # LoadGen makes twice the queries that this asks for. Running out of them makes a run invalid,
    # and too many cost next to nothing, but 300 bytes each in runs of official length; there the
    # shortest of all latencies is far from their mean.
    many = settings.min_duration_ms * 1e6 / expected > _MANY_QUERIES
    _estimate(job, settings, name, expected * (_LONG_RUN if many else 0.5))
    return None


def _warm_up_sizes(ready: Ready, seconds: float) -> None:
    """Infer every size of a partial batch once, as far as `seconds` go: engines with a dynamic
    batch prepare each size when it first comes."""
    end = time.perf_counter() + seconds
    for size in range(1, ready.batch_size + 1):
        ready.infer(size)
        if time.perf_counter() > end:
            return


def _batch_times(ready: Ready, seconds: float) -> BatchTimes:
    """One sample takes the share of a full batch's time that it takes when each runs alone."""
    size = ready.batch_size
    full = size / max(raw_loop(ready, seconds / 2)[0] for _ in range(2))
    alone = [min(latencies_s(ready.infer, n, repeats=_TIMED_CALLS)) for n in (1, size)]
    return BatchTimes(full * min(1.0, alone[0] / alone[1]), full, size)


def _estimate(job: Job, settings: Any, name: str, value: float) -> None:
    """Set what neither the job nor its files have set."""
    untouched = getattr(settings, name) == getattr(built_in_settings(job), name)
    if untouched and name not in job.settings:
        setattr(settings, name, value)
