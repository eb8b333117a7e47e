"""Batches in torch: one lane in flight has static buffers, so that a CUDA graph can be replayed.

Samples are rows of a matrix, `N x (C * H * W)`, in the type and the memory layout in which the
network reads them: gathering a batch is then one copy of whole rows, on the host or the device.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.engine.network_input import NetworkInput

Network = Callable[[torch.Tensor], torch.Tensor]


@runtime_checkable
class RowNetwork(Protocol):
    """A network that also reads samples where they are placed, so that no lane gathers them."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, `n x classes`, of `images`, `n x C x H x W`."""
        ...

    def of_rows(self, placed: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Logits, `n x classes`, of the rows `numbers` (int64, `n`) of `placed`, `N x row`."""
        ...


@dataclass(frozen=True)
class Layout:
    """How samples lie in memory: `input_shape` is `C x H x W`.

    `step`, for int8 alone, is what float samples are divided by before they are rounded.
    """

    input_shape: tuple[int, int, int]
    dtype: torch.dtype
    channels_last: bool
    step: float | None = None

    @property
    def row(self) -> int:
        """Number of values of one sample."""
        channels, height, width = self.input_shape
        return channels * height * width

    def images(self, rows: torch.Tensor) -> torch.Tensor:
        """`rows`, `n x row`, seen as `n x C x H x W`."""
        channels, height, width = self.input_shape
        if self.channels_last:
            return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return rows.view(-1, channels, height, width)

    def fill(self, rows: torch.Tensor, samples: NDArray[Any]) -> None:
        """Write `samples`, `n x C x H x W`, to `rows`, `n x row`; int8 ones are taken as steps."""
        if self.step is not None and samples.dtype == np.float32:
            samples = NetworkInput("int8", self.input_shape, self.step).converted(samples)
        self.images(rows).copy_(as_tensor(samples))


def in_words(rows: torch.Tensor) -> torch.Tensor:
    """`rows`, `n x row`, as 8-byte words where they are whole ones: torch gathers by the element,
    so that bytes take eight times as long.
    """
    whole = rows.shape[1] * rows.element_size() % torch.int64.itemsize == 0
    return rows.view(torch.int64) if whole else rows


@dataclass
class Placed:
    """The samples that lanes select from, `N x row`; none at first."""

    rows: torch.Tensor | None = None


@dataclass(frozen=True)
class Batches:
    """What all lanes of a session share.

    `networks` has one network for each batch size that is prepared for, ascending.
    """

    networks: dict[int, Network]
    layout: Layout
    classes: int
    placed: Placed = field(default_factory=Placed)

    @property
    def batch_size(self) -> int:
        """The largest."""
        return max(self.networks)

    def size_for(self, count: int) -> int:
        """The smallest prepared batch size that holds `count` samples."""
        return next(size for size in self.networks if size >= count)


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """`array` itself as a tensor where torch can read its memory, else a copy."""
    if array.flags.writeable and array.flags.c_contiguous:
        return torch.from_numpy(array)
    return torch.from_numpy(np.array(array))


class CpuLane:
    """Computes in the thread that waits for it, so that streams run at once.

    `threads` is how many threads of the processor one batch is computed with.
    """

    def __init__(self, batches: Batches, threads: int) -> None:
        self._batches, self._threads = batches, threads
        layout, size = batches.layout, batches.batch_size
        self._input = torch.zeros(size, layout.row, dtype=layout.dtype)
        self._rows = torch.zeros(size, dtype=torch.int64)
        self._logits = torch.zeros(size, batches.classes)
        self._staged: NDArray[Any] | None = None
        self._count, self._placed = 0, False

    def stage(self, inputs: NDArray[np.float32]) -> None:
        """Remember `inputs`: they stay unchanged until the lane has finished."""
        self._staged = inputs

    def select(self, rows: NDArray[np.int64]) -> None:
        """Copy the numbers of the placed samples that make the batch."""
        self._rows[: len(rows)] = torch.from_numpy(rows)

    def start(self, count: int, *, placed: bool) -> None:
        """Only note what is to be done."""
        self._count, self._placed = count, placed

    def finish(self) -> None:
        """Compute the batch."""
        use_threads(self._threads)
        size = self._batches.size_for(self._count)
        # Outside: a tensor made inside is of another kind, and would be compiled for once more.
        images = self._images(size)
        with torch.inference_mode():
            self._logits[:size].copy_(self._batches.networks[size](images))

    def logits(self, count: int) -> NDArray[np.float32]:
        """`count x classes`, in the lane's own memory."""
        logits: NDArray[np.float32] = self._logits[:count].numpy()
        return logits

    def release(self) -> None:
        """Nothing to free before the lane itself goes."""

    def _images(self, size: int) -> torch.Tensor:
        """The batch, `size x C x H x W`; what is beyond `count` is left from earlier batches."""
        layout, count = self._batches.layout, self._count
        given = self._input[:count]
        if self._placed:
            assert self._batches.placed.rows is not None
            torch.index_select(self._batches.placed.rows, 0, self._rows[:count], out=given)
        else:
            assert self._staged is not None
            staged, self._staged = self._staged, None
            if count == size and layout.dtype == torch.float32 and not layout.channels_last:
                return as_tensor(staged)
            layout.fill(given, staged)
        return layout.images(self._input[:size])


_used = threading.local()


def use_threads(threads: int) -> None:
    """Have this thread compute with so many; OpenMP keeps the number for each thread."""
    if getattr(_used, "threads", None) != threads:
        torch.set_num_threads(threads)
        _used.threads = threads
