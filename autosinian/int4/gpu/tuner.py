"""Tuning of a network's kernels on the GPU at hand: measurements, cache and search put together."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from autosinian.int4.autoconfig import Autoconfig
from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu.chosen import as_autoconfig
from autosinian.int4.gpu.compiling import Compiler
from autosinian.int4.gpu.device import open_device
from autosinian.int4.gpu.executor import Executor, PreparedNetwork
from autosinian.int4.gpu.launch import kernels_version
from autosinian.int4.gpu.plan import plan
from autosinian.int4.gpu.timing import GpuLayerTimer, streams_seconds
from autosinian.int4.network import Network
from autosinian.int4.timing_cache import CachedTimer, KeptTimes, network_key
from autosinian.int4.tuning import LayerTimer, Ranking, exchange_jointly, rank_layers

Tell = Callable[[str], None]

_RANKING_SHARE = 0.6
_TOLD_EVERY = 50


@dataclass(frozen=True)
class Tuned:
    """Configurations by launch and images/s of the network: each layer's own best, then jointly."""

    choices: Mapping[str, Configuration]
    images_per_second_before: float
    images_per_second: float


class Tuner:
    """A network made ready on the GPU to be tuned; a context manager.

    `device` names the GPU. Raises `InputError` where there is none.
    """

    def __init__(self, network: Network, tell: Tell) -> None:
        self._device = open_device()
        self._plan = plan(network)
        self._prepared = PreparedNetwork(self._plan, self._device)
        self._compiler = Compiler()
        self._tell = tell
        self.device = self._device.name
        self.versions = self._device.versions() | {"kernels": kernels_version()}
        self.layers = {layer.name: layer.shape for layer in self._plan.convolutions()}

    def __enter__(self) -> "Tuner":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._compiler.close()

    def rank(self, batch: int, kept: KeptTimes, end: float = math.inf) -> Ranking:
        """Times of the candidates of each distinct shape, until `end` by the monotonic clock."""

        def timer() -> LayerTimer:
            return GpuLayerTimer(Executor(self._prepared, batch), self._compiler)

        def told(number: int, done: int, total: int) -> None:
            if done % _TOLD_EVERY == 0:
                self._tell(f"round {number}: {done} of {total} kernels measured")

        return rank_layers(
            list(self.layers.values()),
            batch,
            self._device.shared_bytes,
            CachedTimer(timer, kept, batch, self.versions),
            end - time.monotonic(),
            told,
        )

    def tune(self, batch: int, cache: Path, end: float) -> tuple[Tuned, Ranking]:
        """Rank, then exchange jointly, until `end`; what `cache` knows is not measured again."""
        kept = KeptTimes(cache)
        begin = time.monotonic()
        ranking = self.rank(batch, kept, begin + (end - begin) * _RANKING_SHARE)
        rates: list[float] = []

        def seconds(trial: Mapping[str, Configuration]) -> float:
            key = network_key(self.layers, trial, batch, 1, self.versions)
            known = kept.get(key)
            if known is None:
                known = batch / self.images_per_second(trial, batch)
                kept.keep(key, known, batch=batch)
            if not rates:
                self._tell(f"each layer's best: {batch / known:,.0f} images/s")
            rates.append(batch / known)
            return known

        def told(best: float, tried: int) -> None:
            if tried % _TOLD_EVERY == 0:
                self._tell(f"{tried} exchanges tried: {batch / best:,.0f} images/s")

        choices, spent = exchange_jointly(
            self.layers, ranking, seconds, time_limit_s=end - time.monotonic(), tell=told
        )
        return Tuned(choices, rates[0], batch / spent), ranking

    def images_per_second(
        self, choices: Mapping[str, Configuration], batch: int, streams: int = 1
    ) -> float:
        """Of whole networks as graphs, from device memory, on `streams` streams at once."""
        executors = [Executor(self._prepared, batch, choices) for _ in range(streams)]
        self._compiler.compile(executors[0].compile_tasks())
        for executor in executors:
            executor.input.random_(-127, 128)
        rate = batch * streams / streams_seconds(executors)
        del executors
        torch.cuda.empty_cache()
        return rate

    def autoconfig(self, choices: Mapping[str, Configuration]) -> Autoconfig:
        """The file's lines; the stem has none, and chained layers have one id."""
        return as_autoconfig(self._plan, choices)
