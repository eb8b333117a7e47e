"""Integer arithmetic of INT4 networks written down once more, in plain numpy int64, for tests."""

import numpy as np
from numpy.typing import NDArray

from autosinian.int4.network import (
    Bottleneck,
    Conv,
    Downsample,
    Linear,
    MaxPool,
    Network,
    Quantize,
    StemUnit,
)

Integers = NDArray[np.int64]


def convolve(conv: Conv, x: Integers) -> Integers:
    """`n x C x H x W` to `n x K x H' x W'`, bias included."""
    (rows, columns), (step_y, step_x) = conv.kernel_size, conv.stride
    pad_y, pad_x = conv.padding
    wide = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    height, width = conv.output_size(*x.shape[2:])
    total = np.zeros((len(x), conv.out_channels, height, width), np.int64)
    for row in range(rows):
        for column in range(columns):
            seen = wide[
                :,
                :,
                row : row + step_y * (height - 1) + 1 : step_y,
                column : column + step_x * (width - 1) + 1 : step_x,
            ]
            total += np.einsum(
                "nchw,kc->nkhw", seen, conv.weight[:, :, row, column].astype(np.int64)
            )
    biased: Integers = total + conv.bias[None, :, None, None]
    return biased


def rescale(quantize: Quantize, x: Integers) -> Integers:
    """Ties away from zero, then the clamp of the output type."""
    half = (1 << quantize.shift) >> 1
    factor = quantize.factor.astype(np.int64)[None, :, None, None]
    out = np.sign(x) * ((np.abs(x) * factor + half) >> quantize.shift)
    low, high = {"u4": (0, 15), "u7": (0, 127), "s8": (-127, 127)}.get(
        quantize.output_type, (-(2**31), 2**31 - 1)
    )
    clamped: Integers = out.clip(low, high)
    return clamped


def stem_unit(unit: StemUnit, x: Integers) -> Integers:
    """One step of the stem."""
    total = convolve(unit.conv, x).clip(min=0)
    if unit.residual is not None:
        total = total + rescale(unit.residual, x)
    return rescale(unit.quantize, total)


def pool(max_pool: MaxPool, x: Integers) -> Integers:
    """Largest of each window."""
    height, width = max_pool.output_size(*x.shape[2:])
    edge, step = max_pool.padding, max_pool.stride
    wide = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    windows = [
        wide[:, :, row : row + step * (height - 1) + 1 : step][
            ..., column : column + step * (width - 1) + 1 : step
        ]
        for row in range(max_pool.kernel_size)
        for column in range(max_pool.kernel_size)
    ]
    largest: Integers = np.max(windows, axis=0)
    return largest


def residual(carried: Quantize | Downsample, x: Integers) -> Integers:
    """What a block adds to conv3's accumulator."""
    if isinstance(carried, Downsample):
        return rescale(carried.to_s32, rescale(carried.to_s8, convolve(carried.conv, x)))
    return rescale(carried, x)


def bottleneck(block: Bottleneck, x: Integers) -> Integers:
    """One block."""
    y = rescale(block.quantize1, convolve(block.conv1, x).clip(min=0))
    y = rescale(block.quantize2, convolve(block.conv2, y).clip(min=0))
    total = convolve(block.conv3, y) + residual(block.residual, x)
    return rescale(block.quantize3, total.clip(min=0))


def head(linear: Linear, x: Integers) -> Integers:
    """Mean to nearest (half goes up) and the fully connected layer."""
    count = x.shape[2] * x.shape[3]
    mean = (x.sum((2, 3)) + count // 2) // count
    out: Integers = mean @ linear.weight.astype(np.int64).T + linear.bias
    return out


def logits(network: Network, images: NDArray[np.int8]) -> Integers:
    """The whole network."""
    x = images.astype(np.int64)
    for unit in network.stem:
        x = stem_unit(unit, x)
    x = pool(network.max_pool, x)
    for block in network.blocks():
        x = bottleneck(block, x)
    return head(network.linear, x)
