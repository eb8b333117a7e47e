"""LoadGen runs of a bundle at a round's settings: full length, or short to try."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.content import file_sha256, write_json
from autosinian.data.arrays import Arrays
from autosinian.engine.protocol import Engine
from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.evaluate.quiet import alone, working
from autosinian.export.validation import validation_arrays
from autosinian.measure.measurement import SCENARIOS, Job, Measurement
from autosinian.measure.repeat import run_undisturbed
from autosinian.measure.workers import WorkerChoice, Workers
from autosinian.mlperf.engines import BuildLimits, engine_file
from autosinian.mlperf.rules import MIN_DURATION_MS, Round
from autosinian.mlperf.run_measure import memory_for
from autosinian.mlperf.source import Source, open_source
from autosinian.mlperf.submission_logs import ACCURACY, DETAIL, SUMMARY, RunLog, read_run

Tell = Callable[[str], None]

_HEADROOM = 1.2
_SERVER_STEP = 0.95
_ATTEMPTS = 3
_ACCURACY_S = 4 * 3600.0
SERVED = "served.json"
"""Beside the logs of a run: which engine file gave them."""

_KEPT = (DETAIL, SUMMARY, ACCURACY)
_LENGTHS = ("min_duration_ms", "max_duration_ms", "min_query_count", "max_query_count")


@dataclass(frozen=True)
class Served:
    """A bundle ready to run: its engine file, its validation samples and where workers run.

    `seconds` is None for runs of the official length.
    """

    source: Source
    engine: Engine
    workers: Workers
    engine_file: Path
    arrays: Arrays
    round: Round
    seconds: float | None

    def labels(self) -> NDArray[np.int64]:
        """The validation samples' labels, `N`."""
        assert self.arrays.labels is not None
        found: NDArray[np.int64] = np.load(self.arrays.labels, allow_pickle=False)
        return found

    def performance(
        self,
        scenario: str,
        folder: Path,
        tell: Tell,
        *,
        audit: str = "",
        seeds: Mapping[str, int] | None = None,
        like: RunLog | None = None,
    ) -> RunLog:
        """A PerformanceOnly run with its device to itself; `audit` is an audit.config's path.

        `seeds` replace those of the round. `like` is a run whose rate is asked for again.

        An INVALID run is repeated: Offline for the rate that it reached, Server at a lower one.
        Raises `AutosinianError` where it stays INVALID or cannot run.
        """
        job = self._job(scenario, "PerformanceOnly", folder, audit)
        rate = {} if like is None else _rate_of(like)
        job = replace(job, settings={**job.settings, **rate, **(seeds or {})})
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                tell(f"{scenario}: again, since LoadGen says INVALID ({reason})")
            measured = self._measure(job, working_alone=True)
            if measured.valid:
                return _read(folder)
            reason = measured.invalid_reason or "no reason given"
            job = _for_reached(job, measured)
        raise AutosinianError(
            f"a {scenario} run must be VALID, but LoadGen says INVALID {_ATTEMPTS} times: {reason}"
        )

    def accuracy(self, scenario: str, folder: Path) -> RunLog:
        """An AccuracyOnly run. Raises `AutosinianError` where it cannot run."""
        job = self._job(scenario, "AccuracyOnly", folder, "")
        measured = self._measure(job, working_alone=False)
        if measured.accuracy is None or not measured.valid:
            reason = measured.invalid_reason or "LoadGen gave no accuracy"
            raise AutosinianError(f"the {scenario} accuracy run must succeed, but {reason}")
        return _read(folder)

    def identify(self, folder: Path) -> None:
        """Write in `folder` which engine file the runs below it are of."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SERVED, {"engine_file_sha256": file_sha256(self.engine_file)})

    def _measure(self, job: Job, *, working_alone: bool) -> Measurement:
        result = self.source.bundle.result if self.source.bundle else {}
        limit = float(result.get("limits", {}).get("time_s", 0.0))
        limit += _ACCURACY_S if self.seconds is None else 20 * self.seconds

        def run() -> Measurement:
            return self.workers.run(
                job, time_limit_s=limit, memory_limit_bytes=memory_for(self.source, job)
            )

        hold = alone if working_alone else working
        try:
            with hold(job.devices):
                measured = run_undisturbed(run) if working_alone else run()
        except TrialFailure as failure:
            raise AutosinianError(
                f"the {job.scenario} run must end well, but {failure.reason}"
            ) from failure
        _keep_logs(Path(job.output_folder))
        return measured

    def _job(self, scenario: str, mode: str, folder: Path, audit: str) -> Job:
        assert self.source.bundle is not None
        jobs = self.source.bundle.result["jobs"]
        recorded = jobs.get(scenario) or next(iter(jobs.values()))
        settings = dict(recorded["settings"]) if scenario in jobs else {}
        if self.seconds is None:
            # The lengths of a search are not those of a submission: LoadGen's own are.
            settings = {k: v for k, v in settings.items() if k not in _LENGTHS}
        else:
            settings["min_duration_ms"] = max(1, round(1000 * self.seconds))
            if scenario == "Offline":
                settings["min_query_count"] = 1
        known = self.source.measured.get(scenario, {})
        if scenario == "Offline" and known.get("samples_per_second"):
            settings["offline_expected_qps"] = _HEADROOM * float(known["samples_per_second"])
        if scenario == "Server" and "server_target_qps" not in settings:
            settings["server_target_qps"] = _server_qps(self.source)
        engine = self.source.engine
        return Job(
            engine={"engine": engine.engine, "batch_size": engine.batch_size}
            | {"options": dict(engine.options)},
            engine_file=str(self.engine_file.resolve()),
            inputs=str(self.arrays.inputs),
            labels=str(self.arrays.labels),
            scenario=scenario,
            mode=mode,
            output_folder=str(folder.resolve()),
            settings={**settings, **self.round.seeds},
            log_settings=recorded["log_settings"],
            sut=recorded["sut"],
            benchmark=recorded["benchmark"],
            devices=self.workers.devices,
            audit_conf=audit,
        )


def open_served(
    folder: Path,
    round_: Round,
    scratch: Path,
    choice: WorkerChoice,
    tell: Tell,
    *,
    data: Path | None = None,
    seconds: float | None = None,
) -> Served:
    """Open a bundle to run it; `seconds` makes its runs short, which no round accepts.

    Raises `InputError` for what is no bundle, one that was changed, and for other samples.
    """
    if seconds is not None and not 0 < seconds < MIN_DURATION_MS / 1000:
        raise InputError(
            f"the length of a short run must be above 0 and below 600 s, but got {seconds:g}"
        )
    tell(f"checking the files of `{folder}`")
    source = open_source(folder)
    if source.bundle is None:
        raise InputError(
            f"`{folder}` must be a bundle made by `autosinian export-best`, but is a net.config of "
            "the older form, without an exported ONNX"
        )
    if source.task:
        raise InputError(
            f"`{folder}` must be a classifier's bundle, but is a detector's: MLPerf inference has "
            "no round with SSD-ResNet34 any more; `autosinian run` runs it"
        )
    engine, workers = choice.open(source.engine.engine, count=source.devices)
    built = engine_file(
        source,
        source.bundle.model,
        source.precision,
        source.engine,
        engine,
        workers,
        scratch / "engines",
        BuildLimits(3600.0, source.memory_bytes),
        tell=tell,
    )
    tell("preparing the validation samples")
    arrays = validation_arrays(source.data, data, scratch / "arrays")
    return Served(source, engine, workers, built.path, arrays, round_, seconds)


def check_scenarios(names: list[str], source: Source) -> tuple[str, ...]:
    """The scenarios to run: those named, or all that the bundle was measured in."""
    for name in names:
        if name not in SCENARIOS:
            raise InputError(f"a scenario must be one of {', '.join(SCENARIOS)}, got `{name}`")
    chosen = tuple(dict.fromkeys(names)) or tuple(source.measured)
    if "Server" in chosen and not _server_qps(source):
        raise InputError(
            f"`{source.folder}` must have been measured in Server, but was not; search with that "
            "scenario, or leave it out with `--scenario`"
        )
    return chosen


def _server_qps(source: Source) -> float:
    """The rate that held, in queries/s; 0 where none was measured."""
    known = source.measured.get("Server", {})
    return float(known.get("target_qps") or known.get("samples_per_second") or 0.0)


def _rate_of(run: RunLog) -> dict[str, float]:
    """The setting that makes another run ask for as much as `run` did."""
    if run.scenario == "Server":
        return {"server_target_qps": float(run.values["effective_target_qps"])}
    if run.scenario == "Offline" and run.score:
        return {"offline_expected_qps": _HEADROOM * run.score}
    return {}


def _for_reached(job: Job, measured: Measurement) -> Job:
    settings = dict(job.settings)
    if job.scenario == "Offline" and measured.samples_per_second:
        settings["offline_expected_qps"] = _HEADROOM * measured.samples_per_second
    if job.scenario == "Server":
        settings["server_target_qps"] = _SERVER_STEP * float(settings["server_target_qps"])
    return replace(job, settings=settings)


def _keep_logs(folder: Path) -> None:
    """Remove what the worker leaves beside LoadGen's logs: it holds paths of this machine."""
    for path in folder.iterdir():
        if path.name not in _KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read(folder: Path) -> RunLog:
    run = read_run(folder)
    if run is None:
        raise AutosinianError(f"LoadGen must leave its logs in `{folder}`, but left none")
    return run
