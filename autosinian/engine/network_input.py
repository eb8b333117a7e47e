"""How a network wants its samples: float32, float16, or int8 with one scale."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
}


@dataclass(frozen=True)
class NetworkInput:
    """`kind` is `float32`, `float16` or `int8`; `scale` is the int8 step; `shape` is `C x H x W`.

    Samples are given in float32 and converted once, when they are placed or staged.
    """

    kind: str
    shape: tuple[int, int, int]
    scale: float = 1.0

    @property
    def dtype(self) -> type[np.generic]:
        """`kind` for numpy."""
        return _TYPES[self.kind]

    @property
    def sample_bytes(self) -> int:
        """Size of one sample."""
        return math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)

    def convert(self, samples: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Write `samples`, `n x C x H x W`, to `out` of the same shape.

        int8 is `round(sample / scale)`, halves to even, clipped to -127 to 127: symmetric, as
        QuantizeLinear and TensorRT's calibrated ranges do it.
        """
        if self.kind == "int8":
            whole = np.divide(samples, np.float32(self.scale))
            np.rint(whole, out=whole)
            np.clip(whole, -127, 127, out=whole)
            np.copyto(out, whole, casting="unsafe")
        else:
            np.copyto(out, samples, casting="same_kind")

    def converted(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """`samples` as the network reads them, contiguous."""
        out = np.empty(samples.shape, self.dtype)
        self.convert(samples, out)
        return out
