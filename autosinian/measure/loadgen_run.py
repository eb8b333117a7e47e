"""One run of one engine file, in this process: through LoadGen, or the raw loop without it."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from autosinian.engine.protocol import Session
from autosinian.engine.registry import get_engine
from autosinian.errors import InputError, TrialFailure
from autosinian.measure.answers import Answers, Detections, answers_for
from autosinian.measure.core_waits import CoreWaits
from autosinian.measure.device_feed import DevicesFeed
from autosinian.measure.feed import Feed, open_feed, takes_int8
from autosinian.measure.logs import find_log, read_verdict
from autosinian.measure.measurement import MODES, SCENARIOS, Job, Measurement
from autosinian.measure.native_sut import NativeSut, native_sut
from autosinian.measure.raw_loop import (
    make_ready,
    raw_latency_s,
    raw_loop,
)
from autosinian.measure.samples import Samples
from autosinian.measure.serving import BatchTimes, batches_in_flight
from autosinian.measure.settings import (
    audit_config,
    log_settings,
    test_settings,
)
from autosinian.measure.sut import Abort, OfflineSut, PythonSut, ServerSut, StreamSut, Sut
from autosinian.measure.warm_up import WARMUP_S, warm_up
from autosinian.native.loadgen import load
from autosinian.space.candidate import EngineConfig

mlperf_loadgen = load()

# The others answer one query after another, so that a second device would only wait.
_SERVED_BY_SEVERAL = ("Offline", "Server")
IN_FLIGHT = "batches_in_flight"
"""Where `Measurement.machine` says how many batches of Server were submitted at once."""
_SUT_KEYS = ("deque_timeout_us", "in_flight", "native", "pacing", "warmup_s")


@dataclass(frozen=True)
class _Run:
    job: Job
    session: Session | None
    feed: Feed
    samples: Samples
    answers: Answers
    versions: Callable[[], Mapping[str, str]]
    close: Callable[[], None]
    abort: Abort
    opened: Callable[[], None]


def run_job(job: Job, abort: Abort, opened: Callable[[], None] = lambda: None) -> Measurement:
    """Open the engine file and measure. `abort` ends the process from within a callback.

    `opened` is called once the file is open and the samples are where the engine reads them:
    nothing runs on the device then, and it may return when the device is ours alone.
    """
    _check(job)
    # Before the engine is opened: what is wrong is told soonest.
    settings = None if job.mode == "RawLoop" else test_settings(job)
    several = len(job.devices) > 1 and job.scenario in _SERVED_BY_SEVERAL
    run = (_open_several if several else _open)(job, abort, opened)
    measurement = _raw(run) if settings is None else _loadgen(run, settings)
    # Not after a failure: what hangs would hang here too, and the process ends anyway.
    run.close()
    return measurement


def _open(job: Job, abort: Abort, opened: Callable[[], None]) -> _Run:
    engine = get_engine(job.engine["engine"])
    config = EngineConfig.make(
        job.engine["engine"], job.engine["batch_size"], **job.engine["options"]
    )
    session = engine.open(Path(job.engine_file), config)
    labels = None if job.labels is None or job.task else Path(job.labels)
    samples = Samples(Path(job.inputs), labels, session.input_shape, int8=takes_int8(session))

    def versions() -> dict[str, str]:
        return {**engine.versions(), "device": engine.device()}

    feed = open_feed(session, samples)
    answers = answers_for(job.task)
    return _Run(job, session, feed, samples, answers, versions, session.close, abort, opened)


def _open_several(job: Job, abort: Abort, opened: Callable[[], None]) -> _Run:
    feed = DevicesFeed(job)
    versions = {**feed.versions, "device": feed.device}
    answers = answers_for(job.task)
    return _Run(job, None, feed, feed.samples, answers, lambda: versions, feed.close, abort, opened)


def _check(job: Job) -> None:
    if job.mode not in MODES or job.scenario not in SCENARIOS:
        raise InputError(
            f"mode must be one of {', '.join(MODES)} and scenario one of {', '.join(SCENARIOS)}, "
            f"got {job.mode!r} and {job.scenario!r}"
        )
    if job.mode in ("AccuracyOnly", "SubmissionRun") and job.labels is None:
        raise InputError(f"mode {job.mode} needs labels, but the job has none")
    for name in job.sut:
        if name not in _SUT_KEYS:
            raise InputError(f"sut setting must be one of {', '.join(_SUT_KEYS)}, got {name!r}")


def _versions(run: _Run) -> dict[str, str]:
    return {
        **run.versions(),
        "mlcommons-loadgen": version("mlcommons-loadgen"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _raw(run: _Run) -> Measurement:
    job = run.job
    ready = make_ready(run.session, run.feed, run.samples)
    run.opened()
    seconds = float(job.settings.get("min_duration_ms", 1000)) * 1e-3
    raw_loop(ready, float(job.sut.get("warmup_s", WARMUP_S)))
    latency_ns: dict[str, float] = {}
    waits = CoreWaits()
    if job.scenario in ("SingleStream", "MultiStream"):
        samples = min(8 if job.scenario == "MultiStream" else 1, ready.batch_size)
        middle, calls, took = raw_latency_s(ready, samples, seconds)
        latency_ns["50.00"] = middle * 1e9
        count = calls * samples
        rate = count / took
    else:
        rate, count, took = raw_loop(ready, seconds)
    return Measurement(
        scenario=job.scenario,
        mode=job.mode,
        valid=True,
        samples_per_second=rate,
        latency_ns=latency_ns,
        samples=count,
        loadgen_s=took,
        log_folder=job.output_folder,
        versions=_versions(run),
        machine=waits.machine(),
    )


def _keep_within_samples(run: _Run, settings: Any) -> None:
    """Let LoadGen keep no more samples loaded than there are.

    mlperf.conf asks for 1,024; with fewer samples LoadGen reads beyond its list of them and dies.
    """
    name = "performance_sample_count_override"
    if settings.performance_sample_count_override > run.samples.count:
        if name in run.job.settings:
            raise InputError(
                f"{name} must be at most the number of samples ({run.samples.count}), "
                f"got {run.job.settings[name]}"
            )
        settings.performance_sample_count_override = run.samples.count


def _sut(run: _Run, in_flight: int, pace: BatchTimes | None) -> Sut:
    if run.job.scenario == "Offline":
        return OfflineSut(run.feed, run.answers, run.abort)
    if run.job.scenario == "Server":
        return ServerSut(
            run.feed,
            run.answers,
            run.abort,
            deque_timeout_us=float(run.job.sut.get("deque_timeout_us", 0.0)),
            in_flight=in_flight,
            pace=pace,
        )
    return StreamSut(run.feed, run.answers, run.abort)


def _in_flight(run: _Run, settings: Any, times: BatchTimes | None) -> int:
    """Batches of Server submitted at once: what the job says, else what the latency bound takes
    of full batches."""
    said = int(run.job.sut.get("in_flight", 0))
    if said or times is None:
        return said
    return batches_in_flight(
        run.feed.streams,
        run.feed.depth,
        each_s=times.full,
        bound_s=settings.server_target_latency_ns * 1e-9,
    )


def _native_sut(run: _Run, in_flight: int, pace: BatchTimes | None) -> NativeSut | None:
    """The compiled one where it is there, serves this session, and the job does not decline it."""
    if run.job.task or not run.job.sut.get("native", True):
        return None  # what it answers are labels
    return native_sut(
        mlperf_loadgen,
        run.session,
        run.feed,
        run.abort,
        scenario=run.job.scenario,
        deque_timeout_us=float(run.job.sut.get("deque_timeout_us", 0.0)),
        in_flight=in_flight,
        pace=pace,
    )


def _loadgen(run: _Run, settings: Any) -> Measurement:
    job = run.job
    folder = Path(job.output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    output, audit = log_settings(job), audit_config(job)
    _keep_within_samples(run, settings)
    ready = make_ready(run.session, run.feed, run.samples)
    run.opened()
    times = warm_up(ready, job, settings, streams=run.feed.streams)
    in_flight = _in_flight(run, settings, times)
    pace = times if job.sut.get("pacing", True) else None
    native = _native_sut(run, in_flight, pace)
    sut: NativeSut | PythonSut = native or PythonSut(_sut(run, in_flight, pace))

    def load_samples(indices: list[int]) -> None:
        try:
            run.feed.load(indices)
            sut.refresh()
        except BaseException as failure:  # noqa: BLE001  (ends the process, told)
            run.abort(failure)

    library = mlperf_loadgen.ConstructQSL(
        *(run.samples.count, run.samples.performance_count, load_samples),
        lambda _: run.samples.release(),
    )
    waits, start = CoreWaits(), time.perf_counter()
    mlperf_loadgen.StartTestWithLogSettings(sut.handle, library, settings, output, audit)
    took, machine = time.perf_counter() - start, dict[str, Any](waits.machine())
    if job.scenario == "Server":
        machine[IN_FLIGHT] = in_flight
    sut.close()
    mlperf_loadgen.DestroyQSL(library)
    return replace(_result(run, took, "c++" if native else "python"), machine=machine)


def _made_by(run: _Run) -> dict[str, str]:
    """What makes a detector's answers; nothing for others."""
    answers = run.answers
    return {"detections": answers.made_by} if isinstance(answers, Detections) else {}


def _result(run: _Run, took: float, sut: str) -> Measurement:
    job = run.job
    folder = Path(job.output_folder)
    detail, answers = find_log(folder, "detail"), find_log(folder, "accuracy")
    if detail is None or answers is None:
        raise TrialFailure(job.stage, f"LoadGen left no logs in {folder}")
    verdict = read_verdict(detail, job.scenario)
    accuracy, count = None, verdict.samples
    if job.mode != "PerformanceOnly":
        assert job.labels is not None
        try:
            accuracy, count = run.answers.score(answers, Path(job.labels), run.samples.count)
        except ValueError as error:
            raise TrialFailure(job.stage, f"accuracy cannot be scored: {error}") from error
    timed = job.mode != "AccuracyOnly"
    return Measurement(
        scenario=job.scenario,
        mode=job.mode,
        valid=verdict.valid if timed else not verdict.errors,
        invalid_reason=verdict.invalid_reason if timed else "; ".join(verdict.errors),
        samples_per_second=verdict.samples_per_second if timed else None,
        latency_ns=verdict.latency_ns if timed else {},
        early_stopping_latency_ns=verdict.early_stopping_latency_ns if timed else None,
        target_qps=verdict.target_qps if timed else None,
        accuracy=accuracy,
        samples=count,
        loadgen_s=took,
        log_folder=job.output_folder,
        versions={**_versions(run), "sut": sut, **_made_by(run)},
    )
