"""A network of integers as plain data: a ResNet of bottlenecks, layer by layer as in its folder.

All arithmetic is on integers; types are named as in the folder's `compute_mode`:

========  ===================  ===============================================================
name      range                used for
========  ===================  ===============================================================
`u4`      0 to 15              activations of 4-bit layers
`u7`      0 to 127             activations of layers kept in 8 bits, and of the last block
`s8`      -127 to 127          the image, and a residual between the two steps of a downsample
`s32`     32 bits              accumulators (`u31`: those after a ReLU)
========  ===================  ===============================================================

Eight-bit activations are unsigned of 7 bits, the type the published network has before its
average pool: they are s8 as well for tensor cores, and pairs of products with s8 weights stay
below 2^15, so that no processor's multiply-add saturates.

**Mixed precision.** Each convolution has its own `input_type` and `weight_bits`. What a
convolution reads is what the Quantize before it writes: `quantize1` for `conv2`, `quantize2` for
`conv3`, and the previous block's `quantize3` (the stem's last Quantize for the first block) for
`conv1`, the downsample convolution and an identity residual alike. Either of u4, u7 may meet
either of s4, s8.

**What a subnet of OFA-ResNet maps to.** Depths, widths and expansions are shapes. Its stem of
three convolutions is three `StemUnit`s, the second with a residual. An average pool 2 x 2 followed
by a 1 x 1 convolution is one 2 x 2 convolution of stride 2 whose four taps are equal (and whose
scale is a quarter): the same function, without a rounding in between, wherever the map's sides
are even. Any block may have an identity residual or a downsample, the first of a layer too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ACTIVATION_RANGES = {"u4": (0, 15), "u7": (0, 127), "s8": (-127, 127)}
"""Least and largest value of every type that a convolution may read."""


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution to s32 accumulators: cross-correlation, zero padding, no dilation, one group.

    `weight` is `K x C x R x S` and int8 also where `weight_bits` is 4 (then -8 to 7); `bias` is
    `K`, int32. `stride` and `padding` are (vertical, horizontal). `input_type` is `u4`, `u7` or
    `s8`; `bias_type` is how the folder stores the bias, `s16` or `s32`. `name` is the layer's file
    name, e.g. `layer1_0_conv1`.
    """

    name: str
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    stride: tuple[int, int]
    padding: tuple[int, int]
    weight_bits: int
    input_type: str
    bias_type: str = "s16"

    @property
    def input_bits(self) -> int:
        """Bits that an input value takes in memory: 4 or 8."""
        return 4 if self.input_type == "u4" else 8

    @property
    def in_channels(self) -> int:
        """`C`."""
        return int(self.weight.shape[1])

    @property
    def out_channels(self) -> int:
        """`K`."""
        return int(self.weight.shape[0])

    @property
    def kernel_size(self) -> tuple[int, int]:
        """`(R, S)`."""
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result for an input of these."""
        (r, s), (pad_y, pad_x) = self.kernel_size, self.padding
        return (
            (height + 2 * pad_y - r) // self.stride[0] + 1,
            (width + 2 * pad_x - s) // self.stride[1] + 1,
        )


@dataclass(frozen=True, eq=False)
class Quantize:
    """Fixed-point rescaling of each channel, `in * factor[c] / 2^shift`, ties away from zero.

    `out = sign(in) * ((|in| * factor[c] + half) >> shift)` with `half = (1 << shift) >> 1`, then
    clamped to the range of `output_type`. `factor` is `C`, int32, 0 to 65535 (u16 in the folder).
    `input_type`: `u31` after a ReLU, `s32`, `s8`, `u4`, `u7`; `output_type`: `u4`, `u7`, `s8`,
    `s32`, or `u31` for an identity residual.
    """

    name: str
    factor: NDArray[np.int32]
    shift: int
    input_type: str
    output_type: str

    @property
    def output_bits(self) -> int:
        """As the folder counts them, without the sign: 4, 7 (u7 and s8) or 31."""
        return {"u4": 4, "u7": 7, "s8": 7, "s32": 31, "u31": 31}[self.output_type]

    @property
    def signed(self) -> bool:
        """Whether the output may be negative."""
        return self.output_type.startswith("s")


@dataclass(frozen=True, eq=False)
class Downsample:
    """The residual of a block that changes shape: convolution, to s8, back to the sum's scale."""

    conv: Conv
    to_s8: Quantize
    to_s32: Quantize


@dataclass(frozen=True, eq=False)
class StemUnit:
    """One step of the stem: `quantize(relu(conv(x)) + residual(x))`.

    `residual`, of a unit that keeps the shape, rescales the unit's own input to the accumulator's
    scale (`u4u16u31` or `u7u16u31`); unlike in a bottleneck the ReLU comes before the sum.
    """

    conv: Conv
    quantize: Quantize
    residual: Quantize | None = None


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Largest value of a `kernel_size` square window; padding never wins."""

    kernel_size: int
    stride: int
    padding: int

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result for an input of these."""
        grown = 2 * self.padding - self.kernel_size
        return (height + grown) // self.stride + 1, (width + grown) // self.stride + 1


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """`q1(relu(conv1 x))`, `q2(relu(conv2 .))`, then `q3(relu(conv3 . + residual x))`.

    The sum is in the scale of `conv3`'s accumulator; there is no ReLU on either side before it.
    """

    conv1: Conv
    quantize1: Quantize
    conv2: Conv
    quantize2: Quantize
    conv3: Conv
    residual: Quantize | Downsample
    quantize3: Quantize

    @property
    def name(self) -> str:
        """The block's file name, e.g. `layer1_0`."""
        return self.conv1.name.removesuffix("_conv1")

    def convs(self) -> tuple[Conv, ...]:
        """The block's convolutions in autoconfig's order: downsample first where there is one."""
        own = (self.conv1, self.conv2, self.conv3)
        return (self.residual.conv, *own) if isinstance(self.residual, Downsample) else own


@dataclass(frozen=True, eq=False)
class Linear:
    """The last layer, u7 x s8 -> s32: `weight` `classes x C`, int8; `bias` `classes`, int32."""

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Network:
    """Image (s8, `N x 3 x H x W`) to logits before scaling (s32, `N x classes`).

    `stem`, `max_pool` on its output, `layers` of bottlenecks, an average pool over the whole
    `pool_size x pool_size` map rounded to nearest (`(sum + n // 2) // n` of n values; exactly half
    goes up, which an odd n never has), `linear`. Scaled logits are `logits / out_scale[class]`
    in float32. `line_end` is how the text files end their lines: `\\r\\n` as published, or `\\n`.

    Raises `InputError` for shapes, types or names that do not fit together.
    """

    stem: tuple[StemUnit, ...]
    max_pool: MaxPool
    layers: tuple[tuple[Bottleneck, ...], ...]
    pool_size: int
    linear: Linear
    out_scale: NDArray[np.float32]
    line_end: str = "\n"

    def __post_init__(self) -> None:
        from autosinian.int4.consistency import check_network

        check_network(self)

    @property
    def classes(self) -> int:
        """Length of a row of logits."""
        return int(self.linear.weight.shape[0])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`C x H x W` of an image; H and W are all strides times `pool_size`."""
        height, width = self.pool_size * self.max_pool.stride, self.pool_size * self.max_pool.stride
        for conv in self.convs():
            if not conv.name.endswith("_downsample_0"):
                height, width = height * conv.stride[0], width * conv.stride[1]
        return self.stem[0].conv.in_channels, height, width

    def blocks(self) -> Iterator[Bottleneck]:
        """All bottlenecks in order."""
        for layer in self.layers:
            yield from layer

    def convs(self) -> Iterator[Conv]:
        """All convolutions: the stem's, then each block's in autoconfig's order."""
        for unit in self.stem:
            yield unit.conv
        for block in self.blocks():
            yield from block.convs()

    def quantizes(self) -> Iterator[Quantize]:
        """All Quantize layers in order of execution."""
        for unit in self.stem:
            yield from (unit.quantize,) if unit.residual is None else (unit.residual, unit.quantize)
        for block in self.blocks():
            yield from (block.quantize1, block.quantize2)
            if isinstance(block.residual, Downsample):
                yield from (block.residual.to_s8, block.residual.to_s32)
            else:
                yield block.residual
            yield block.quantize3
