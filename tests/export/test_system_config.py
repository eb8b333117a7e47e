"""config.json in the schema of the MLPerf v1.0 submission."""

import json
from pathlib import Path
from typing import Any

import pytest

from autosinian.export.system_config import system_config, system_id
from autosinian.measure.measurement import Measurement
from autosinian.space.candidate import Candidate, EngineConfig, Quantization, Subnet

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alibaba/v1.0"


def config() -> dict[str, Any]:
    candidate = Candidate(
        Subnet((2,), (3, 3), (3, 3), (), 176),
        Quantization("int8", "entropy"),
        EngineConfig.make("openvino", 37, streams=2, threads=4, deque_timeout_us=4182),
    )
    runs = {
        "Offline": Measurement("Offline", "PerformanceOnly", True, samples_per_second=1234.56),
        "Server": Measurement("Server", "PerformanceOnly", True, target_qps=900.0),
        "SingleStream": Measurement(
            "SingleStream",
            "PerformanceOnly",
            True,
            latency_ns={"50.00": 1_000_000.0, "90.00": 1234567.8},
        ),
    }
    return system_config(
        candidate,
        "Intel(R) Xeon(R) Gold 6230 CPU",
        4,
        runs,
        scenario="Offline",
        benchmark="resnet50",
        dataset="imagenet",
        performance_samples=1024,
    )


def test_a_system_id_is_the_device_and_its_count() -> None:
    assert system_id("Intel(R) Xeon(R) Gold 6230 CPU", 4) == "Intel-Xeon-Gold-6230-CPUx4"
    assert system_id("A100-SXM4-40GB", 1) == "A100-SXM4-40GBx1"
    assert system_id("NVIDIA A100-SXM4-40GB", 8) == "A100-SXM4-40GBx8"
    assert system_id("Tesla T4", 1) == "T4x1"


def test_every_searched_setting_is_there() -> None:
    system = config()["Intel-Xeon-Gold-6230-CPUx4"]
    assert system["gpu_batch_size"] == 37
    assert system["gpu_inference_streams"] == 2
    assert system["deque_timeout_us"] == 4182
    # A fifth more: so much faster a machine may be without an INVALID run.
    assert system["gpu_offline_expected_qps"] == 1481.5
    assert system["server_target_qps"] == 900.0
    assert system["gpu_single_stream_expected_latency_ns"] == 1000000
    assert system["engine_options"] == {"threads": 4}
    assert config()["default"]["precision"] == "int8"


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not here")
def test_keys_are_those_of_the_published_files() -> None:
    known: set[str] = set()
    top: set[str] = set()
    for scenario in ("Offline", "Server", "SingleStream"):
        published = json.loads((PUBLISHED / f"config_{scenario}.json").read_text())
        top |= set(published)
        for value in published.values():
            known |= set(value) if isinstance(value, dict) else set()
    ours = config()
    systems = {name for name in ours if name not in top}
    assert systems == {"Intel-Xeon-Gold-6230-CPUx4"}
    for name in (*systems, "default"):
        assert set(ours[name]) - known <= {"candidate", "engine", "engine_options"}
