"""The best Server rate: bisection over runs at given rates, each in a fresh process."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autosinian.errors import InputError
from autosinian.measure.measurement import Job, Measurement
from autosinian.measure.process import run
from autosinian.measure.repeat import run_undisturbed
from autosinian.measure.spare import Spares

# Server submissions of R2 reached 0.74-0.89 of their Offline rate; without a hint start there.
_FIRST_FRACTION = 0.75
_STEP = 1.2
_LOWEST_FRACTION = 1e-3


@dataclass
class _Bracket:
    """The highest rate that held and the lowest that did not, in queries/s."""

    held: float | None
    failed: float | None
    upper: float

    def next(self, start: float) -> float:
        """The rate to try next: the start, then outward to a bracket, then its middle."""
        if self.held is not None:
            if self.failed is not None:
                return math.sqrt(self.held * self.failed)
            return min(self.held * _STEP, math.sqrt(self.held * self.upper))
        return start if self.failed is None else self.failed / _STEP

    def width(self) -> float:
        """Relative distance of what held from the bound above it."""
        if self.held is None:
            return math.inf
        return min(self.failed or self.upper, self.upper) / self.held - 1

    def told(self, rate: float, valid: bool) -> None:
        """Narrow by one run's verdict."""
        if valid:
            self.held = rate
        else:
            self.failed = rate


def bisect_rate(
    holds: Callable[[float], bool],
    upper: float,
    start: float | None,
    *,
    tolerance: float,
    max_probes: int,
) -> float | None:
    """The highest rate found to hold, within `tolerance` of one that does not or of `upper`.

    None where no probed rate held. `holds` is asked at most `max_probes` times.
    """
    first = upper * _FIRST_FRACTION if start is None else min(start, upper)
    bracket = _Bracket(None, None, upper)
    for _ in range(max_probes):
        rate = bracket.next(first)
        if bracket.width() <= tolerance or rate < upper * _LOWEST_FRACTION:
            break
        bracket.told(rate, holds(rate))
    return bracket.held


def find_server_qps(
    job: Job,
    upper: float,
    start: float | None = None,
    *,
    time_limit_s: float,
    memory_limit_bytes: int,
    python: Sequence[str] | None = None,
    spares: Spares | None = None,
    tolerance: float = 0.03,
    max_probes: int = 8,
) -> Measurement:
    """Measure the best Server rate within the latency limit, as LoadGen judges it.

    `upper` is the Offline rate in samples/s, which no Server rate exceeds; `start` an estimate
    from an earlier trial. `time_limit_s` and `memory_limit_bytes` hold for each run. Returns the
    valid run of the highest rate, or the last invalid one where none was valid. Logs of a run lie
    in the job's output folder under `probe_<n>`. A disturbed run is repeated once; the result is
    marked where one was disturbed again, as the rate may be too low then. Raises as `run` does.
    """
    if job.scenario != "Server" or job.mode != "PerformanceOnly" or not upper > 0:
        raise InputError(
            "the Server bisection needs scenario Server, mode PerformanceOnly and upper > 0, got "
            f"{job.scenario}, {job.mode}, {upper}"
        )
    best: Measurement | None = None
    probes: list[Measurement] = []

    def holds(rate: float) -> bool:
        nonlocal best
        probe = replace(
            job,
            settings={**job.settings, "server_target_qps": rate},
            output_folder=str(Path(job.output_folder) / f"probe_{len(probes) + 1}"),
        )
        measurement = run_undisturbed(
            lambda: run(
                probe,
                time_limit_s=time_limit_s,
                memory_limit_bytes=memory_limit_bytes,
                python=python,
                spares=spares,
            )
        )
        probes.append(measurement)
        if measurement.valid:
            best = measurement
        return measurement.valid

    bisect_rate(holds, upper, start, tolerance=tolerance, max_probes=max_probes)
    return replace(
        best or probes[-1],
        probes=len(probes),
        loadgen_s=sum(probe.loadgen_s for probe in probes),
        worker_s=sum(probe.worker_s for probe in probes),
        peak_memory_bytes=max(probe.peak_memory_bytes for probe in probes),
        disturbance=next((probe.disturbance for probe in probes if probe.disturbance), ""),
    )
