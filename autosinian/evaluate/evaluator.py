"""The stages of one trial: cost, network, engine, accuracy, performance; cheapest first."""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from autosinian.content import content_key
from autosinian.data import Role
from autosinian.data.arrays import Arrays
from autosinian.engine.protocol import Engine
from autosinian.errors import TrialFailure
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.early import EarlyWorkers
from autosinian.evaluate.evaluation import (
    Decide,
    Evaluation,
    Known,
    check_figures,
    scenario_metrics,
)
from autosinian.evaluate.jobs import Jobs
from autosinian.evaluate.networks import Networks
from autosinian.evaluate.quiet import alone, working
from autosinian.evaluate.stages import OnStage, Stages, entered
from autosinian.measure import Job, Measurement
from autosinian.measure.process import BuiltAndRunning, Limits
from autosinian.measure.repeat import run_undisturbed
from autosinian.measure.workers import Workers
from autosinian.space.candidate import Candidate
from autosinian.space.document import MeasurementSpec
from autosinian.space.rules import SCENARIOS
from autosinian.store import Store

Refuse = Callable[[Mapping[str, float]], bool]

LEAST_FOR_A_PART = 4_000
"""Samples from which on a part of them is asked about first; starting a worker takes a second."""


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
        self._jobs = Jobs(networks, arrays, engine, workers.devices, spec, folder)
        self.job = self._jobs.run
        self._early = EarlyWorkers(workers, engine, scenarios)
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
        stages = Stages(on_stage)
        with ExitStack() as kept:
            kept.callback(self.workers.end_early)
            return self._evaluate(candidate, run_name, stages, kept, refuse, decide)

    def _evaluate(
        self,
        candidate: Candidate,
        run_name: str,
        stages: Stages,
        kept: ExitStack,
        refuse: Refuse,
        decide: Decide,
    ) -> Evaluation:
        devices = self.workers.devices
        # Workers that are left from a trial that needed fewer are enough for one that needs few.
        self._early.prepare(first=True, least=1)
        with stages.run("extract"):
            costs = self.networks.cost(candidate.subnet)
        metrics: dict[str, float] = {"macs": costs.macs, "parameters": costs.parameters}
        if refuse(metrics):
            return Evaluation(metrics, complete=False, stage_s=stages.seconds)
        with stages.run("quantize"):
            self.networks.write_config(candidate.subnet, self.folder / "runs" / run_name)
            model = self.networks.model(candidate)
        part = self._part_saves_time(candidate)
        # What a worker begins in one stage and goes on with in others is held for all of them.
        work = kept.enter_context(ExitStack())
        with stages.run("build", waiting=entered(work, working(devices))):
            engine_file, running = self._build(candidate, model, run_name, part=part)
            if running is not None:
                work.callback(running.close)
            self._early.open(self._first_performance(candidate, engine_file, run_name))
        files = {"model": self._below(model), "engine": self._below(engine_file)}
        data_keys = self.networks.data_keys(candidate)
        data_keys["search"] = self.arrays.get("search", candidate.subnet.resolution).key
        part_s = 0.0
        if part:
            with stages.run("accuracy of a part", waiting=working(devices)):
                (value, deviation), part_s = self._part_accuracy(
                    candidate, engine_file, run_name, running
                )
                running = None
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
        with stages.run("accuracy", waiting=working(devices)):
            metrics["accuracy"], inference_s = self.accuracy(
                candidate, engine_file, "search", f"{run_name}-accuracy", running
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

        def settle() -> None:
            self.workers.settle()
            work.close()

        for scenario in self._order:
            with stages.run(f"performance {scenario}", first=settle, waiting=alone(devices)):
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
        job = self._jobs.build(candidate, model)
        if not Path(job.engine_file).exists():
            self.workers.build(job, **self._limits)
        return Path(job.engine_file)

    def _build(
        self, candidate: Candidate, model: Path, run_name: str, *, part: bool
    ) -> tuple[Path, BuiltAndRunning | None]:
        """`build`, by a worker that goes on to the first run of accuracy where there is one."""
        job = self._jobs.build(candidate, model)
        engine_file = Path(job.engine_file)
        if engine_file.exists():
            return engine_file, None
        first = None
        if len(self.workers.devices) <= 1:
            first = self._first_accuracy(candidate, engine_file, run_name, part=part)
        performance = self._first_performance(candidate, engine_file, run_name)

        def build(started: Callable[[], None]) -> BuiltAndRunning | None:
            if first is None:
                self.workers.build(job, **self._limits, started=started)
                return None
            return self.workers.build_then_run(job, first, **self._limits, started=started)

        try:
            running = build(lambda: self._early.rehearse(performance, job))
        except TrialFailure as failure:
            # Two at once may be what the device has no room for.
            if not self.workers.end_early() or "memory" not in failure.reason:
                raise
            running = build(self._early.prepare)
        return engine_file, running

    def _first_performance(self, candidate: Candidate, engine_file: Path, run_name: str) -> Job:
        return self._jobs.performance(candidate, engine_file, self._order[0], run_name)

    def _first_accuracy(
        self, candidate: Candidate, engine_file: Path, run_name: str, *, part: bool
    ) -> Job | None:
        """The run that follows a build; None where accuracy is known."""
        if part:
            return self._jobs.accuracy_of_a_part(candidate, engine_file, run_name)
        arrays = self.arrays.get("search", candidate.subnet.resolution)
        if self._store.recall("accuracy", self._accuracy_key(candidate, arrays)) is not None:
            return None
        return self._jobs.accuracy(candidate, engine_file, "search", f"{run_name}-accuracy")

    def _part_saves_time(self, candidate: Candidate) -> bool:
        if self.networks.task:
            return False  # a detector's mAP is no share of right answers
        whole = self.arrays.get("search", candidate.subnet.resolution)
        known = self._store.recall("accuracy", self._accuracy_key(candidate, whole))
        return known is None and whole.samples >= LEAST_FOR_A_PART

    def _part_accuracy(
        self,
        candidate: Candidate,
        engine_file: Path,
        run_name: str,
        running: BuiltAndRunning | None,
    ) -> tuple[Known, float]:
        """Top-1 on a part of the samples, its standard deviation, and the seconds it ran."""
        count = self._jobs.samples_of_a_part(candidate.subnet.resolution)
        measured = self._judge(
            self._jobs.accuracy_of_a_part(candidate, engine_file, run_name), running
        )
        if measured.accuracy is None:
            raise TrialFailure("accuracy", f"LoadGen gave none: {measured.invalid_reason}")
        # Agresti and Coull's adjustment: the deviation is not 0 where all are right.
        share = (measured.accuracy * count + 2) / (count + 4)
        deviation = math.sqrt(share * (1 - share) / (count + 4))
        return (measured.accuracy, deviation), measured.loadgen_s

    def accuracy_key(self, candidate: Candidate, role: Role) -> str:
        """The same for candidates that answer a role's samples alike."""
        return self._accuracy_key(candidate, self.arrays.get(role, candidate.subnet.resolution))

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

    def _judge(self, job: Job, running: BuiltAndRunning | None) -> Measurement:
        """An accuracy run, by the worker that built the engine file where it goes on to it."""
        try:
            return (
                running.measurement()
                if running
                else self._run(job, self._early.prepare_unless_opened)
            )
        except TrialFailure:
            # Two at once may be what the device has no room for.
            if not self.workers.end_early():
                raise
            return self._run(job, self._early.prepare)

    def accuracy(
        self,
        candidate: Candidate,
        engine_file: Path,
        role: Role,
        run_name: str,
        running: BuiltAndRunning | None = None,
    ) -> tuple[float, float]:
        """Top-1 fraction, or COCO mAP, on a role's samples; seconds LoadGen ran (0 where known).

        `running` is the worker that judges it already, where one does.
        """
        arrays = self.arrays.get(role, candidate.subnet.resolution)
        key = self._accuracy_key(candidate, arrays)
        known = self._store.recall("accuracy", key)
        if known is not None:
            return float(known["accuracy"]), 0.0
        job = self._jobs.accuracy(candidate, engine_file, role, run_name)
        measured = self._judge(job, running)
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
        job = self._jobs.performance(candidate, engine_file, scenario, run_name)
        if scenario != "Server":
            return run_undisturbed(lambda: self._run(job))
        if offline is None:
            offline = self._run(replace(job, mode="RawLoop", scenario="Offline")).samples_per_second
        assert offline is not None
        measured = self.workers.find_server_qps(
            job,
            offline,
            self._server_share * offline if self._server_share else None,
            **self._limits,
        )
        if measured.valid and measured.target_qps:
            self._server_share = min(1.0, measured.target_qps / offline)
        return measured

    def _run(self, job: Job, started: Callable[[], None] = lambda: None) -> Measurement:
        return self.workers.run(job, **self._limits, started=started)

    @property
    def _order(self) -> list[str]:
        """The scenarios, cheapest first."""
        return sorted(self.scenarios, key=SCENARIOS.index)

    @property
    def _limits(self) -> Limits:
        return {
            "time_limit_s": self.spec.time_limit_s,
            "memory_limit_bytes": self.spec.memory_limit_mib << 20,
        }

    def _below(self, path: Path) -> str:
        return str(path.relative_to(self.folder))
