"""NVIDIA's CUDA in the few pieces that an engine needs: memory, streams, events, graphs, kernels.

Always device 0: a worker sees no GPU but its own. Calls that wait do so without Python's lock.
Handles and addresses are plain integers. What is opened must be closed; the process's end closes
the rest.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import driver, runtime
from numpy.typing import NDArray

from autosinian.errors import InputError, TrialFailure

_MAPPED = 2  # cudaHostAllocMapped
_NON_BLOCKING = 1  # cudaStreamNonBlocking
_NO_TIMING, _BLOCKING = 2, 1  # cudaEventDisableTiming, cudaEventBlockingSync


def checked(result: tuple[Any, ...]) -> Any:
    """What a call of the runtime or the driver gives beside its status.

    Raises `TrialFailure` where GPU memory ran out, `RuntimeError` for anything else that failed.
    """
    status, *values = result
    if int(status) != 0:
        _raise(status)
    return values[0] if len(values) == 1 else tuple(values) if values else None


def _raise(status: Any) -> None:
    runtime.cudaGetLastError()  # else a later, harmless call would be taken for the failed one
    if status.name in ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY"):
        raise TrialFailure(
            "performance",
            f"GPU out of memory{_memory()}; take a smaller batch size or fewer streams",
        )
    if isinstance(status, driver.CUresult):
        text = driver.cuGetErrorString(status)[1]
    else:
        text = runtime.cudaGetErrorString(status)[1]
    told = text.decode() if isinstance(text, bytes) else "unknown"
    raise RuntimeError(f"CUDA failed: {told} ({status.name})")


def _memory() -> str:
    status, *values = runtime.cudaMemGetInfo()
    if int(status) != 0:
        return ""
    free, total = values
    return f": {free >> 20} MiB of {total >> 20} MiB are free"


_thread = threading.local()


def start() -> None:
    """Take device 0 in this thread. Raises `InputError` where this process can use none.

    The runtime's calls do it themselves; the driver's need it once in each thread.
    """
    (status,) = runtime.cudaSetDevice(0)
    if int(status) != 0:
        text = runtime.cudaGetErrorString(status)[1].decode()
        raise InputError(
            f"an NVIDIA GPU must be usable, but CUDA says: {text}; look at `nvidia-smi`, or choose "
            "an engine for the processor"
        )
    _thread.started = True


class Stream:
    """A queue of work on the device."""

    def __init__(self) -> None:
        self._handle = checked(runtime.cudaStreamCreateWithFlags(_NON_BLOCKING))
        self.handle = int(self._handle)

    def wait_for(self, event: "Event") -> None:
        """Have what comes next wait for `event`, as it was last recorded."""
        checked(runtime.cudaStreamWaitEvent(self._handle, event.raw, 0))

    def synchronize(self) -> None:
        """Return when everything in the stream is done."""
        checked(runtime.cudaStreamSynchronize(self._handle))

    def close(self) -> None:
        """Give the stream back."""
        checked(runtime.cudaStreamDestroy(self._handle))

    @property
    def raw(self) -> Any:
        """The handle as CUDA's bindings take it fastest."""
        return self._handle

    def capture(self, work: Callable[[], None]) -> "Graph":
        """What `work` puts into this stream, as a graph; nothing runs."""
        # Thread-local: other sessions of this process may allocate meanwhile.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(runtime.cudaStreamBeginCapture(self._handle, mode))
        try:
            work()
        except BaseException:
            runtime.cudaStreamEndCapture(self._handle)
            raise
        graph = checked(runtime.cudaStreamEndCapture(self._handle))
        try:
            return Graph(checked(runtime.cudaGraphInstantiateWithFlags(graph, 0)))
        finally:
            checked(runtime.cudaGraphDestroy(graph))


class Event:
    """A point in a stream. `spinning` waits answer soonest and keep a core busy."""

    def __init__(self, *, spinning: bool = True) -> None:
        flags = _NO_TIMING | (0 if spinning else _BLOCKING)
        self.raw = checked(runtime.cudaEventCreateWithFlags(flags))
        self.handle = int(self.raw)

    def record(self, stream: Stream) -> None:
        """Move the event behind everything in `stream` so far."""
        checked(runtime.cudaEventRecord(self.raw, stream.raw))

    def synchronize(self) -> None:
        """Return when everything before the event is done; raises what went wrong there."""
        checked(runtime.cudaEventSynchronize(self.raw))

    def close(self) -> None:
        """Give the event back."""
        checked(runtime.cudaEventDestroy(self.raw))


class Graph:
    """Captured work, started by one call."""

    def __init__(self, executable: Any) -> None:
        self._executable = executable
        self.handle = int(executable)

    def launch(self, stream: Stream) -> None:
        """Put the whole graph into `stream`."""
        checked(runtime.cudaGraphLaunch(self._executable, stream.raw))

    def upload(self, stream: Stream) -> None:
        """Bring the graph to the device beforehand, so that its first launch is as fast as any."""
        checked(runtime.cudaGraphUpload(self._executable, stream.raw))

    def close(self) -> None:
        """Give the graph back."""
        checked(runtime.cudaGraphExecDestroy(self._executable))


class DeviceBuffer:
    """`size` bytes of the GPU's memory, all 0, aligned to 256."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.address = int(checked(runtime.cudaMalloc(max(size, 1))))
        checked(runtime.cudaMemset(self.address, 0, max(size, 1)))
        # A memset may end after its call, and no other stream would wait for it.
        checked(runtime.cudaStreamSynchronize(0))

    def write(self, content: NDArray[np.generic], offset: int = 0) -> None:
        """Copy a contiguous array to `offset`, in bytes, and wait for it."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        target = self.address + offset
        checked(runtime.cudaMemcpy(target, content.ctypes.data, content.nbytes, kind))
        # From pageable memory the call may end before its last part has arrived, and no other
        # stream would wait for that.
        checked(runtime.cudaStreamSynchronize(0))

    def close(self) -> None:
        """Free it."""
        checked(runtime.cudaFree(self.address))


class PinnedBuffer:
    """`size` bytes of host memory, all 0, that the GPU reads and writes at the same address."""

    def __init__(self, size: int) -> None:
        self.size = size
        status, address = runtime.cudaHostAlloc(max(size, 1), _MAPPED)
        if status == runtime.cudaError_t.cudaErrorMemoryAllocation:
            raise TrialFailure(
                "performance",
                f"host memory for the GPU to read must have room for {size >> 20} MiB more; take "
                "fewer samples or a smaller batch size",
            )
        self.address = int(checked((status, address)))
        ctypes.memset(self.address, 0, max(size, 1))

    def view(self, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
        """The first bytes as an array; it must not be used after `close`."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.ctypeslib.as_array((ctypes.c_byte * count).from_address(self.address))
        whole: NDArray[Any] = raw.view(dtype).reshape(shape)
        return whole

    def close(self) -> None:
        """Free it."""
        checked(runtime.cudaFreeHost(self.address))


def copy_to_host(target: PinnedBuffer, source: DeviceBuffer, size: int, stream: Stream) -> None:
    """Have `stream` copy the first `size` bytes of `source` to `target`."""
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    checked(runtime.cudaMemcpyAsync(target.address, source.address, size, kind, stream.raw))


class Kernel:
    """A function of a PTX text; the driver compiles it for the GPU at hand."""

    def __init__(self, ptx: str, name: str) -> None:
        self._module = checked(driver.cuModuleLoadData(ptx.encode() + b"\0"))
        self._function = checked(driver.cuModuleGetFunction(self._module, name.encode()))

    def launcher(
        self, grid: tuple[int, int], block: int, *arguments: "ctypes._SimpleCData[Any]"
    ) -> Callable[[Stream], None]:
        """A call that puts this launch into a stream. The arguments are packed once, here."""
        pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        address, function = ctypes.addressof(pointers), self._function

        def launch(stream: Stream, kept: object = (pointers, arguments)) -> None:
            if not hasattr(_thread, "started"):
                start()
            checked(
                driver.cuLaunchKernel(
                    function, grid[0], grid[1], 1, block, 1, 1, 0, stream.handle, address, 0
                )
            )

        return launch

    def close(self) -> None:
        """Unload it."""
        checked(driver.cuModuleUnload(self._module))
