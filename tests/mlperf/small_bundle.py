"""A bundle made by hand: a very small network with random weights on shipped Fashion-MNIST."""

from pathlib import Path
from typing import Any

import torch

from autosinian.content import write_json
from autosinian.data import Preprocessing, open_dataset
from autosinian.engine.openvino import OpenVinoEngine
from autosinian.engine.processor import usable_cores
from autosinian.export import bundle as files
from autosinian.export.bundle import Bundle, open_bundle
from autosinian.export.system_config import system_config
from autosinian.export.validation import content_of
from autosinian.measure.measurement import Measurement
from autosinian.quantize.calibrate import collect_ranges
from autosinian.quantize.export import export_onnx
from autosinian.quantize.qdq import quantize
from autosinian.quantize.ranges import write_ranges
from autosinian.space.candidate import Candidate, EngineConfig, Quantization, Subnet
from autosinian.supernet.families import SupernetConfig, build_supernet
from autosinian.supernet.net_files import write_net

RESOLUTION = 16
VALIDATION = 120
CALIBRATION = 16
OPTIONS: dict[str, Any] = {"streams": 1, "threads": 1, "cpu_pinning": True, "partial_batch": "pad"}


def make_bundle(folder: Path, arrays: Path) -> Bundle:
    """Write and seal a bundle as `export-best` does, with figures of a machine that never was."""
    folder.mkdir(parents=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net: Any = build_supernet(SupernetConfig("proxyless", 0.25, (3,), (3,), (2,), (), 10))
    net.set_active_subnet(ks=3, e=3, d=2)
    write_net(folder, net.get_active_subnet().eval(), RESOLUTION)
    rule = Preprocessing(RESOLUTION, (0.28,) * 3, (0.35,) * 3)
    data = open_dataset("fashion_mnist")
    validation = data.arrays("validation", rule, arrays, VALIDATION)
    calibration = data.arrays("calibration", rule, arrays, CALIBRATION)
    _write_model(folder, calibration.open_inputs())
    config = EngineConfig.make("openvino", 8, **OPTIONS)
    engine = OpenVinoEngine()
    engine.build(folder / files.MODEL, "int8", config, folder / files.ENGINE)
    candidate = Candidate(
        Subnet((2,) * 5, (3,) * 20, (3,) * 20, (), RESOLUTION),
        Quantization("int8", "minmax"),
        config,
    )
    scenarios = {
        "Offline": Measurement("Offline", "PerformanceOnly", True, samples_per_second=1000.5),
        "SingleStream": Measurement(
            "SingleStream", "PerformanceOnly", True, latency_ns={"50.00": 400_000.0}
        ),
    }
    write_json(
        folder / files.SYSTEM_CONFIG,
        system_config(
            candidate,
            engine.device(),
            usable_cores(),
            scenarios,
            scenario="Offline",
            benchmark="resnet50",
            dataset="fashion_mnist",
            performance_samples=VALIDATION,
        ),
    )
    job = {"settings": {}, "log_settings": {}, "sut": {}, "benchmark": "resnet50", "devices": []}
    files.seal(
        folder,
        {
            "study": "small",
            "scenario": "Offline",
            "scenarios": {name: run.to_dict() for name, run in scenarios.items()},
            "candidate": candidate.to_dict(),
            "candidate_key": candidate.key,
            "preprocessing": rule.rule(),
            "data": {
                "name": "fashion_mnist",
                "path": None,
                "limit": VALIDATION,
                "samples": VALIDATION,
                "preprocessing": rule.rule(),
                "key": validation.key,
                **content_of(validation),
            },
            "device": engine.device(),
            "engine_versions": dict(engine.versions()),
            "jobs": dict.fromkeys(scenarios, job),
            "limits": {"time_s": 120.0, "memory_bytes": 2 << 30},
        },
    )
    return open_bundle(folder)


def _write_model(folder: Path, calibration: Any) -> None:
    from autosinian.supernet.net_files import read_net

    module, _ = read_net(folder)
    source = folder.parent / "float.onnx"
    export_onnx(module, RESOLUTION, source)
    ranges = collect_ranges(source, calibration, "minmax")
    write_ranges(folder / files.CALIBRATOR_CACHE, ranges)
    quantize(source, ranges, folder / files.MODEL)


def silent(text: str) -> None:
    """Hears what is told, and says nothing."""
