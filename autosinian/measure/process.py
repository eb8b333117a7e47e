"""The parent's side of a worker process: start it, watch time and memory, read its result."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from autosinian.errors import InputError, TrialFailure
from autosinian.measure.gpu_watch import GpuWatch
from autosinian.measure.job_files import JobFiles
from autosinian.measure.machine import processor_state
from autosinian.measure.measurement import (
    BuildJob,
    BuildResult,
    DescribeJob,
    Job,
    Measurement,
)
from autosinian.measure.spare import Spares
from autosinian.measure.supervision import Ended, Supervision, descendants, failure
from autosinian.measure.waiting import Early

Started = Callable[[], None]

_SECOND_ESTIMATE = 1.3


class Limits(TypedDict):
    """What a worker may take at most."""

    time_limit_s: float
    memory_limit_bytes: int


@dataclass(frozen=True)
class _Start:
    """How a worker gets its job and how far it may go; `started` is called once it has it."""

    time_limit_s: float
    memory_limit_bytes: int
    python: Sequence[str] | None
    spares: Spares
    started: Started = lambda: None

    def __call__(
        self,
        job: Job | BuildJob | DescribeJob,
        files: JobFiles,
        stderr: Path,
        watch: GpuWatch | None = None,
    ) -> Supervision:
        """A worker for the job in `files`, watched."""
        try:
            process = self.spares.start(self.python, job.devices, files, stderr)
            watched = Supervision(process, self.time_limit_s, self.memory_limit_bytes, watch)
        except OSError as error:
            raise _not_started(job, error) from error
        try:
            self.started()
        except BaseException:
            watched.end()
            raise
        return watched

    def early(self, early: Early, watch: GpuWatch | None) -> Supervision:
        """The worker that has opened its job early, watched."""
        return Supervision(early.process, self.time_limit_s, self.memory_limit_bytes, watch)


def run(
    job: Job,
    *,
    time_limit_s: float,
    memory_limit_bytes: int,
    python: Sequence[str] | None = None,
    spares: Spares | None = None,
    started: Started = lambda: None,
) -> Measurement:
    """Measure in a fresh worker process; `python` is its interpreter's command line.

    One of `spares` takes the job where it fits. `started` is called once the worker has it.

    Raises `InputError` for what the job has wrong, `TrialFailure` with the stage and reason where
    the worker failed, crashed, hung beyond `time_limit_s` or grew beyond `memory_limit_bytes`.
    The worker sees the job's GPUs alone, and they are watched while it runs. Must be called from a
    thread that lives until it returns: the kernel kills the worker when that thread ends.
    """
    start = _Start(time_limit_s, memory_limit_bytes, python, spares or Spares(), started)
    measurement = _run_once(job, start)
    again = _with_more_queries(job, measurement)
    if again is None:
        return measurement
    second = _run_once(again, start)
    return replace(
        second,
        loadgen_s=measurement.loadgen_s + second.loadgen_s,
        worker_s=measurement.worker_s + second.worker_s,
    )


def _run_once(job: Job, start: _Start) -> Measurement:
    early = start.spares.take_early(job)
    # What else runs does not change which answers are right.
    timed = job.mode != "AccuracyOnly"
    with start.spares.resting() if timed else nullcontext():
        return _run_now(job, start, early, timed=timed)


def _run_now(job: Job, start: _Start, early: Early | None, *, timed: bool) -> Measurement:
    machine, watch = processor_state(), None
    if job.devices:
        watch = GpuWatch(job.devices)
        ours = descendants(early.process.pid) if early is not None else ()
        watch.before(ours, wait=timed)
    files = JobFiles(Path(job.output_folder), "run")
    if early is not None and early.go():
        watched = start.early(early, watch)
    else:
        _write(job, files, {"kind": "run", "job": job.to_dict()})
        watched = start(job, files, files.stderr, watch)
    return _measured(job, files, files.stderr, watched, machine, watch)


def _measured(
    job: Job,
    files: JobFiles,
    stderr: Path,
    watched: Supervision,
    machine: dict[str, Any],
    watch: GpuWatch | None,
) -> Measurement:
    watched.follow()
    ended = watched.end()
    measurement = Measurement.from_dict(_result(job.stage, files.result, ended, stderr))
    return replace(
        measurement,
        worker_s=ended.worker_s,
        peak_memory_bytes=max(measurement.peak_memory_bytes, ended.peak_memory_bytes),
        machine=measurement.machine | machine | (watch.summary() if watch else {}),
        disturbance=watch.disturbance() if watch else "",
    )


def _with_more_queries(job: Job, measurement: Measurement) -> Job | None:
    """The job again where an Offline run was invalid only because our estimate was too low.

    Something else kept the processor busy during the worker's warm-up, so that LoadGen made too
    few queries to fill `min_duration_ms`. What the job or its files set is never overruled.
    """
    name = "offline_expected_qps"
    ours = job.scenario == "Offline" and not (
        name in job.settings or job.user_conf or job.mlperf_conf or job.audit_conf
    )
    if measurement.valid or not ours or measurement.samples_per_second is None:
        return None
    if not measurement.invalid_reason.startswith("Increase expected QPS"):
        return None
    return replace(
        job, settings={**job.settings, name: _SECOND_ESTIMATE * measurement.samples_per_second}
    )


def build(
    job: BuildJob,
    *,
    time_limit_s: float,
    memory_limit_bytes: int,
    python: Sequence[str] | None = None,
    spares: Spares | None = None,
    started: Started = lambda: None,
) -> BuildResult:
    """Build an engine file in a worker process; takes and raises what `run` does."""
    start = _Start(time_limit_s, memory_limit_bytes, python, spares or Spares(), started)
    result, ended = _work("build", job, start)
    return _built(result, ended)


class BuiltAndRunning:
    """A worker that has built an engine file, `built`, and goes on to run it.

    `measurement` waits for that; `close` ends it where nobody does.
    """

    def __init__(
        self,
        built: BuildResult,
        job: Job,
        stderr: Path,
        watched: Supervision,
        watch: GpuWatch | None,
    ) -> None:
        self.built = built
        self._job, self._stderr, self._watched, self._watch = job, stderr, watched, watch

    def measurement(self) -> Measurement:
        """What the run gave; raises what `run` does."""
        files = JobFiles(Path(self._job.output_folder), "run")
        state = processor_state()
        return _measured(self._job, files, self._stderr, self._watched, state, self._watch)

    def close(self) -> None:
        """End the worker."""
        self._watched.end()


def build_then_run(
    build_job: BuildJob,
    job: Job,
    *,
    time_limit_s: float,
    memory_limit_bytes: int,
    python: Sequence[str] | None = None,
    spares: Spares | None = None,
    started: Started = lambda: None,
) -> BuiltAndRunning:
    """Build an engine file and run `job` on it in one worker process; returns after the build.

    So the libraries, the device and its kernels are made ready once. Each of the two has
    `time_limit_s`; both see `job`'s devices, of which there is at most one. Takes and raises what
    `run` does. What the worker prints goes to the build's log.
    """
    start = _Start(time_limit_s, memory_limit_bytes, python, spares or Spares(), started)
    built_files = JobFiles(Path(build_job.output_folder), "build")
    files = JobFiles(Path(job.output_folder), "run")
    _write(build_job, built_files, {"kind": "build", "job": build_job.to_dict()})
    told = {"kind": "run", "job": job.to_dict(), "build_first": build_job.to_dict()}
    _write(job, files, told)
    watch = GpuWatch(job.devices) if job.devices else None
    if watch is not None:
        watch.before(wait=False)
    watched = start(build_job, files, built_files.stderr, watch)
    ended = watched.follow(built_files.result.exists)
    if ended or "failure" in json.loads(built_files.result.read_text()):
        end = watched.end()
        result = _result(build_job.stage, built_files.result, end, built_files.stderr)
    else:
        result = json.loads(built_files.result.read_text())["result"]
        end = watched.so_far()
    return BuiltAndRunning(_built(result, end), job, built_files.stderr, watched, watch)


def describe(
    job: DescribeJob,
    *,
    time_limit_s: float,
    memory_limit_bytes: int,
    python: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What the job's engine says of itself in a fresh worker process; raises as `run` does.

    See `autosinian.engine.described`; `worker` holds the interpreter's and LoadGen's versions.
    """
    return _work("describe", job, _Start(time_limit_s, memory_limit_bytes, python, Spares()))[0]


def _work(kind: str, job: BuildJob | DescribeJob, start: _Start) -> tuple[dict[str, Any], Ended]:
    files = JobFiles(Path(job.output_folder), kind)
    _write(job, files, {"kind": kind, "job": job.to_dict()})
    watched = start(job, files, files.stderr)
    watched.follow()
    ended = watched.end()
    return _result(job.stage, files.result, ended, files.stderr), ended


def _write(job: Job | BuildJob | DescribeJob, files: JobFiles, value: dict[str, Any]) -> None:
    try:
        files.write(value)
    except OSError as error:
        raise _not_started(job, error) from error


def _not_started(job: Job | BuildJob | DescribeJob, error: OSError) -> TrialFailure:
    return TrialFailure(job.stage, f"the worker cannot be started: {error}", transient=True)


def _result(stage: str, file: Path, ended: Ended, stderr: Path) -> dict[str, Any]:
    """What a worker has written; raises for a failure, and where it wrote nothing."""
    if not file.exists():
        raise failure(stage, ended, stderr)
    value: dict[str, Any] = json.loads(file.read_text())
    if "failure" in value:
        told = value["failure"]
        if told["kind"] == "input":
            raise InputError(told["reason"])
        raise TrialFailure(told["stage"], told["reason"], transient=bool(told["transient"]))
    result: dict[str, Any] = value["result"]
    return result


def _built(result: dict[str, Any], ended: Ended) -> BuildResult:
    built = BuildResult.from_dict(result)
    peak = max(built.peak_memory_bytes, ended.peak_memory_bytes)
    return replace(built, worker_s=ended.worker_s, peak_memory_bytes=peak)
