"""The kernel of `gather.cu`: collects the samples of a batch from wherever they lie."""

import ctypes
from collections.abc import Callable
from importlib.resources import files

from autosinian.engine.cuda import DeviceBuffer, Kernel, PinnedBuffer, Stream

_THREADS = 256
_BYTES_A_BLOCK = 16 * 4 * _THREADS
# Enough to fill the bus (what is in flight: blocks x 16 KiB; PCIe 5 needs about 100 KiB), and few
# enough to leave the multiprocessors to the network.
HOST_BLOCKS = 24
# The device's own memory is faster by far, so more of them are needed to keep up with it.
DEVICE_BLOCKS = 128


class Gather:
    """Loaded once a session; `launcher` then serves one lane."""

    def __init__(self) -> None:
        text = (files("autosinian.engine") / "gather.ptx").read_text()
        self._kernel = Kernel(text, "gather")

    def launcher(
        self, addresses: PinnedBuffer, out: DeviceBuffer, sample_bytes: int, rows: int, blocks: int
    ) -> Callable[[Stream], None]:
        """A call that has a stream fill the first `rows` samples of `out`.

        `addresses` holds one `uint64` a row, read when the kernel runs; 0 leaves the row as it is.
        At most about `blocks` blocks work on it.
        """
        return self._kernel.launcher(
            grid(sample_bytes, rows, blocks),
            _THREADS,
            ctypes.c_uint64(addresses.address),
            ctypes.c_uint64(out.address),
            ctypes.c_uint64(sample_bytes),
            ctypes.c_uint32(rows),
        )

    def close(self) -> None:
        """Unload the kernel."""
        self._kernel.close()


def grid(sample_bytes: int, rows: int, blocks: int) -> tuple[int, int]:
    """Blocks along a sample's bytes and along the rows, about `blocks` in all."""
    along_rows = min(rows, blocks)
    along_bytes = min(-(-sample_bytes // _BYTES_A_BLOCK), max(1, blocks // along_rows))
    return max(1, along_bytes), along_rows
