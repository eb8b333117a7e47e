"""Batches in torch on a GPU: pinned buffers, copy streams, one CUDA graph for each batch size."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.engine.device_session import waits_asleep
from autosinian.engine.torch_lane import Batches, RowNetwork, in_words
from autosinian.native.lanes import NativeLane

# The first run of a shape chooses kernels and allocates workspaces, which no capture may do.
_WARMUP_RUNS = 2

Run = Callable[[], None]


class GpuLane:
    """One batch in flight on `stream`.

    Host memory is pinned. Samples go over by `copy_stream`, or by `stream` where it is None;
    `resident` ones lie on the device already, and only their numbers go over. With `pool`, which
    all lanes of a stream share, batches are replayed as CUDA graphs from that memory pool. Long
    batches are waited for asleep, unless the lane is `spinning`.
    """

    def __init__(
        self,
        batches: Batches,
        stream: torch.cuda.Stream,
        copy_stream: torch.cuda.Stream | None,
        *,
        resident: bool,
        pool: Any,
        spinning: bool = False,
    ) -> None:
        self._batches, self._stream, self._copy_stream = batches, stream, copy_stream
        self._resident, self._pool = resident, pool
        layout, size, device = batches.layout, batches.batch_size, stream.device
        self._staging: torch.Tensor | None = None
        self._input = torch.zeros(size, layout.row, dtype=layout.dtype, device=device)
        self._rows = torch.zeros(size, dtype=torch.int64, pin_memory=True)
        self._device_rows = torch.zeros(size, dtype=torch.int64, device=device)
        self._logits = torch.zeros(size, batches.classes, pin_memory=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        # What wakes a sleeping thread takes longer than a small batch. Both stay: their handles are
        # with the compiled systems under test.
        self._spun_for = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._slept_for = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._done, self._spinning = self._spun_for, spinning
        self._runs: dict[tuple[int, bool], Run] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        torch.cuda.synchronize(device)
        if not resident:
            self._staged()
            self.prepare(resident=False)

    def prepare(self, *, resident: bool) -> None:
        """Run every batch size, and capture it where graphs are wanted.

        Again after `resident` samples have got other memory; each graph goes when its successor
        is there, for a pool without graphs is gone. The largest comes first: the others then fit
        into its memory.
        """
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for size in sorted(self._batches.networks, reverse=True):
                for _ in range(_WARMUP_RUNS):
                    self._compute(size, resident)
                self._stream.synchronize()
                if size == self._batches.batch_size and not self._spinning:
                    self._choose_wait(size, resident)
                if self._pool is None:
                    self._runs[size, resident] = self._eager(size, resident)
                else:
                    self._runs[size, resident] = self._captured(size, resident, self._pool)
            self._stream.synchronize()
        if self._pool is not None:
            # Graphs have memory of their own; that of the first runs is not needed again.
            torch.cuda.empty_cache()

    def stage(self, inputs: NDArray[np.float32]) -> None:
        """Copy `inputs` to pinned memory, in the network's type and layout."""
        if (self._batches.batch_size, False) not in self._runs:
            # Where samples are resident, few ever come this way.
            self.prepare(resident=False)
        self._batches.layout.fill(self._staged()[: len(inputs)], inputs)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Gather placed samples in pinned memory, or only their numbers where they are resident."""
        if self._resident:
            count = len(rows)
            self._rows[:count] = torch.from_numpy(rows)
            # A number left there may be beyond the samples that are placed now.
            self._rows[count : self._batches.size_for(count)] = 0
        else:
            assert self._batches.placed.rows is not None
            torch.index_select(
                self._batches.placed.rows,
                0,
                torch.from_numpy(rows),
                out=self._staged()[: len(rows)],
            )

    @torch.inference_mode()
    def start(self, count: int, *, placed: bool) -> None:
        """Launch the copy and the batch; nothing here waits for the GPU."""
        resident = placed and self._resident
        run = self._runs[self._batches.size_for(count), resident]
        if not resident and self._copy_stream is not None:
            with torch.cuda.stream(self._copy_stream):
                self._input[:count].copy_(self._staged()[:count], non_blocking=True)
                self._copied.record()
            self._stream.wait_event(self._copied)
        with torch.cuda.stream(self._stream):
            if not resident and self._copy_stream is None:
                self._input[:count].copy_(self._staged()[:count], non_blocking=True)
            run()
            self._done.record()

    def finish(self) -> None:
        """Wait until the logits are in host memory."""
        self._done.synchronize()

    def logits(self, count: int) -> NDArray[np.float32]:
        """`count x classes`, in the lane's own pinned memory."""
        logits: NDArray[np.float32] = self._logits[:count].numpy()
        return logits

    def native(self) -> NativeLane | None:
        """The graphs of resident samples; None without them, or where torch does not tell them."""
        if not self._graphs or not hasattr(torch.cuda.CUDAGraph, "raw_cuda_graph_exec"):
            return None
        self._done.record(self._stream)  # an event has no handle before
        self._done.synchronize()
        return NativeLane(
            rows=self._rows.numpy().view(np.uint64),
            logits=self._logits.numpy(),
            graphs={size: int(graph.raw_cuda_graph_exec()) for size, graph in self._graphs.items()},
            stream=int(self._stream.cuda_stream),
            event=int(self._done.cuda_event),
        )

    def release(self) -> None:
        """Free graphs and buffers; nothing may be in flight."""
        self._runs.clear()
        self._graphs.clear()
        del self._input, self._device_rows, self._staging, self._rows

    def _staged(self) -> torch.Tensor:
        """Pinned samples of one batch; pinning takes long, and resident ones never come here."""
        if self._staging is None:
            layout, size = self._batches.layout, self._batches.batch_size
            self._staging = torch.zeros(size, layout.row, dtype=layout.dtype, pin_memory=True)
        return self._staging

    def _compute(self, size: int, resident: bool) -> None:
        """One batch on the current stream, from its samples on the device to pinned logits."""
        network, images = self._batches.networks[size], self._input[:size]
        placed, numbers = self._batches.placed.rows, self._device_rows[:size]
        if resident:
            assert placed is not None
            numbers.copy_(self._rows[:size], non_blocking=True)
        if resident and placed is not None and isinstance(network, RowNetwork):
            logits = network.of_rows(placed, numbers)
        else:
            if resident and placed is not None:
                torch.index_select(in_words(placed), 0, numbers, out=in_words(images))
            logits = network(self._batches.layout.images(images))
        self._logits[:size].copy_(logits.float(), non_blocking=True)

    def _choose_wait(self, size: int, resident: bool) -> None:
        """By how long a batch takes that has nothing left to prepare."""
        start = time.perf_counter()
        self._compute(size, resident)
        self._stream.synchronize()
        asleep = waits_asleep(time.perf_counter() - start)
        self._done = self._slept_for if asleep else self._spun_for

    def _eager(self, size: int, resident: bool) -> Run:
        return lambda: self._compute(size, resident)

    def _captured(self, size: int, resident: bool, pool: Any) -> Run:
        graph = torch.cuda.CUDAGraph()
        # Only this thread's mistakes end the capture: others may be waiting for events.
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            self._compute(size, resident)
        finally:
            graph.capture_end()
        if resident:
            self._graphs[size] = graph
        return graph.replay
