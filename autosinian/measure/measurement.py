"""What a measurement is given and what it gives: plain data, JSON-ready."""

from dataclasses import asdict, dataclass, field
from typing import Any

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")
MODES = ("PerformanceOnly", "AccuracyOnly", "SubmissionRun", "RawLoop")


@dataclass(frozen=True)
class Job:
    """One run of one engine file in one worker process.

    `inputs` is an `.npy` of float32, `N x C x H x W` (or int8 where the engine's sessions take
    it); `labels` an `.npy` of int64, `N` (needed by
    modes that score accuracy). `settings` and `log_settings` override LoadGen's fields by their
    own names, after `mlperf_conf` and `user_conf`; without any, LoadGen's built-in mlperf.conf
    asks for 600 s. `benchmark` is the model's name in those files. `sut` sets our own side:
    `deque_timeout_us` (how long a Server batch waits to fill), `in_flight` (Server batches
    submitted at once), `pacing` (false: a Server batch may leave right after another), `native`
    (false: without the compiled system under test) and `warmup_s`. `RawLoop` runs the engine
    without LoadGen for `settings["min_duration_ms"]`. `task` is empty for classification; for
    detection it is `{"name": "detection", "image_size": n, "classes": n}`, `labels` then holds
    boxes (see `autosinian.measure.answers`) and accuracy is COCO mAP. `devices` are the GPUs that
    serve it, by NVML's index; empty for an engine on the processor.
    """

    engine: dict[str, Any]
    engine_file: str
    inputs: str
    labels: str | None
    scenario: str
    mode: str
    output_folder: str
    settings: dict[str, int | float | bool] = field(default_factory=dict)
    log_settings: dict[str, int | float | bool | str] = field(default_factory=dict)
    sut: dict[str, int | float | bool] = field(default_factory=dict)
    mlperf_conf: str = ""
    user_conf: str = ""
    audit_conf: str = ""
    benchmark: str = "resnet50"
    devices: tuple[int, ...] = ()
    task: dict[str, int | str] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """The stage of a trial that this job is: `accuracy` or `performance`."""
        return "accuracy" if self.mode == "AccuracyOnly" else "performance"

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Job":
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(**{**value, "devices": tuple(value.get("devices", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class BuildJob:
    """The building of one engine file in one worker process.

    `engine` is `{"engine": name, "batch_size": n, "options": {...}}`, as in `Job`; `log_folder`
    receives the worker's stderr. `devices` names the GPU to build on, as in `Job`.
    """

    engine: dict[str, Any]
    model: str
    precision: str
    engine_file: str
    log_folder: str
    devices: tuple[int, ...] = ()

    @property
    def stage(self) -> str:
        """The stage of a trial that this job is."""
        return "build"

    @property
    def output_folder(self) -> str:
        """Where the worker's files lie."""
        return self.log_folder

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "BuildJob":
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(**{**value, "devices": tuple(value.get("devices", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class DescribeJob:
    """What an engine says of itself, asked in a worker process.

    `engine` is its name; `output_folder` receives the worker's stderr; `devices` as in `Job`.
    """

    engine: str
    output_folder: str
    devices: tuple[int, ...] = ()

    @property
    def stage(self) -> str:
        """Where it belongs among the steps that can fail."""
        return "engine"

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "DescribeJob":
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(**{**value, "devices": tuple(value.get("devices", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class BuildResult:
    """What one build took; `build_s` inside the worker, `worker_s` with its start and end."""

    engine_file: str
    build_s: float
    worker_s: float = 0.0
    peak_memory_bytes: int = 0

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "BuildResult":
        """Inverse of `dataclasses.asdict`."""
        return cls(**value)


@dataclass(frozen=True)
class Measurement:
    """The result of one job. Absent figures are None: a mode that does not measure them.

    `latency_ns` maps a percentile's name (`"50.00"`, `"90.00"`, `"99.00"`, `"99.90"`, `"mean"`)
    to nanoseconds. `early_stopping_latency_ns` is LoadGen's own estimate where it gives one.
    `target_qps` is the Server rate in queries/s, found in `probes` runs; `loadgen_s`, `worker_s`
    and `peak_memory_bytes` then count all of them. `accuracy` is a fraction. `samples`
    counts those scored, in a run without accuracy those timed. `valid` is LoadGen's
    verdict and `invalid_reason` its words. `machine` is what the processor or the GPUs were doing;
    `disturbance` says why the figures should not be trusted (throttled, shared), empty where
    nothing speaks against them.
    """

    scenario: str
    mode: str
    valid: bool
    invalid_reason: str = ""
    samples_per_second: float | None = None
    latency_ns: dict[str, float] = field(default_factory=dict)
    early_stopping_latency_ns: float | None = None
    target_qps: float | None = None
    accuracy: float | None = None
    samples: int = 0
    loadgen_s: float = 0.0
    worker_s: float = 0.0
    peak_memory_bytes: int = 0
    log_folder: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    probes: int = 1
    machine: dict[str, Any] = field(default_factory=dict)
    disturbance: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Measurement":
        """Inverse of `to_dict`."""
        return cls(**value)
