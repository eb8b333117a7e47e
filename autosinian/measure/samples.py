"""The samples of a job in memory: what LoadGen calls the query sample library."""

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError

# MLPerf's performance_sample_count for image classification.
_PERFORMANCE_SAMPLES = 1024
_PAGE_FLOATS = 4096 // 4


class Samples:
    """Inputs `N x C x H x W` float32, memory-mapped, and labels `N` int64 where there are any.

    With `int8` the inputs may be int8 as well, for a session that takes such samples.
    """

    def __init__(
        self,
        inputs: Path,
        labels: Path | None,
        shape: tuple[int, int, int],
        *,
        int8: bool = False,
    ) -> None:
        try:
            # Copy-on-write: nothing writes, but engines take only writable memory as it is.
            # As a plain array over the same memory: slicing `np.memmap` runs Python code.
            mapped = np.load(inputs, mmap_mode="c", allow_pickle=False)
            self._mapping: object = mapped.base
            self.inputs: NDArray[np.float32] = np.asarray(mapped)
            self.labels: NDArray[np.int64] | None = (
                None if labels is None else np.load(labels, allow_pickle=False)
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"samples must be .npy files, got {inputs}, {labels}: {error}"
            ) from error
        array = self.inputs
        known = array.dtype == np.float32 or (int8 and array.dtype == np.int8)
        if not known or array.shape[1:] != shape or len(array) == 0:
            raise InputError(
                f"inputs {inputs} must be float32{' or int8' * int8}, N x "
                f"{' x '.join(map(str, shape))} with N >= 1, "
                f"got {array.dtype}, {' x '.join(map(str, array.shape))}"
            )
        if self.labels is not None and self.labels.shape != (len(array),):
            raise InputError(
                f"labels {labels} must be one a sample ({len(array)}), got {self.labels.shape}"
            )

    @property
    def count(self) -> int:
        """Number of samples, `N`."""
        return len(self.inputs)

    @property
    def performance_count(self) -> int:
        """How many samples LoadGen keeps loaded during a performance run."""
        return min(self.count, _PERFORMANCE_SAMPLES)

    def load(self, indices: list[int]) -> None:
        """Bring samples into memory by touching each of their pages."""
        for index in indices:
            self.inputs[index].reshape(-1)[::_PAGE_FLOATS].sum()

    def release(self) -> None:
        """Give back the memory of what was loaded; a sample used again is read again.

        Else a run over all of a large set would grow to its size.
        """
        if isinstance(self._mapping, mmap.mmap):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def gather(
        self, indices: NDArray[np.int64], buffer: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The samples of `indices`, `n x C x H x W`: copied to the front of `buffer`, but one
        sample alone is given where it lies."""
        if len(indices) == 1:
            index = int(indices[0])
            return self.inputs[index : index + 1]
        batch = buffer[: len(indices)]
        # "clip" writes straight to `out` ("raise" goes through a copy); bounds are checked before.
        np.take(self.inputs, indices, axis=0, out=batch, mode="clip")
        return batch

    def check(self, indices: NDArray[np.int64]) -> None:
        """Raise `IndexError` for an index that is no sample's."""
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < self.count:
            raise IndexError(
                f"sample indices must be from 0 to {self.count - 1}, got "
                f"{int(indices.min())} to {int(indices.max())}"
            )
