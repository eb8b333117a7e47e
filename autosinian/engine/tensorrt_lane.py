"""One batch in flight on TensorRT: gather its samples, run the network, bring the logits back."""

import time
from dataclasses import dataclass
from sys import stderr
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.engine import cuda
from autosinian.engine.device_session import waits_asleep
from autosinian.engine.gather import HOST_BLOCKS, Gather
from autosinian.engine.network_input import NetworkInput
from autosinian.engine.tensorrt_log import last_words, out_of_memory
from autosinian.engine.tensorrt_versions import capturable, new_context
from autosinian.errors import TrialFailure
from autosinian.native.lanes import NativeLane


@dataclass(frozen=True)
class Network:
    """A deserialized engine, the runtime that must outlive it, and what its tensors are.

    `scratch` bytes serve one context.
    """

    trt: Any
    log: Any
    runtime: Any
    engine: Any
    input: NetworkInput
    input_name: str
    output_name: str
    classes: int
    scratch: int
    dynamic: bool

    @property
    def sample_bytes(self) -> int:
        """Size of one sample as the network reads it."""
        return self.input.sample_bytes


class Placed:
    """The samples that `place` was given, as the network reads them, and where they lie."""

    def __init__(self, network_input: NetworkInput, *, on_device: bool) -> None:
        self.address = 0
        self._input, self._on_device = network_input, on_device
        self._buffer: cuda.DeviceBuffer | cuda.PinnedBuffer | None = None

    def place(self, samples: NDArray[np.float32]) -> None:
        """Convert `samples`, `N x C x H x W`, once, and keep them instead of those before."""
        self.close()
        size = len(samples) * self._input.sample_bytes
        buffer = cuda.DeviceBuffer(size) if self._on_device else cuda.PinnedBuffer(size)
        self._buffer, self.address = buffer, buffer.address
        step = max(1, _CHUNK_BYTES // self._input.sample_bytes)
        for first in range(0, len(samples), step):
            some = self._input.converted(samples[first : first + step])
            if isinstance(buffer, cuda.DeviceBuffer):
                buffer.write(some, first * self._input.sample_bytes)
            else:
                view = buffer.view(some.dtype.type, len(samples), *some.shape[1:])
                view[first : first + step] = some

    def close(self) -> None:
        """Free them."""
        if self._buffer is not None:
            self._buffer.close()
            self._buffer, self.address = None, 0


_CHUNK_BYTES = 32 << 20


class TensorRtLane:
    """See `autosinian.engine.device_session.Lane`.

    `sizes` are the batch sizes that it is prepared for, ascending. Lanes of one `stream` share
    its `scratch` memory. `copy_stream` gathers while the stream works on another lane's batch;
    without one the stream gathers itself. With `graphs` each batch is one launch (and a gather).
    `spinning` says how its batches are waited for; None chooses by how long they take.
    """

    def __init__(
        self,
        network: Network,
        gather: Gather,
        placed: Placed,
        sizes: tuple[int, ...],
        stream: cuda.Stream,
        scratch: cuda.DeviceBuffer,
        copy_stream: cuda.Stream | None,
        *,
        graphs: bool,
        spinning: bool | None,
        blocks: int = HOST_BLOCKS,
    ) -> None:
        largest = sizes[-1]
        self._network, self._placed, self._sizes = network, placed, sizes
        self._stream, self._copy_stream = stream, copy_stream
        self._inputs = cuda.DeviceBuffer(largest * network.sample_bytes)
        self._outputs = cuda.DeviceBuffer(largest * network.classes * 4)
        self._staged: cuda.PinnedBuffer | None = None
        self._results = cuda.PinnedBuffer(largest * network.classes * 4)
        self._addresses = cuda.PinnedBuffer(largest * 8)
        self._address_view = self._addresses.view(np.uint64, largest)
        self._logits = self._results.view(np.float32, largest, network.classes)
        self._gathered = cuda.Event()
        self._gathers = {
            size: gather.launcher(self._addresses, self._inputs, network.sample_bytes, size, blocks)
            for size in sizes
        }
        self._contexts = {size: self._context(size, scratch) for size in sizes}
        self._graphs: dict[int, cuda.Graph] = {}
        for size in sizes:
            # Unlike the first, later runs neither allocate nor wait: what a graph demands.
            self._run(size)
            stream.synchronize()
            if graphs and not capturable(self._contexts[size], stream.handle):
                print(f"batch {size} runs without a CUDA graph: TensorRT allows none", file=stderr)
            elif graphs:
                self._graphs[size] = stream.capture(lambda size=size: self._work(size))  # type: ignore[misc]
                self._graphs[size].upload(stream)
        stream.synchronize()
        if spinning is None:
            start = time.perf_counter()
            self._run(largest)
            stream.synchronize()
            spinning = not waits_asleep(time.perf_counter() - start)
        self._done = cuda.Event(spinning=spinning)

    def stage(self, inputs: NDArray[np.float32]) -> None:
        """Convert `inputs`, `n x C x H x W`, into pinned memory."""
        network_input = self._network.input
        if self._staged is None:
            self._staged = cuda.PinnedBuffer(self._sizes[-1] * network_input.sample_bytes)
        view = self._staged.view(network_input.dtype, self._sizes[-1], *network_input.shape)
        network_input.convert(inputs, view[: len(inputs)])
        self._select(np.arange(len(inputs), dtype=np.int64), self._staged.address)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Have `start` read the placed samples `rows`."""
        self._select(rows, self._placed.address)

    def start(self, count: int, *, placed: bool) -> None:
        """Begin on the first `count` samples chosen; returns without waiting."""
        size = next(size for size in self._sizes if size >= count)
        if self._copy_stream is not None:
            self._gathers[size](self._copy_stream)
            self._gathered.record(self._copy_stream)
            self._stream.wait_for(self._gathered)
        if size in self._graphs:
            self._graphs[size].launch(self._stream)
        else:
            self._work(size)
        self._done.record(self._stream)

    def finish(self) -> None:
        """Wait for what was started."""
        self._done.synchronize()

    def logits(self, count: int) -> NDArray[np.float32]:
        """`count x classes` of the finished batch, in the lane's own memory."""
        return self._logits[:count]

    def native(self) -> NativeLane | None:
        """The graphs with their buffers; None where a copy stream or no graph is used."""
        if self._copy_stream is not None or set(self._graphs) != set(self._sizes):
            return None
        return NativeLane(
            rows=self._address_view,
            logits=self._logits,
            row_scale=self._network.sample_bytes,
            row_base=self._placed.address,
            graphs={size: graph.handle for size, graph in self._graphs.items()},
            stream=self._stream.handle,
            event=self._done.handle,
        )

    def close(self) -> None:
        """Free the lane; nothing of it may be running."""
        for graph in self._graphs.values():
            graph.close()
        # Contexts go before the memory that they work in.
        self._graphs.clear()
        self._contexts.clear()
        del self._logits, self._address_view
        for part in (self._inputs, self._outputs, self._results, self._addresses, self._staged):
            if part is not None:
                part.close()
        self._done.close()
        self._gathered.close()

    def _select(self, rows: NDArray[np.int64], base: int) -> None:
        count = len(rows)
        chosen = self._address_view[:count]
        np.multiply(rows, self._network.sample_bytes, out=chosen, casting="unsafe")
        chosen += np.uint64(base)
        # What a padded batch holds beyond is of no consequence, and need not be read.
        self._address_view[count:] = 0

    def _run(self, size: int) -> None:
        if self._copy_stream is not None:
            self._gathers[size](self._copy_stream)
            self._copy_stream.synchronize()
        self._work(size)

    def _work(self, size: int) -> None:
        """Put what the stream itself does for a batch of `size` into it."""
        if self._copy_stream is None:
            self._gathers[size](self._stream)
        if not self._contexts[size].execute_async_v3(self._stream.handle):
            raise self._refused("run the network")
        size_bytes = size * self._network.classes * 4
        cuda.copy_to_host(self._results, self._outputs, size_bytes, self._stream)

    def _refused(self, what: str) -> Exception:
        log = self._network.log
        words = f"TensorRT did not {what}: {last_words(log)}"
        if out_of_memory(log):
            return TrialFailure("performance", f"GPU out of memory: {words}")
        return RuntimeError(words)

    def _context(self, size: int, scratch: cuda.DeviceBuffer) -> Any:
        network = self._network
        context = new_context(network.trt, network.engine, scratch.address, scratch.size)
        if context is None:
            raise self._refused("give an execution context")
        if network.dynamic and context.active_optimization_profile != 0:
            context.set_optimization_profile_async(0, self._stream.handle)
            self._stream.synchronize()
        if network.dynamic:
            context.set_input_shape(network.input_name, (size, *network.input.shape))
        context.set_tensor_address(network.input_name, self._inputs.address)
        context.set_tensor_address(network.output_name, self._outputs.address)
        return context
