"""A measurement that something disturbed is taken once more."""

from collections.abc import Callable
from dataclasses import replace

from autosinian.measure.measurement import Measurement

REPEATED = "repeated_because"
"""Where `Measurement.machine` says what disturbed the first run."""


def run_undisturbed(run: Callable[[], Measurement]) -> Measurement:
    """What `run` gives; where that is marked as disturbed, what it gives the second time.

    The second is kept whether it was disturbed or not, since its logs have replaced the first's.
    Its `machine` says under `repeated_because` what disturbed the first, its `disturbance` what
    disturbed itself; its times are those of both. Whatever `run` raises is raised.
    """
    first = run()
    if not first.disturbance:
        return first
    second = run()
    return replace(
        second,
        loadgen_s=first.loadgen_s + second.loadgen_s,
        worker_s=first.worker_s + second.worker_s,
        peak_memory_bytes=max(first.peak_memory_bytes, second.peak_memory_bytes),
        machine={**second.machine, REPEATED: first.disturbance},
    )
