"""The exact reference on the processor: integers only, a few images a thread at a time.

Each convolution's sums live in a piece of memory that stays in the processor's second-level cache
while they are rescaled, added to the residual and narrowed to int8.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.engine.torch_lane import as_tensor
from autosinian.int4.bounds import bounds
from autosinian.int4.cpu_layers import Convolution, Rescale, average_pool, max_pool
from autosinian.int4.exact_gemm import ExactWeights
from autosinian.int4.executor import check_images
from autosinian.int4.network import Bottleneck, Conv, Downsample, Network, Quantize, StemUnit

Step = Callable[[torch.Tensor], torch.Tensor]

_SUMS_BYTES = 512 << 10
_IMAGES_A_TASK = 4


class CpuExecutor:
    """See `autosinian.int4.executor.Executor`. `threads` work on different images."""

    def __init__(self, network: Network, threads: int | None = None) -> None:
        self.input_shape = network.input_shape
        self.classes = network.classes
        self._wide = set(bounds(network).wide())
        self._stem = [self._stem_unit(unit) for unit in network.stem]
        self._pool = network.max_pool
        self._blocks = [self._bottleneck(block) for block in network.blocks()]
        self._linear = ExactWeights(network.linear.weight)
        self._bias = torch.from_numpy(network.linear.bias.astype(np.int32))
        self._memory = threading.local()
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool_of_threads = ThreadPoolExecutor(
            self._threads, "int4", initializer=torch.set_num_threads, initargs=(1,)
        )

    def logits(self, images: NDArray[np.int8]) -> NDArray[np.int32]:
        """Logits before scaling, `N x classes`, of `images`, `N x C x H x W`."""
        check_images(images, self.input_shape)
        out = np.empty((len(images), self.classes), np.int32)
        size = min(_IMAGES_A_TASK, -(-len(images) // self._threads))
        starts = range(0, len(images), size)

        def run(start: int) -> None:
            out[start : start + size] = self._run(np.asarray(images[start : start + size]))

        for _ in self._pool_of_threads.map(run, starts):
            pass
        return out

    def close(self) -> None:
        """End the threads; a second call does nothing."""
        self._pool_of_threads.shutdown()

    def _run(self, images: NDArray[np.int8]) -> NDArray[np.int32]:
        with torch.inference_mode():
            maps = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
            for unit in self._stem:
                maps = unit(maps)
            maps = max_pool(maps, self._pool)
            for block in self._blocks:
                maps = block(maps)
            features = average_pool(maps)
            sums = torch.empty((len(features), self.classes), dtype=torch.int32)
            result: NDArray[np.int32] = (
                self._linear.multiply(features, sums).add_(self._bias).numpy()
            )
            return result

    def _stem_unit(self, unit: StemUnit) -> Step:
        convolution = Convolution(unit.conv)
        if unit.residual is None:
            return self._convolved(convolution, self._rescale(unit.quantize, unit.conv))
        bias = as_tensor(unit.conv.bias)
        residual, quantize = self._rescale(unit.residual), self._rescale(unit.quantize)

        def step(maps: torch.Tensor) -> torch.Tensor:
            own = maps.reshape(-1, maps.shape[-1])

            def finish(sums: torch.Tensor, part: slice) -> torch.Tensor:
                sums.add_(bias).clamp_min_(0)
                return quantize(sums.add_(residual(own[part].to(torch.int32))))

            return self._map(convolution, maps, finish)

        return step

    def _bottleneck(self, block: Bottleneck) -> Step:
        first = self._convolved(
            Convolution(block.conv1), self._rescale(block.quantize1, block.conv1)
        )
        second = self._convolved(
            Convolution(block.conv2), self._rescale(block.quantize2, block.conv2)
        )
        third, quantize = Convolution(block.conv3), self._rescale(block.quantize3, block.conv3)
        residual = self._residual(block.residual)

        def step(maps: torch.Tensor) -> torch.Tensor:
            rows_of_residual = residual(maps)

            def finish(sums: torch.Tensor, part: slice) -> torch.Tensor:
                return quantize(sums.add_(rows_of_residual(part)))

            return self._map(third, second(first(maps)), finish)

        return step

    def _residual(
        self, residual: Quantize | Downsample
    ) -> Callable[[torch.Tensor], Callable[[slice], torch.Tensor]]:
        """Of a block's input maps, then of a range of rows: what is added to these rows."""
        if isinstance(residual, Quantize):
            rescale = self._rescale(residual)

            def identity(maps: torch.Tensor) -> Callable[[slice], torch.Tensor]:
                rows = maps.reshape(-1, maps.shape[-1])
                return lambda part: rescale(rows[part].to(torch.int32))

            return identity
        convolution = Convolution(residual.conv)
        to_s8 = self._rescale(residual.to_s8, residual.conv)
        to_s32 = self._rescale(residual.to_s32)

        def downsample(maps: torch.Tensor) -> Callable[[slice], torch.Tensor]:
            rows, _ = convolution.rows(maps)
            return lambda part: to_s32(to_s8(self._sums(convolution, rows[part], "residual")))

        return downsample

    def _convolved(self, convolution: Convolution, rescale: Rescale) -> Step:
        return lambda maps: self._map(convolution, maps, lambda sums, _: rescale(sums))

    def _map(
        self,
        convolution: Convolution,
        maps: torch.Tensor,
        finish: Callable[[torch.Tensor, slice], torch.Tensor],
    ) -> torch.Tensor:
        rows, (height, width) = convolution.rows(maps)
        columns = convolution.weights.columns
        out = torch.empty((len(rows), columns), dtype=torch.int8)
        for part in _parts(len(rows), columns):
            out[part].copy_(finish(self._sums(convolution, rows[part], "sums"), part))
        return out.view(len(maps), height, width, columns)

    def _sums(self, convolution: Convolution, rows: torch.Tensor, use: str) -> torch.Tensor:
        columns = convolution.weights.columns
        memory = getattr(self._memory, use, None)
        if memory is None or memory.numel() < len(rows) * columns:
            memory = torch.empty(max(len(rows) * columns, _SUMS_BYTES // 4), dtype=torch.int32)
            setattr(self._memory, use, memory)
        out = memory[: len(rows) * columns].view(len(rows), columns)
        return convolution.weights.multiply(rows, out)

    def _rescale(self, quantize: Quantize, conv: Conv | None = None) -> Rescale:
        bias = None if conv is None else conv.bias
        return Rescale(quantize, bias, wide=quantize.name in self._wide)


def _parts(rows: int, columns: int) -> Iterator[slice]:
    step = max(16, _SUMS_BYTES // 4 // columns)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
