"""Latency of subnets on two cores of a processor, through OpenVINO or ONNX Runtime, fp32."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autosinian.supernet import open_supernet
from subnet_table.folding import fold
from subnet_table.gpu_latency import LatencySettings
from subnet_table.onnx_file import to_onnx
from subnet_table.subnets import subnet_of
from subnet_table.workers import Place, Row

FIELDS = (
    "subnet", "batch_size", "repeat", "latency_us", "spread", "engine", "device", "torch", "date",
)  # fmt: skip
THREADS = 2
LEAST_RUNS = 5
MOST_RUNS = 25
BUDGET_S = 0.12
"""Seconds of runs at one batch size, within the two limits on their number."""

Runner = Callable[[Any], object]


class CpuLatency:
    """Measures one subnet at each batch size in this process, on the cores it is pinned to."""

    def __init__(self, settings: LatencySettings, engine: str) -> None:
        self._settings = settings
        self._engine = engine
        self._supernet = open_supernet(settings.supernet)

    def __call__(self, task: str) -> list[Row]:
        text, repeat, *batches = task.split()
        subnet = subnet_of(text)
        with torch.inference_mode():
            model = to_onnx(fold(self._supernet.extract(subnet)), subnet.resolution)
        rows: list[Row] = []
        run: Runner | None = None
        for batch_size in [int(b) for b in batches] or self._settings.batch_sizes:
            shape = (batch_size, 3, subnet.resolution, subnet.resolution)
            if run is None or self._engine == "openvino":
                run = _openvino(model, shape) if self._engine == "openvino" else _runtime(model)
            median, spread = _time(run, np.random.default_rng(0).normal(size=shape))
            rows.append(
                {
                    "subnet": text,
                    "batch_size": batch_size,
                    "repeat": repeat,
                    "latency_us": round(median, 1),
                    "spread": round(spread, 4),
                    "engine": f"{self._engine} fp32, {THREADS} cores",
                }
            )
        return rows


def _time(run: Runner, images: Any) -> tuple[float, float]:
    """Median microseconds of a run, and the interquartile range over it."""
    images = images.astype(np.float32)
    run(images)
    start = time.perf_counter()
    run(images)
    first = time.perf_counter() - start
    samples = []
    for _ in range(min(max(int(BUDGET_S / first), LEAST_RUNS), MOST_RUNS)):
        start = time.perf_counter()
        run(images)
        samples.append((time.perf_counter() - start) * 1e6)
    low, middle, high = statistics.quantiles(samples, n=4)
    return middle, (high - low) / middle


def _openvino(model: bytes, shape: tuple[int, ...]) -> Runner:
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape(list(shape))
    options = {"INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    request = core.compile_model(network, "CPU", options).create_infer_request()
    return lambda images: request.infer([images], share_inputs=True)


def _runtime(model: bytes) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def engine_here() -> str:
    """`openvino` where it can be imported, else `onnxruntime`."""
    try:
        import openvino  # noqa: F401
    except ImportError:
        return "onnxruntime"
    return "openvino"


def open_cpu_latency(place: Place, settings: LatencySettings, _: Any) -> CpuLatency:
    """In a worker pinned to its cores already."""
    torch.set_num_threads(THREADS)
    return CpuLatency(settings, engine_here())
