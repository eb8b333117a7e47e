"""Measured times on the GPU: single layers, and whole networks as graphs."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources

from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu.compiling import Compiler, outcome
from autosinian.int4.gpu.executor import Executor
from autosinian.int4.gpu.launch import compile_task
from autosinian.int4.gpu.plan import Layer
from autosinian.int4.layer_shape import LayerShape

if TYPE_CHECKING:
    from concurrent.futures import Future

_LAUNCHES = 8
# Launches of microseconds: more of them, beside which the graph's own start is little.
_MANY_LAUNCHES, _FEW = 32, 16
_REPLAYS = 5
_NETWORK_SECONDS = 0.05
_NETWORK_REPLAYS = 5


def _stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def _events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    return begin, end


def timed_graph(
    run: Callable[[], None], launches: int = _LAUNCHES, replays: int = _REPLAYS
) -> float:
    """Median seconds of one `run`, from replays of a graph of several, after one of them."""
    stream = _stream()
    with torch.cuda.stream(stream):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(launches):
                run()
        graph.replay()
        spent = []
        for _ in range(replays):
            begin, end = _events()
            begin.record(stream)
            graph.replay()
            end.record(stream)
            end.synchronize()
            spent.append(float(begin.elapsed_time(end)) / 1e3 / launches)
    return statistics.median(spent)


def timed_once(run: Callable[[], None]) -> float:
    """Seconds of one `run` by itself, to recognise what is far too slow."""
    begin, end = _events()
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def fill_randomly(executor: Executor, seed: int) -> None:
    """Random bits in all activations, within their types' ranges."""
    generator = torch.Generator(executor.input.device).manual_seed(seed)
    executor.input.random_(-127, 128, generator=generator)
    executor.run_image()
    plan = executor.prepared.plan
    for tensor, bits in executor.activations(plan):
        if bits == 8:
            tensor.random_(0, 128, generator=generator)
        else:
            tensor.random_(0, 256, generator=generator)


class GpuLayerTimer:
    """Measures layers in place, on an executor's tensors; implements `tuning.LayerTimer`.

    `failures` collects why configurations could not run.
    """

    def __init__(self, executor: Executor, compiler: Compiler | None) -> None:
        self._executor = executor
        self._compiler = compiler
        self._layers: dict[LayerShape, Layer] = {}
        for layer in executor.prepared.plan.convolutions():
            self._layers.setdefault(layer.shape, layer)
        self._compiling: dict[tuple[LayerShape, int], Future[str | None]] = {}
        self.failures: dict[tuple[LayerShape, int], str] = {}
        fill_randomly(executor, seed=0)

    def layer(self, shape: LayerShape) -> Layer:
        """The layer that stands for a shape."""
        return self._layers[shape]

    def prepare(self, wanted: Sequence[tuple[LayerShape, Configuration]]) -> None:
        """Begin to compile in parallel; what was begun before and not measured is given up."""
        for future in self._compiling.values():
            future.cancel()
        self._compiling.clear()
        if self._compiler is None:
            return
        device = self._executor.prepared.device
        plan = self._executor.prepared.plan
        tasks = [
            compile_task(layer, choice, device, plan.follower(layer))
            for layer, choice in ((self._layers[shape], choice) for shape, choice in wanted)
        ]
        for (shape, choice), future in zip(wanted, self._compiler.submit(tasks), strict=True):
            self._compiling[shape, choice.id] = future

    def seconds(self, shape: LayerShape, configuration: Configuration, stop_above: float) -> float:
        """Median seconds of one launch; infinity where it failed or is above `stop_above`."""
        future = self._compiling.pop((shape, configuration.id), None)
        failure = None if future is None else outcome(future)
        if failure is not None:
            self.failures[shape, configuration.id] = failure
            return math.inf
        layer = self._layers[shape]

        def run() -> None:
            self._executor.run_layer(layer, configuration)

        try:
            run()
            if timed_once(run) > 2 * stop_above + 1e-3:
                return math.inf
            return timed_graph(run, _LAUNCHES if self._executor.images > _FEW else _MANY_LAUNCHES)
        except (OutOfResources, CompilationError, RuntimeError) as error:
            self.failures[shape, configuration.id] = f"{type(error).__name__}: {error}"
            return math.inf


def network_seconds(executor: Executor) -> float:
    """Median seconds of one replay of the network's graph."""
    return streams_seconds([executor])


def streams_seconds(executors: Sequence[Executor]) -> float:
    """Median seconds in which every executor's graph is replayed once, each on its own stream."""
    streams = [_stream() for _ in executors]
    for executor in executors:
        executor.capture()

    def together() -> None:
        main = torch.cuda.current_stream()
        for stream, executor in zip(streams, executors, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                for _ in range(count):
                    executor.replay()
        for stream in streams:
            main.wait_stream(stream)

    count = 1
    together()
    torch.cuda.synchronize()
    once = timed_once(together)
    count = max(3, math.ceil(_NETWORK_SECONDS / _NETWORK_REPLAYS / once))
    spent = [timed_once(together) / count for _ in range(_NETWORK_REPLAYS)]
    return statistics.median(spent)
