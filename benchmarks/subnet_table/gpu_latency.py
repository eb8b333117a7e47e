"""Latency of subnets on a GPU: fp16, channels last, one CUDA graph, median of replays.

Pointwise convolutions are cuBLAS products, depthwise ones the kernel of `depthwise.py`.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autosinian.supernet import open_supernet
from subnet_table.folding import FoldedNetwork, fold
from subnet_table.subnets import subnet_of
from subnet_table.workers import Place, Row

FIELDS = (
    "subnet", "batch_size", "repeat", "latency_us", "spread", "engine", "device", "torch", "date",
)  # fmt: skip
SAMPLES = 7
WARM_UP_US = 1_000.0
LEAST_SAMPLE_US = 800.0
"""A sample is a run of replays at least this long, so that its two events do not show."""


@dataclass(frozen=True)
class LatencySettings:
    """What a worker needs: the checkpoint and the batch sizes.

    A task is `SUBNET REPEAT [BATCH SIZES]`; without any, these batch sizes are measured.
    """

    supernet: Path
    batch_sizes: tuple[int, ...]


class GpuLatency:
    """Measures one subnet at each batch size; the device is used under the lock alone."""

    def __init__(self, settings: LatencySettings, device: torch.device, lock: Any) -> None:
        self._settings = settings
        self._device = device
        self._lock = lock
        self._supernet = open_supernet(settings.supernet)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def __call__(self, task: str) -> list[Row]:
        text, repeat, *batches = task.split()
        subnet = subnet_of(text)
        network = fold(self._supernet.extract(subnet))
        rows: list[Row] = []
        with self._lock:
            placed = network.to(self._device, torch.float16)
            for batch_size in [int(b) for b in batches] or self._settings.batch_sizes:
                shape = (batch_size, 3, subnet.resolution, subnet.resolution)
                median, spread = self._time(placed, shape)
                rows.append(
                    {
                        "subnet": text,
                        "batch_size": batch_size,
                        "repeat": repeat,
                        "latency_us": round(median, 2),
                        "spread": round(spread, 4),
                        "engine": "torch fp16 channels_last graph, cuBLAS and Triton",
                    }
                )
            del placed
            # Graphs keep their memory pools cached, and other workers need the room.
            torch.cuda.empty_cache()
        return rows

    def _time(self, network: FoldedNetwork, shape: tuple[int, ...]) -> tuple[float, float]:
        """Median microseconds of a replay, and the interquartile range over it."""
        images = torch.randn(shape, device=self._device, dtype=torch.float16)
        images = images.contiguous(memory_format=torch.channels_last)
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            network(images)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            network(images)
        graph.replay()
        one = _microseconds(graph.replay, 1)
        for _ in range(int(WARM_UP_US / max(one, 1.0)) + 1):
            graph.replay()
        count = int(LEAST_SAMPLE_US / max(one, 1.0)) + 1
        samples = [_microseconds(graph.replay, count) for _ in range(SAMPLES)]
        low, middle, high = statistics.quantiles(samples, n=4)
        return middle, (high - low) / middle


def _microseconds(call: Callable[[], None], count: int) -> float:
    """Microseconds of one of `count` calls in a row, by the device's own clock."""
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e3 / count


def open_gpu_latency(place: Place, settings: LatencySettings, lock: Any) -> GpuLatency:
    """In a worker; raises `RuntimeError` where there is no such GPU."""
    torch.set_num_threads(1)
    torch.cuda.set_device(place.device)
    return GpuLatency(settings, torch.device(place.device), lock)
