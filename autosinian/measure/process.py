"""The parent's side of a worker process: start it, watch time and memory, read its result."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from autosinian.content import write_json
from autosinian.engine.gpu import cuda_environment
from autosinian.errors import InputError, TrialFailure
from autosinian.measure.gpu_watch import GpuWatch
from autosinian.measure.machine import processor_state
from autosinian.measure.measurement import (
    BuildJob,
    BuildResult,
    DescribeJob,
    Job,
    Measurement,
)
from autosinian.measure.spare import Spares

Started = Callable[[], None]

# Often enough to stop a leak, seldom enough not to disturb a measurement on few cores.
_LOOK_EVERY_S = 0.2
_SECOND_ESTIMATE = 1.3


@dataclass(frozen=True)
class _Ended:
    """How a worker ended: exit code (negative: signal), why we killed it, and what it used."""

    code: int
    killed: str
    worker_s: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class _Start:
    """How a worker gets its job: `started` is called once it has it."""

    python: Sequence[str] | None
    spares: Spares | None = None
    started: Started = lambda: None

    def worker(
        self, devices: Sequence[int], job_file: Path, result_file: Path, stderr_file: Path
    ) -> subprocess.Popen[bytes]:
        """A spare process where one fits, else a new one."""
        with stderr_file.open("wb") as stderr:
            if self.spares is not None:
                spare = self.spares.take(
                    self.python,
                    devices,
                    job_file=job_file,
                    result_file=result_file,
                    stderr_file=stderr_file,
                )
                if spare is not None:
                    return spare
            command = [
                *(self.python or [sys.executable]),
                *("-m", "autosinian.measure.worker"),
                *(str(job_file), str(result_file), str(os.getpid())),
            ]
            return subprocess.Popen(
                command,
                env={**os.environ, **cuda_environment(devices)} if devices else None,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )


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
    start = _Start(python, spares, started)
    measurement = _run_once(job, time_limit_s, memory_limit_bytes, start)
    again = _with_more_queries(job, measurement)
    if again is None:
        return measurement
    second = _run_once(again, time_limit_s, memory_limit_bytes, start)
    return replace(
        second,
        loadgen_s=measurement.loadgen_s + second.loadgen_s,
        worker_s=measurement.worker_s + second.worker_s,
    )


def _run_once(job: Job, time_limit_s: float, memory_limit_bytes: int, start: _Start) -> Measurement:
    machine, watch = processor_state(), None
    if job.devices:
        watch = GpuWatch(job.devices)
        watch.before()
    result, ended = _work("run", job, time_limit_s, memory_limit_bytes, start, watch)
    measurement = Measurement.from_dict(result)
    return replace(
        measurement,
        worker_s=ended.worker_s,
        peak_memory_bytes=max(measurement.peak_memory_bytes, ended.peak_memory_bytes),
        machine=machine | (watch.summary() if watch else {}),
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
    start = _Start(python, spares, started)
    result, ended = _work("build", job, time_limit_s, memory_limit_bytes, start)
    built = BuildResult.from_dict(result)
    peak = max(built.peak_memory_bytes, ended.peak_memory_bytes)
    return replace(built, worker_s=ended.worker_s, peak_memory_bytes=peak)


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
    return _work("describe", job, time_limit_s, memory_limit_bytes, _Start(python))[0]


def _work(
    kind: str,
    job: Job | BuildJob | DescribeJob,
    time_limit_s: float,
    memory_limit_bytes: int,
    start: _Start,
    watch: GpuWatch | None = None,
) -> tuple[dict[str, Any], _Ended]:
    folder = Path(job.output_folder)
    job_file, result_file = folder / f"{kind}_job.json", folder / f"{kind}_result.json"
    stderr_file = folder / f"{kind}_stderr.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        result_file.unlink(missing_ok=True)
        write_json(job_file, {"kind": kind, "job": job.to_dict()})
        process = start.worker(job.devices, job_file, result_file, stderr_file)
        ended = _watch(process, start.started, time_limit_s, memory_limit_bytes, watch)
    except OSError as error:
        raise TrialFailure(
            job.stage, f"the worker cannot be started: {error}", transient=True
        ) from error
    if not result_file.exists():
        raise _failure(job.stage, ended, stderr_file)
    value: dict[str, Any] = json.loads(result_file.read_text())
    if "failure" in value:
        failure = value["failure"]
        if failure["kind"] == "input":
            raise InputError(failure["reason"])
        raise TrialFailure(
            failure["stage"], failure["reason"], transient=bool(failure["transient"])
        )
    result: dict[str, Any] = value["result"]
    return result, ended


def _watch(
    process: subprocess.Popen[bytes],
    started: Started,
    time_limit_s: float,
    memory_limit_bytes: int,
    gpus: GpuWatch | None,
) -> _Ended:
    start = time.monotonic()
    handle = os.pidfd_open(process.pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    killed, peak = "", 0
    try:
        started()
        watched = psutil.Process(process.pid)
        while True:
            left = time_limit_s - (time.monotonic() - start)
            if poller.poll(1000 * max(0.0, min(_LOOK_EVERY_S, left))):
                break
            if gpus is not None:
                gpus.sample((process.pid, *_children(process.pid)))
            used = _resident(watched)
            peak = max(peak, used)
            if used > memory_limit_bytes:
                killed = (
                    f"used {_mib(used)} of memory, more than the limit {_mib(memory_limit_bytes)}"
                )
                break
            if time.monotonic() - start >= time_limit_s:
                killed = f"took longer than the limit of {time_limit_s:g} s"
                break
    finally:
        os.close(handle)
        # The whole session, also after the worker's own end: it may have left children.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return _Ended(code, killed, time.monotonic() - start, peak)


def _resident(process: psutil.Process) -> int:
    """Resident bytes of a process and its children."""
    total = 0
    try:
        total = process.memory_info().rss
        for child in _children(process.pid):
            total += psutil.Process(child).memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _children(process: int) -> list[int]:
    """Ids of all descendants; from the kernel's list, as psutil reads every process there is."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_children(int(child))]
    except OSError:
        pass
    return found


def _failure(stage: str, ended: _Ended, stderr_file: Path) -> TrialFailure:
    if ended.killed:
        return TrialFailure(stage, f"the worker {ended.killed} and was killed")
    lines = stderr_file.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        outside = ended.code in (-signal.SIGKILL, -signal.SIGTERM)
        how = f"was killed by {name} from outside" if outside else f"crashed with {name}"
        return TrialFailure(stage, f"the worker {how}; last line: {last}", transient=outside)
    return TrialFailure(stage, f"the worker ended with exit code {ended.code}; last line: {last}")


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
