"""The worker process: `python -m autosinian.measure.worker JOB.json RESULT.json`.

numpy, one engine and LoadGen; torch only where the engine is torch's. It reads one job, does it
once, writes one result and ends; a spare one (`--spare`) is told its job on stdin. A job may be to
build an engine file and then to run it. LoadGen keeps state for the life of a process, so no
process measures twice.
"""

import contextlib
import ctypes
import importlib
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from autosinian.content import write_json
from autosinian.engine.protocol import RehearsingEngine
from autosinian.engine.registry import get_engine
from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.measure.job_files import OPENED, READY, JobFiles
from autosinian.measure.measurement import BuildJob, BuildResult, DescribeJob, Job
from autosinian.space.candidate import EngineConfig

Opened = Callable[[], None]

_PR_SET_PDEATHSIG = 1
# A spare that gets ready holds off measurements, so not for ever.
_READY_S = 120


def main(arguments: list[str]) -> NoReturn:
    """Do the job; the exit status is 0 where a result (also a failure) was written."""
    opened: Opened = _nothing
    if arguments[0] == "--spare":
        die_with_parent(int(arguments[1]))
        job_file, result_file, opened = _wait_for_job(arguments[2], arguments[3], arguments[4:])
    else:
        job_file, result_file = Path(arguments[0]), Path(arguments[1])
        if len(arguments) > 2:
            die_with_parent(int(arguments[2]))
    told = json.loads(job_file.read_text())
    if told.get("build_first") is not None:
        _build_first(BuildJob.from_dict(told["build_first"]))
    job = read_job(told)
    if told.get("rehearse") is not None:
        assert isinstance(job, Job)
        _rehearse(BuildJob.from_dict(told["rehearse"]), job)
    try:
        if isinstance(job, BuildJob):
            value = asdict(_build(job))
        elif isinstance(job, DescribeJob):
            value = _describe(job)
        else:
            from autosinian.measure.loadgen_run import run_job

            value = run_job(
                job, lambda error: _end_failed(result_file, job, error), opened
            ).to_dict()
    except BaseException as error:  # noqa: BLE001  (written down as the job's result)
        _end_failed(result_file, job, error)
    _write(result_file, value, tells_memory=not isinstance(job, DescribeJob))
    _end(0)


def read_job(value: dict[str, Any]) -> Job | BuildJob | DescribeJob:
    """The job in a job file: `{"kind": "build" | "describe" | "run", "job": {...}}`.

    A run may have `build_first` beside it, the job of building its engine file in this process, or
    `rehearse`, the same job in another process meanwhile.
    """
    if value["kind"] == "build":
        return BuildJob.from_dict(value["job"])
    if value["kind"] == "describe":
        return DescribeJob.from_dict(value["job"])
    return Job.from_dict(value["job"])


def engine_config(engine: dict[str, Any]) -> EngineConfig:
    """A job's `engine` as an `EngineConfig`."""
    return EngineConfig.make(engine["engine"], engine["batch_size"], **engine["options"])


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies, also where it died already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _nothing() -> None:
    """Nobody waits for the engine file to be open."""


def _wait_for_job(held: str, engine: str, modules: list[str]) -> tuple[Path, Path, Opened]:
    """Import `modules`, warm `engine`, let go of the descriptors `held`, then wait for a line on
    stdin: the job's file, the result's, and what is to be called once the engine file is open.

    A byte on stdout says that nothing is left but to wait. Ends where the line never comes. See
    `autosinian.measure.spare`.
    """
    signal.alarm(_READY_S)
    ready = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no sign of being ready
    # What cannot be had is told by the job that needs it.
    for name in ("autosinian.measure.loadgen_run", *modules):
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(name)
    if engine:
        with contextlib.suppress(AutosinianError, ImportError, OSError, RuntimeError):
            get_engine(engine).warm()
    signal.alarm(0)
    for descriptor in filter(None, held.split(",")):
        os.close(int(descriptor))
    with contextlib.suppress(BrokenPipeError):  # a job may be there already
        os.write(ready, READY)
    given = json.loads(_line_or_end())
    stderr = os.open(given["stderr"], os.O_WRONLY | os.O_APPEND)
    os.dup2(stderr, 1)
    os.dup2(stderr, 2)

    def hold() -> None:
        signal.alarm(0)
        os.write(ready, OPENED)
        _line_or_end()
        _let_go(ready)

    if given["hold"]:
        # Nobody watches meanwhile, and measurements are held off.
        signal.alarm(_READY_S)
        return Path(given["job"]), Path(given["result"]), hold
    _let_go(ready)
    return Path(given["job"]), Path(given["result"]), _nothing


def _line_or_end() -> str:
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        _end(0)
    return line


def _let_go(ready: int) -> None:
    os.close(ready)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _peak_memory_bytes() -> int:
    """Most resident memory of this process; 0 where the kernel does not tell."""
    # Not `getrusage`: its maximum is inherited, so that it tells of a larger parent instead.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _build_first(job: BuildJob) -> None:
    """Build, and write that as the result of its own that it is; ends where it fails."""
    result_file = JobFiles(Path(job.output_folder), "build").result
    try:
        value = asdict(_build(job))
    except BaseException as error:  # noqa: BLE001  (written down as the job's result)
        _end_failed(result_file, job, error)
    _write(result_file, value, tells_memory=True)


def _rehearse(build: BuildJob, job: Job) -> None:
    """Load what the job will need, as far as the engine can, until its engine file is there."""
    config = engine_config(job.engine)
    engine = get_engine(config.engine)
    if isinstance(engine, RehearsingEngine):
        # What fails here fails again where it is told.
        with contextlib.suppress(AutosinianError, ImportError, OSError, RuntimeError, ValueError):
            engine.rehearse(Path(build.model), build.precision, config)
    signal.alarm(0)  # a build may take its time
    _line_or_end()
    signal.alarm(_READY_S)


def _build(job: BuildJob) -> BuildResult:
    start = time.perf_counter()
    config = engine_config(job.engine)
    get_engine(config.engine).build(Path(job.model), job.precision, config, Path(job.engine_file))
    return BuildResult(job.engine_file, time.perf_counter() - start)


def _describe(job: DescribeJob) -> dict[str, Any]:
    from importlib.metadata import version

    # Needed by every run: what is missing is told before a trial meets it.
    import mlperf_loadgen  # noqa: F401

    from autosinian.engine.described import describe_engine

    described = describe_engine(get_engine(job.engine))
    described["worker"] = {
        "python": platform.python_version(),
        "mlcommons-loadgen": version("mlcommons-loadgen"),
    }
    return described


def _write(result_file: Path, value: dict[str, Any], *, tells_memory: bool) -> None:
    if tells_memory:
        value["peak_memory_bytes"] = _peak_memory_bytes()
    write_json(result_file, {"result": value, "modules": sorted(sys.modules)})


def _end_failed(
    result_file: Path, job: Job | BuildJob | DescribeJob, error: BaseException
) -> NoReturn:
    """Write the failure and end at once, from whichever thread it came to."""
    failure: dict[str, Any] = {"stage": job.stage, "transient": False}
    if isinstance(error, InputError):
        failure |= {"kind": "input", "reason": str(error)}
    elif isinstance(error, TrialFailure):
        failure |= {"kind": "trial", "reason": error.reason, "transient": error.transient}
        failure["stage"] = error.stage
    else:
        traceback.print_exception(error)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure |= {"kind": "trial", "reason": reason.replace("\n", " ")}
    write_json(result_file, {"failure": failure})
    _end(0)


def _end(code: int) -> NoReturn:
    # Not sys.exit: neither LoadGen's nor an engine's destructors can then turn a written result
    # into a crash, and another thread may still be inside them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
