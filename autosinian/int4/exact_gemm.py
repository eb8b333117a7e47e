"""Exact int8 matrix products from a library that may saturate: oneDNN, through torch.

On processors without VNNI or AMX, oneDNN shifts signed inputs to 0..255 and adds pairs of products
in 16 bits, which saturate: 2 x 255 x 127 > 32767. Weights of magnitude 64 at most cannot
(2 x 255 x 64 = 32640), so that 4-bit weights are always exact, and larger ones are split into
`16 high + low` with high in -8..7 and low in 0..15: two products, each exact everywhere.
"""

import numpy as np
import torch
from numpy.typing import NDArray

_LARGEST_WHOLE = 64


class ExactWeights:
    """The right-hand side of products `M x K` times `K x N`, prepared once."""

    def __init__(self, weight: NDArray[np.int8]) -> None:
        """`weight` is `N x K`."""
        self.columns, self.depth = weight.shape
        self._parts: tuple[torch.Tensor, ...]
        if np.abs(weight.astype(np.int16)).max(initial=0) <= _LARGEST_WHOLE:
            self._parts = (torch.from_numpy(np.array(weight)).t(),)
        else:
            # Arithmetic shift and mask: 16 * (w >> 4) + (w & 15) == w for negative w too.
            self._parts = (
                torch.from_numpy(weight >> 4).t(),
                torch.from_numpy(weight & 15).t(),
            )

    def multiply(self, rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """`rows` (int8, `M x K`) times the weights, written to and returned as `out` (int32)."""
        torch._int_mm(rows, self._parts[0], out=out)
        if len(self._parts) == 2:
            out.bitwise_left_shift_(4).add_(torch._int_mm(rows, self._parts[1]))
        return out
