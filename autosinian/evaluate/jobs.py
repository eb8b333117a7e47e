"""The workers' jobs of a candidate, with the study's settings."""

import math
from dataclasses import replace
from pathlib import Path

from autosinian.content import content_key, file_sha256
from autosinian.data import Role
from autosinian.engine.protocol import Engine
from autosinian.evaluate.arrays import ArrayCache
from autosinian.evaluate.networks import Networks
from autosinian.measure import BuildJob, Job
from autosinian.space.candidate import Candidate, EngineConfig
from autosinian.space.document import MeasurementSpec

PARTS = 8
"""One of so many parts of the samples is asked about first."""

_STREAMS = "streams"
_BATCHES_A_STREAM = 2


class Jobs:
    """Makes jobs for workers on `devices`, by NVML's index; their files lie below `folder`."""

    def __init__(
        self,
        networks: Networks,
        arrays: ArrayCache,
        engine: Engine,
        devices: tuple[int, ...],
        spec: MeasurementSpec,
        folder: Path,
    ) -> None:
        self._networks, self._arrays, self._engine = networks, arrays, engine
        self._devices, self._spec, self._folder = devices, spec, folder
        self._versions = dict(engine.versions())

    def build(self, candidate: Candidate, model: Path) -> BuildJob:
        """Building the engine file; candidates that need no other one have the same."""
        config = replace(candidate, engine=self._build_config(candidate.engine))
        engine = config.to_dict()["engine"]
        key = content_key(
            file_sha256(model), candidate.quantization.precision, engine, self._versions
        )
        return BuildJob(
            engine=engine,
            model=str(model),
            precision=candidate.quantization.precision,
            engine_file=str(self._folder / "engines" / f"{key}.engine"),
            log_folder=str(self._folder / "runs" / f"build-{key}"),
            devices=self._devices[:1],
        )

    def run(
        self,
        candidate: Candidate,
        engine_file: Path,
        role: Role,
        scenario: str,
        mode: str,
        run_name: str,
    ) -> Job:
        """One run of an engine file on a role's samples."""
        arrays = self._arrays.get(role, candidate.subnet.resolution)
        settings: dict[str, int | float | bool] = {
            "min_duration_ms": round(self._spec.min_duration_s * 1000),
            "min_query_count": 1 if scenario == "Offline" else self._spec.min_queries,
        }
        if scenario == "Server":
            settings["server_target_latency_ns"] = round(self._spec.server_latency_ms * 1e6)
        serving = candidate.serving if scenario == "Server" else ()
        return Job(
            engine=candidate.to_dict()["engine"],
            engine_file=str(engine_file),
            inputs=str(arrays.inputs),
            labels=str(arrays.labels) if arrays.labels else None,
            scenario=scenario,
            mode=mode,
            output_folder=str(self._folder / "runs" / run_name / f"{scenario}-{mode}"),
            settings=settings | self._spec.loadgen,
            sut={name: value for name, value in serving if not isinstance(value, str)},
            devices=self._devices,
            task=self._networks.task,
            benchmark="ssd-resnet34" if self._networks.task else "resnet50",
        )

    def accuracy(self, candidate: Candidate, engine_file: Path, role: Role, run_name: str) -> Job:
        """Judging accuracy on all of a role's samples."""
        samples = self._arrays.get(role, candidate.subnet.resolution).samples
        return self._judged(candidate, engine_file, role, run_name, samples)

    def accuracy_of_a_part(self, candidate: Candidate, engine_file: Path, run_name: str) -> Job:
        """Judging accuracy on a part of the search's samples."""
        resolution = candidate.subnet.resolution
        samples = self.samples_of_a_part(resolution)
        part = self._arrays.part("search", resolution, samples)
        job = self._judged(candidate, engine_file, "search", run_name, samples)
        return replace(job, inputs=str(part.inputs), labels=str(part.labels))

    def _judged(
        self, candidate: Candidate, engine_file: Path, role: Role, run_name: str, samples: int
    ) -> Job:
        """Judging accuracy, by no more streams than have two batches each: large batches are few,
        and on a GPU each stream takes a second to open."""
        job = self.run(candidate, engine_file, role, "Offline", "AccuracyOnly", run_name)
        options = dict(job.engine["options"])
        free = {tunable.name for tunable in self._engine.tunables() if not tunable.rebuild}
        if _STREAMS not in free & set(options):
            return job
        enough = math.ceil(samples / max(1, _BATCHES_A_STREAM * candidate.engine.batch_size))
        options[_STREAMS] = max(1, min(options[_STREAMS], enough))
        return replace(job, engine={**job.engine, "options": options})

    def samples_of_a_part(self, resolution: int) -> int:
        """How many samples that part has."""
        return self._arrays.get("search", resolution).samples // PARTS

    def performance(
        self, candidate: Candidate, engine_file: Path, scenario: str, run_name: str
    ) -> Job:
        """Measuring performance in a scenario."""
        return self.run(candidate, engine_file, "search", scenario, "PerformanceOnly", run_name)

    def _build_config(self, config: EngineConfig) -> EngineConfig:
        """`config` with every option that needs no other engine file at its default."""
        free = {t.name: t.default for t in self._engine.tunables() if not t.rebuild}
        kept = {name: free.get(name, value) for name, value in config.options}
        return EngineConfig.make(config.engine, config.batch_size, **kept)
