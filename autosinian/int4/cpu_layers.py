"""The layers on the processor: patches, pooling and fixed-point rescaling of int32 sums in place.

Maps are int8, `N x H x W x C`; sums are int32, `rows x C`, one row a pixel.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from autosinian.int4.exact_gemm import ExactWeights
from autosinian.int4.network import Conv, MaxPool, Quantize

_OUTPUT_RANGES = {"u4": (0, 15), "u7": (0, 127), "s8": (-127, 127)}


class Convolution:
    """A convolution as rows of patches times a matrix; its bias is left to what follows."""

    def __init__(self, conv: Conv) -> None:
        self.conv = conv
        # Patches hold R x S x C, so the weights follow them.
        order = np.ascontiguousarray(conv.weight.transpose(0, 2, 3, 1))
        self.weights = ExactWeights(order.reshape(conv.out_channels, -1))

    def rows(self, maps: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """`rows x (R S C)` patches of `maps`, and height and width of the result."""
        count, height, width, channels = maps.shape
        (r, s), (pad_y, pad_x), (step, _) = (
            self.conv.kernel_size,
            self.conv.padding,
            self.conv.stride,
        )
        high, wide = self.conv.output_size(height, width)
        if pad_y or pad_x:
            maps = pad(maps, (0, 0, pad_x, pad_x, pad_y, pad_y))
        of_image, of_row, of_pixel, _ = maps.stride()
        windows = maps.as_strided(
            (count, high, wide, r, s * channels),
            (of_image, step * of_row, step * of_pixel, of_row, 1),
        )
        return windows.reshape(count * high * wide, r * s * channels), (high, wide)


class Rescale:
    """A Quantize on sums that lack `bias`, in place; `wide` sums are multiplied in 64 bits."""

    def __init__(self, quantize: Quantize, bias: NDArray[np.int32] | None, *, wide: bool) -> None:
        self._type = torch.int64 if wide else torch.int32
        factor = quantize.factor.astype(np.int64)
        half = (1 << quantize.shift) >> 1
        offset = half + (0 if bias is None else bias.astype(np.int64) * factor)
        self._factor = torch.from_numpy(factor).to(self._type)
        self._offset = torch.from_numpy(np.broadcast_to(offset, factor.shape).copy()).to(self._type)
        self._shift = quantize.shift
        self._signed = quantize.input_type.startswith("s")
        self._range = _OUTPUT_RANGES.get(quantize.output_type)

    def __call__(self, sums: torch.Tensor) -> torch.Tensor:
        """The rescaled values, in the memory of `sums` where 32 bits suffice.

        A ReLU before it needs no step: factors are not negative, so that what the ReLU would make
        0 comes out below 1, and the clamp of an unsigned output makes it 0.
        """
        if sums.dtype == self._type:
            torch.addcmul(self._offset, sums, self._factor, out=sums)
        else:
            sums = torch.addcmul(self._offset, sums.to(self._type), self._factor)
        if self._shift:
            if self._signed:
                # Ties away from zero below it: (p - half) / 2^shift rounded up is
                # (p + half - 1) >> shift.
                half = (1 << self._shift) >> 1
                sums -= (sums < half).to(self._type)
            sums.bitwise_right_shift_(self._shift)
        if self._range is not None:
            sums.clamp_(*self._range)
        return sums


def max_pool(maps: torch.Tensor, pool: MaxPool) -> torch.Tensor:
    """The largest of each window; padded zeros never win, because the values are unsigned."""
    _, height, width, _ = maps.shape
    high, wide = pool.output_size(height, width)
    padding, stride = pool.padding, pool.stride
    if padding:
        maps = pad(maps, (0, 0, padding, padding, padding, padding))
    last_row, last_column = (high - 1) * stride + 1, (wide - 1) * stride + 1
    rows = maps[:, :last_row:stride]
    for step in range(1, pool.kernel_size):
        rows = torch.maximum(rows, maps[:, step : step + last_row : stride])
    out = rows[:, :, :last_column:stride]
    for step in range(1, pool.kernel_size):
        out = torch.maximum(out, rows[:, :, step : step + last_column : stride])
    return out


def average_pool(maps: torch.Tensor) -> torch.Tensor:
    """The integer mean over each whole map, to nearest: int8, `N x C`."""
    values = maps.shape[1] * maps.shape[2]
    total = maps.sum((1, 2), dtype=torch.int32)
    return total.add_(values // 2).floor_divide_(values).to(torch.int8)
