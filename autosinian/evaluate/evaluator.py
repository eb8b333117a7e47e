"""The stages of one trial: cost, network, engine, accuracy, performance; cheapest first."""

import errno
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from autosinian.content import content_key, file_sha256
from autosinian.data import Role
from autosinian.data.arrays import Arrays
from autosinian.engine.processor import usable_cores
from autosinian.engine.protocol import Engine
from autosinian.errors import AutosinianError, InputError, TrialFailure, Unavailable
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.evaluation import (
    Decide,
    Evaluation,
    Known,
    check_figures,
    scenario_metrics,
)
from autosinian.evaluate.networks import Networks
from autosinian.evaluate.quiet import alone, keep_working, working
from autosinian.measure import BuildJob, Job, Measurement
from autosinian.measure.repeat import run_undisturbed
from autosinian.measure.workers import Workers
from autosinian.space.candidate import Candidate, EngineConfig
from autosinian.space.document import MeasurementSpec
from autosinian.space.rules import SCENARIOS
from autosinian.store import Store

OnStage = Callable[[str], None]
Refuse = Callable[[Mapping[str, float]], bool]

# Several processes that import at once take longer each where cores are few.
_CORES_A_SPARE = 4
_SERVER_RUNS = 3
LEAST_FOR_A_PART = 4_000
"""Samples from which on a part of them is asked about first; starting a worker takes a second."""
PARTS = 8


class Evaluator:
    """Measures candidates of one study; everything it makes lies below `folder`.

    Accuracy and performance come from the same engine file through the same session code. What
    is known by content key is not made or measured again.
    """

    def __init__(
        self,
        networks: Networks,
        arrays: ArrayCache,
        engine: Engine,
        workers: Workers,
        spec: MeasurementSpec,
        scenarios: tuple[str, ...],
        store: Store,
        folder: Path,
    ) -> None:
        self.networks = networks
        self.arrays = arrays
        self.engine = engine
        self.workers = workers
        self.spec = spec
        self.scenarios = scenarios
        self.folder = folder
        self._store = store
        self._versions = dict(engine.versions())
        self._server_share: float | None = None

    def evaluate(
        self,
        candidate: Candidate,
        run_name: str,
        *,
        refuse: Refuse = lambda metrics: False,
        on_stage: OnStage = lambda stage: None,
        decide: Decide = lambda known: "",
    ) -> Evaluation:
        """Run the stages until `refuse`, asked after each, says that the figures cannot win, or
        `decide` that the next is not worth its time.

        Where there are many samples, accuracy on a part of them is asked about first. Logs go to
        `runs/<run_name>`. Raises `TrialFailure` naming the stage that failed.
        """
        stages = _Stages(on_stage)
        # Workers that are left from a trial that needed fewer are enough for one that needs few.
        self._prepare(build=True, accuracy=True, least=1)
        with stages.run("extract"):
            costs = self.networks.cost(candidate.subnet)
        metrics: dict[str, float] = {"macs": costs.macs, "parameters": costs.parameters}
        if refuse(metrics):
            return Evaluation(metrics, complete=False, stage_s=stages.seconds)
        with stages.run("quantize"):
            self.networks.write_config(candidate.subnet, self.folder / "runs" / run_name)
            model = self.networks.model(candidate)
        with stages.run("build", waiting=working(self.workers.devices)):
            engine_file = self.build(candidate, model)
        files = {"model": self._below(model), "engine": self._below(engine_file)}
        data_keys = self.networks.data_keys(candidate)
        data_keys["search"] = self.arrays.get("search", candidate.subnet.resolution).key
        part_s = 0.0
        if self._part_saves_time(candidate):
            with stages.run("accuracy of a part", waiting=working(self.workers.devices)):
                (value, deviation), part_s = self._part_accuracy(candidate, engine_file, run_name)
            stopped = decide({"accuracy": (value, deviation)})
            if stopped:
                return Evaluation(
                    metrics | {"accuracy": value},
                    complete=False,
                    stage_s=stages.seconds,
                    files=files,
                    data_keys=data_keys,
                    overhead_s=stages.total - part_s,
                    stopped=stopped,
                )
        with stages.run("accuracy", waiting=working(self.workers.devices)):
            metrics["accuracy"], inference_s = self.accuracy(
                candidate, engine_file, "search", f"{run_name}-accuracy"
            )
            check_figures(metrics, "accuracy")
        inference_s += part_s
        evaluation = Evaluation(
            metrics,
            complete=False,
            stage_s=stages.seconds,
            files=files,
            data_keys=data_keys,
            overhead_s=stages.total - inference_s,
        )
        if refuse(metrics):
            return evaluation
        stopped = decide({"accuracy": (metrics["accuracy"], 0.0)})
        if stopped:
            return replace(evaluation, stopped=stopped)
        measurements = []
        measured_s = inference_s
        for scenario in sorted(self.scenarios, key=SCENARIOS.index):
            with stages.run(
                f"performance {scenario}",
                first=self.workers.settle,
                waiting=alone(self.workers.devices),
            ):
                measured = self.performance(
                    candidate,
                    engine_file,
                    scenario,
                    run_name,
                    offline=metrics.get("Offline.samples_per_second"),
                )
            measurements.append(measured)
            found = scenario_metrics(measured)
            check_figures(found, "performance")
            metrics |= found
            measured_s += measured.loadgen_s
        return replace(
            evaluation,
            complete=True,
            measurements=tuple(measurements),
            overhead_s=stages.total - measured_s,
        )

    def build(self, candidate: Candidate, model: Path) -> Path:
        """The engine file of a candidate; an existing one of the same key is used.

        Candidates that differ only in options without `rebuild` share one file.
        """
        config = replace(candidate, engine=self._build_config(candidate.engine))
        engine = config.to_dict()["engine"]
        key = content_key(
            file_sha256(model), candidate.quantization.precision, engine, self._versions
        )
        path = self.folder / "engines" / f"{key}.engine"
        if not path.exists():
            job = BuildJob(
                engine=engine,
                model=str(model),
                precision=candidate.quantization.precision,
                engine_file=str(path),
                log_folder=str(self.folder / "runs" / f"build-{key}"),
                devices=self.workers.devices[:1],
            )
            self.workers.build(
                job,
                time_limit_s=self.spec.time_limit_s,
                memory_limit_bytes=self._memory_limit,
                started=lambda: self._prepare(accuracy=True),
            )
        return path

    def _build_config(self, config: EngineConfig) -> EngineConfig:
        """`config` with every option that needs no other engine file at its default."""
        free = {t.name: t.default for t in self.engine.tunables() if not t.rebuild}
        kept = {name: free.get(name, value) for name, value in config.options}
        return EngineConfig.make(config.engine, config.batch_size, **kept)

    def _part_saves_time(self, candidate: Candidate) -> bool:
        if self.networks.task:
            return False  # a detector's mAP is no share of right answers
        whole = self.arrays.get("search", candidate.subnet.resolution)
        known = self._store.recall("accuracy", self._accuracy_key(candidate, whole))
        return known is None and whole.samples >= LEAST_FOR_A_PART

    def _part_accuracy(
        self, candidate: Candidate, engine_file: Path, run_name: str
    ) -> tuple[Known, float]:
        """Top-1 on a part of the samples, its standard deviation, and the seconds it ran."""
        count = self.arrays.get("search", candidate.subnet.resolution).samples // PARTS
        part = self.arrays.part("search", candidate.subnet.resolution, count)
        job = self.job(
            candidate, engine_file, "search", "Offline", "AccuracyOnly", f"{run_name}-part"
        )
        job = replace(job, inputs=str(part.inputs), labels=str(part.labels))
        measured = self._run(job, self._prepare)
        if measured.accuracy is None:
            raise TrialFailure("accuracy", f"LoadGen gave none: {measured.invalid_reason}")
        # Agresti and Coull's adjustment: the deviation is not 0 where all are right.
        share = (measured.accuracy * count + 2) / (count + 4)
        deviation = math.sqrt(share * (1 - share) / (count + 4))
        return (measured.accuracy, deviation), measured.loadgen_s

    def _accuracy_key(self, candidate: Candidate, arrays: Arrays) -> str:
        rounding = {tunable.name for tunable in self.engine.tunables() if tunable.rounds}
        rounded = {name: value for name, value in candidate.engine.options if name in rounding}
        return content_key(
            self.networks.key(candidate),
            candidate.quantization.precision,
            self.engine.name,
            self._versions,
            arrays.key,
            *([rounded] if rounded else []),
        )

    def accuracy(
        self, candidate: Candidate, engine_file: Path, role: Role, run_name: str
    ) -> tuple[float, float]:
        """Top-1 fraction, or COCO mAP, on a role's samples; seconds LoadGen ran (0 where known)."""
        arrays = self.arrays.get(role, candidate.subnet.resolution)
        key = self._accuracy_key(candidate, arrays)
        known = self._store.recall("accuracy", key)
        if known is not None:
            return float(known["accuracy"]), 0.0
        job = self.job(candidate, engine_file, role, "Offline", "AccuracyOnly", run_name)
        measured = self._run(job, self._prepare)
        if measured.accuracy is None:
            raise TrialFailure("accuracy", f"LoadGen gave none: {measured.invalid_reason}")
        self._store.remember("accuracy", key, {"accuracy": measured.accuracy})
        return measured.accuracy, measured.loadgen_s

    def performance(
        self,
        candidate: Candidate,
        engine_file: Path,
        scenario: str,
        run_name: str,
        *,
        offline: float | None = None,
    ) -> Measurement:
        """One performance run; Server's is the best rate within the latency bound.

        `offline` is the engine's own rate in samples/s where it is known: no Server rate exceeds
        it. The bisection starts from the share of it that the last candidate reached.
        """
        job = self.job(candidate, engine_file, "search", scenario, "PerformanceOnly", run_name)
        if scenario != "Server":
            return run_undisturbed(lambda: self._run(job))
        if offline is None:
            offline = self._run(replace(job, mode="RawLoop", scenario="Offline")).samples_per_second
        assert offline is not None
        measured = self.workers.find_server_qps(
            job,
            offline,
            self._server_share * offline if self._server_share else None,
            time_limit_s=self.spec.time_limit_s,
            memory_limit_bytes=self._memory_limit,
        )
        if measured.valid and measured.target_qps:
            self._server_share = min(1.0, measured.target_qps / offline)
        return measured

    def job(
        self,
        candidate: Candidate,
        engine_file: Path,
        role: Role,
        scenario: str,
        mode: str,
        run_name: str,
    ) -> Job:
        """The worker's job for one run with the study's settings."""
        arrays = self.arrays.get(role, candidate.subnet.resolution)
        settings: dict[str, int | float | bool] = {
            "min_duration_ms": round(self.spec.min_duration_s * 1000),
            "min_query_count": 1 if scenario == "Offline" else self.spec.min_queries,
        }
        if scenario == "Server":
            settings["server_target_latency_ns"] = round(self.spec.server_latency_ms * 1e6)
        serving = candidate.serving if scenario == "Server" else ()
        return Job(
            engine=candidate.to_dict()["engine"],
            engine_file=str(engine_file),
            inputs=str(arrays.inputs),
            labels=str(arrays.labels) if arrays.labels else None,
            scenario=scenario,
            mode=mode,
            output_folder=str(self.folder / "runs" / run_name / f"{scenario}-{mode}"),
            settings=settings | self.spec.loadgen,
            sut={name: value for name, value in serving if not isinstance(value, str)},
            devices=self.workers.devices,
            task=self.networks.task,
            benchmark="ssd-resnet34" if self.networks.task else "resnet50",
        )

    def _run(self, job: Job, started: Callable[[], None] = lambda: None) -> Measurement:
        return self.workers.run(
            job,
            time_limit_s=self.spec.time_limit_s,
            memory_limit_bytes=self._memory_limit,
            started=started,
        )

    def _prepare(
        self, *, build: bool = False, accuracy: bool = False, least: int | None = None
    ) -> None:
        """Start the next workers early where the engine's libraries are slow to import: those of
        the performance runs, and of what else is still to come. See `Workers.prepare`.

        They hold off performance runs until they only wait. During such a run none is started.
        """
        devices, modules = self.workers.devices, self.engine.slow_imports()
        # Of several GPUs each has a process of its own, which the worker starts.
        held = keep_working(devices) if modules and len(devices) <= 1 else None
        if held is None:
            return
        runs = sum(_SERVER_RUNS if name == "Server" else 1 for name in self.scenarios)
        count = max(1, min(runs + build + accuracy, usable_cores() // _CORES_A_SPARE))
        try:
            self.workers.prepare(
                modules, devices, engine=self.engine.name, count=count, least=least, held=held
            )
        finally:
            for handle in held:
                os.close(handle)

    @property
    def _memory_limit(self) -> int:
        return self.spec.memory_limit_mib << 20

    def _below(self, path: Path) -> str:
        return str(path.relative_to(self.folder))


class _Stages:
    """Times the stages of one trial and names the stage that fails."""

    def __init__(self, on_stage: OnStage) -> None:
        self.seconds: dict[str, float] = {}
        self._on_stage = on_stage

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @contextmanager
    def run(
        self,
        name: str,
        *,
        first: Callable[[], None] = lambda: None,
        waiting: AbstractContextManager[None] | None = None,
    ) -> Iterator[None]:
        """Time `first` and a block; entering `waiting`, another search's turn, is not counted."""
        self._on_stage(name)
        start = time.perf_counter()
        first()
        before = time.perf_counter() - start
        with waiting or working():
            start = time.perf_counter() - before
            try:
                yield
            except AutosinianError:
                raise
            except (RuntimeError, ValueError, MemoryError) as error:
                # What the libraries of a stage raise for a network they cannot handle.
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
                raise TrialFailure(name.split()[0], reason) from error
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise (Unavailable if full else InputError)(
                    f"stage `{name}` must be able to write its files, but: {error}; "
                    "free space and run the same command again"
                ) from error
            finally:
                self.seconds[name] = time.perf_counter() - start
