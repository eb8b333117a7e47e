from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.engine.openvino import OpenVinoEngine
from autosinian.measure.measurement import Job, Measurement
from autosinian.measure.process import run
from autosinian.space.candidate import EngineConfig
from tests.engine.small_models import label_samples, write_label_model
from tests.measure.slow_imports import IMPORT_S

ROOT = Path(__file__).parents[2]
SAMPLES = 300
LIMITS: dict[str, Any] = {"time_limit_s": 60.0, "memory_limit_bytes": 2 << 30}


@dataclass(frozen=True)
class Bench:
    """An engine file whose labels prove which samples ran, and samples for it."""

    folder: Path
    engine: dict[str, Any]
    engine_file: Path
    inputs: Path
    labels: Path

    def job(self, scenario: str, mode: str, output: Path, **changes: Any) -> Job:
        settings = {"min_duration_ms": 150, "min_query_count": 1}
        if scenario == "Server":
            settings |= {"server_target_qps": 8000, "server_target_latency_ns": 200_000_000}
        if scenario == "MultiStream":
            settings["min_query_count"] = 700  # for the 99th percentile's early stopping
        if mode == "RawLoop":
            settings = {"min_duration_ms": 150}
        values: dict[str, Any] = {
            "engine": self.engine,
            "engine_file": str(self.engine_file),
            "inputs": str(self.inputs),
            "labels": str(self.labels),
            "scenario": scenario,
            "mode": mode,
            "output_folder": str(output),
            "sut": {"warmup_s": 0.05},
        }
        values["settings"] = settings | changes.pop("settings", {})
        return Job(**(values | changes))

    def run(self, scenario: str, mode: str, output: Path, **changes: Any) -> Measurement:
        return run(self.job(scenario, mode, output, **changes), **LIMITS)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    model = write_label_model(folder / "model.onnx")
    options = {"streams": 1, "threads": 1}
    OpenVinoEngine().build(
        model, "fp32", EngineConfig.make("openvino", 4, **options), folder / "model.engine"
    )
    samples, labels = label_samples(SAMPLES)
    np.save(folder / "inputs.npy", samples)
    np.save(folder / "labels.npy", labels)
    return Bench(
        folder,
        {"engine": "openvino", "batch_size": 4, "options": options},
        folder / "model.engine",
        folder / "inputs.npy",
        folder / "labels.npy",
    )


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the slow library writes which processes imported it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SLOW_LIBRARY_S", str(IMPORT_S))
    monkeypatch.setenv("SLOW_LIBRARY_LOG", str(tmp_path / "imports"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "imports"
