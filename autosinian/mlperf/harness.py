"""Runs of a source through LoadGen as a submitter runs them: official length unless told shorter.

What sets a LoadGen field, weakest first: LoadGen's own mlperf.conf, `mlperf_conf`, `user_conf` or
the config file, `fast`, then the fields by name.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from autosinian.content import write_json
from autosinian.data.arrays import Arrays
from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.evaluate.quiet import alone, working
from autosinian.export.runs import Limits
from autosinian.measure.measurement import Job
from autosinian.mlperf.engines import BuildLimits, Built, engine_file
from autosinian.mlperf.figures import read_summary
from autosinian.mlperf.networks import network
from autosinian.mlperf.places import arrays_folder, models_folder, writing_below
from autosinian.mlperf.request import Request, Serving, Tell, settle
from autosinian.mlperf.run_measure import EXPECTED, measure, memory_for
from autosinian.mlperf.run_report import PEAK, Report
from autosinian.mlperf.samples import same_as_exported, validation_samples
from autosinian.mlperf.source import Source

TEST_MODES = ("SubmissionRun", "PerformanceOnly", "AccuracyOnly", PEAK)
FAST_MS = 60_000
_BUILD_BYTES = 16 << 30
RESULT = "result.json"
_OVERRIDE = "performance_sample_count_override"


@dataclass(frozen=True)
class RunRequest:
    """One run. `fast` is a minute, in Offline from one query of any length on.

    `settings` and `log_settings` are LoadGen's fields by name, `audit_conf` the audit.config that
    LoadGen reads. `time_limit_s` and `memory_limit_bytes` hold for a worker; None is what the
    export allowed, at least 4 GiB, and what the queries of the run take.
    """

    serve: Request
    mode: str = "SubmissionRun"
    fast: bool = False
    settings: dict[str, int | float | bool] = field(default_factory=dict)
    log_settings: dict[str, int | float | bool | str] = field(default_factory=dict)
    mlperf_conf: Path | None = None
    user_conf: Path | None = None
    audit_conf: Path | None = None
    time_limit_s: float = 4 * 3600.0
    memory_limit_bytes: int | None = None


def run(source: Source, request: RunRequest, tell: Tell) -> list[Report]:
    """Run once for each config version asked for; logs lie in
    `<build>/logs/<time>/<system>/<benchmark>/<scenario>`.

    Raises `InputError` for what cannot be run as asked, `AutosinianError` where a worker failed.
    """
    _check(request)
    with writing_below(request.serve.build):
        return _run_all(source, request, tell)


def _run_all(source: Source, request: RunRequest, tell: Tell) -> list[Report]:
    servings = settle(source, request.serve, tell)
    arrays = [_samples(source, request.serve, serving, tell) for serving in servings]
    engines = [build_for(source, request.serve, serving, tell) for serving in servings]
    jobs = [
        _job(source, request, serving, samples, engine, tell)
        for serving, samples, engine in zip(servings, arrays, engines, strict=True)
    ]
    root = _new_folder(request.serve.build / "logs")
    return [
        _run(source, request, serving, samples, engine, job, root, tell)
        for serving, samples, engine, job in zip(servings, arrays, engines, jobs, strict=True)
    ]


def build_for(source: Source, request: Request, serving: Serving, tell: Tell) -> Built:
    """The engine file for a settled serving, from the cache below `<build>/engines`."""
    with writing_below(request.build):
        model = network(
            source, serving.precision, request.calibrator_cache, models_folder(request.build)
        )
        return engine_file(
            source,
            model,
            serving.precision,
            serving.config,
            serving.engine,
            serving.workers,
            request.build / "engines" / serving.system / source.benchmark,
            BuildLimits(3600.0, max(_BUILD_BYTES, source.memory_bytes)),
            force=request.force_build,
            tell=tell,
        )


def _samples(source: Source, request: Request, serving: Serving, tell: Tell) -> Arrays:
    if source.samples is not None:
        return source.samples
    arrays = validation_samples(
        source, arrays_folder(request.build), data=request.data, val_map=serving.val_map
    )
    if source.bundle is not None and not same_as_exported(source, arrays):
        tell(f"note: the {arrays.samples} validation samples are not those of the export")
    return arrays


def _check(request: RunRequest) -> None:
    if request.time_limit_s <= 0 or (request.memory_limit_bytes or 1) <= 0:
        raise InputError(
            "`--time-limit` and `--memory-limit` must be above 0, but got "
            f"{request.time_limit_s:g} s and {request.memory_limit_bytes} bytes"
        )
    if request.mode not in TEST_MODES:
        raise InputError(
            f"`--test-mode` must be one of {', '.join(TEST_MODES)}, but got `{request.mode}`"
        )
    if request.mode == PEAK and request.serve.scenario != "Server":
        raise InputError(
            f"{PEAK} is for Server alone, as in LoadGen, but the scenario is "
            f"{request.serve.scenario}: any PerformanceOnly run measures its peak"
        )


def _settings(
    source: Source, request: RunRequest, serving: Serving, arrays: Arrays, tell: Tell
) -> dict[str, int | float | bool]:
    """LoadGen's fields as everything but its files set them."""
    settings: dict[str, int | float | bool] = {}
    server = serving.scenario == "Server" and request.user_conf is None
    if request.user_conf is None:
        settings |= serving.settings
    elif serving.settings:
        tell("note: LoadGen settings of the config file are left to `--user-conf-path`")
    if settings.get(_OVERRIDE, 0) > arrays.samples:
        tell(f"note: performance_sample_count is {arrays.samples}, as there are no more samples")
        settings[_OVERRIDE] = arrays.samples
    measured = source.measured.get("Server", {}).get("target_qps")
    if server and measured:
        settings.setdefault("server_target_qps", measured)
    if request.fast:
        settings["min_duration_ms"] = FAST_MS
        if serving.scenario == "Offline":
            settings["min_query_count"] = 1
    settings |= request.settings
    if server and request.mode != PEAK and "server_target_qps" not in settings:
        raise InputError(
            "Server needs a rate: give `--lgts-server_target_qps`, or `server_target_qps` in "
            f"config.json, or find it with `--test-mode {PEAK}`"
        )
    return settings


def _job(
    source: Source,
    request: RunRequest,
    serving: Serving,
    arrays: Arrays,
    engine: Built,
    tell: Tell,
) -> Job:
    return Job(
        engine={
            "engine": serving.config.engine,
            "batch_size": serving.config.batch_size,
            "options": dict(serving.config.options),
        },
        engine_file=str(engine.path.absolute()),
        inputs=str(arrays.inputs.absolute()),
        labels=None if arrays.labels is None else str(arrays.labels.absolute()),
        scenario=serving.scenario,
        mode="PerformanceOnly" if request.mode == PEAK else request.mode,
        output_folder="",
        settings=_settings(source, request, serving, arrays, tell),
        log_settings=request.log_settings,
        sut=serving.sut,
        mlperf_conf=_absolute(request.mlperf_conf),
        user_conf=_absolute(request.user_conf),
        audit_conf=_absolute(request.audit_conf),
        benchmark=source.benchmark,
        devices=serving.workers.devices,
        task=source.task,
    )


def _run(
    source: Source,
    request: RunRequest,
    serving: Serving,
    arrays: Arrays,
    engine: Built,
    job: Job,
    root: Path,
    tell: Tell,
) -> Report:
    folder = root / serving.name / source.benchmark / serving.scenario
    job = replace(job, output_folder=str(folder.absolute()))
    held = working if request.mode == "AccuracyOnly" else alone
    by_name = EXPECTED in request.settings or request.user_conf is not None
    tell(f"{serving.scenario} {request.mode} on {serving.name}, logs in `{folder}`")
    try:
        with held(serving.workers.devices):
            memory = request.memory_limit_bytes or memory_for(source, job)
            limits = Limits(request.time_limit_s, memory)
            measured = measure(job, serving, request.mode, limits, tell, adjust=not by_name)
    except TrialFailure as failure:
        raise AutosinianError(
            f"the {serving.scenario} run must end, but {failure.reason}; the worker's own words "
            f"are in `{folder}`"
        ) from failure
    if measured.disturbance:
        tell(f"note: the run was disturbed: {measured.disturbance}")
    report = Report(
        source=source,
        serving=serving,
        mode=request.mode,
        engine=engine,
        measurement=measured,
        summary=read_summary(Path(measured.log_folder)),
        logs=folder,
        samples=arrays.samples,
        as_exported=same_as_exported(source, arrays),
    )
    for line in report.summary.advice:
        tell(f"LoadGen: {line}")
    write_json(folder / RESULT, report.to_dict())
    return report


def _new_folder(root: Path) -> Path:
    """A folder named by the time, as `2026.11.23-04.05.06`; of two in a second one waits."""
    while True:
        folder = root / time.strftime("%Y.%m.%d-%H.%M.%S")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            time.sleep(0.2)
        else:
            return folder


def _absolute(path: Path | None) -> str:
    if path is None:
        return ""
    if not path.is_file():
        raise InputError(f"`{path}` must be a file, but there is none")
    return str(path.absolute())
