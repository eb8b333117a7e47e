"""Small random networks of every kind the format has, with activations that use their range."""

from collections.abc import Iterator
from itertools import count

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

_TYPICAL = {"u4": 4.0, "u7": 30.0, "s8": 60.0}
_TARGET = {"u4": 6.0, "u7": 50.0, "s8": 40.0}


class _Maker:
    def __init__(self, seed: int, bias_type: str) -> None:
        self._rng = np.random.default_rng(seed)
        self._bias_type = bias_type

    def conv(
        self, name: str, shape: tuple[int, int, int, int], kind: str, bits: int, stride: int = 1
    ) -> Conv:
        most = 7 if bits == 4 else 127
        weight = self._rng.integers(-most - 1, most + 1, shape).astype(np.int8)
        bias = self._rng.integers(-100, 100, shape[0]).astype(np.int32)
        if self._bias_type == "s32":
            bias[0] = 40000  # what s16 could not hold
        side = shape[2]
        padding = (side - 1) // 2 if side % 2 else 0
        return Conv(
            name, weight, bias, (stride, stride), (padding, padding), bits, kind, self._bias_type
        )

    def rescale(self, name: str, conv: Conv, kind: str, output: str) -> Quantize:
        """A Quantize that brings the accumulators of `conv` into the range of `output`."""
        depth = conv.weight[0].size
        spread = np.sqrt(depth) * _TYPICAL[conv.input_type] * (4.6 if conv.weight_bits == 4 else 74)
        return self.factors(name, len(conv.bias), kind, output, _TARGET[output] / spread, 16)

    def factors(
        self, name: str, channels: int, kind: str, output: str, ratio: float, shift: int
    ) -> Quantize:
        middle = ratio * 2**shift
        factor = self._rng.uniform(0.5 * middle, 1.5 * middle, channels)
        factor[self._rng.integers(channels)] = 0
        return Quantize(name, factor.round().clip(0, 65535).astype(np.int32), shift, kind, output)

    def linear(self, classes: int, features: int) -> Linear:
        weight = self._rng.integers(-127, 128, (classes, features)).astype(np.int8)
        bias = self._rng.integers(-1000, 1000, classes).astype(np.int32)
        return Linear(weight, bias)

    def scales(self, classes: int) -> NDArray[np.float32]:
        return self._rng.uniform(500, 900, classes).astype(np.float32)


def small_network(
    seed: int = 0,
    *,
    widths: tuple[int, ...] = (16, 24),
    depth: int = 2,
    stem: int = 1,
    eight_bit: bool = False,
    pooled_downsample: bool = False,
    pool_size: int = 2,
    classes: int = 10,
    line_end: str = "\n",
    bias_type: str = "s16",
) -> Network:
    """A network for images of `4 x 2^(layers - 1) x pool_size` pixels.

    With `eight_bit` every second type of activations and weights is of eight bits; with a `stem` of
    3 its second unit has a residual; `pooled_downsample` has 2 x 2 convolutions of stride 2.
    """
    maker = _Maker(seed, bias_type)
    kinds = _alternating(eight_bit)
    bits = (4 if kind == "u4" else 8 for kind in _alternating(eight_bit))
    channels, kind, units = 3, "s8", []
    for index in range(stem):
        prefix, between = ("conv1", "") if stem == 1 else (f"conv1_{index}", "_conv")
        conv = maker.conv(
            f"{prefix}{between}", (8, channels, 3, 3), kind, 8, stride=2 if index == 0 else 1
        )
        output = next(kinds)
        quantize = maker.rescale(
            "quantize1" if stem == 1 else f"{prefix}_quantize", conv, "u31", output
        )
        residual = None
        if index == 1:
            residual = maker.factors(f"{prefix}_downsample", channels, kind, "u31", 90.0, 3)
        units.append(StemUnit(conv, quantize, residual))
        channels, kind = 8, output
    layers = []
    for number, width in enumerate(widths, 1):
        blocks = []
        for index in range(depth):
            last = number == len(widths) and index == depth - 1
            stride = 2 if number > 1 and index == 0 else 1
            output = "u7" if last else next(kinds)
            block = _block(
                maker,
                f"layer{number}_{index}",
                (channels, max(8, width // 2), width),
                (kind, next(kinds), next(kinds), output),
                bits,
                stride,
                pooled=pooled_downsample and stride == 2,
            )
            blocks.append(block)
            channels, kind = width, output
        layers.append(tuple(blocks))
    return Network(
        tuple(units),
        MaxPool(3, 2, 1),
        tuple(layers),
        pool_size,
        maker.linear(classes, channels),
        maker.scales(classes),
        line_end,
    )


def _alternating(eight_bit: bool) -> Iterator[str]:
    return ("u7" if eight_bit and number % 2 else "u4" for number in count())


def _block(
    maker: _Maker,
    name: str,
    channels: tuple[int, int, int],
    kinds: tuple[str, str, str, str],
    bits: Iterator[int],
    stride: int,
    *,
    pooled: bool,
) -> Bottleneck:
    before, middle, wide = channels
    conv1 = maker.conv(f"{name}_conv1", (middle, before, 1, 1), kinds[0], next(bits))
    conv2 = maker.conv(f"{name}_conv2", (middle, middle, 3, 3), kinds[1], next(bits), stride)
    conv3 = maker.conv(f"{name}_conv3", (wide, middle, 1, 1), kinds[2], next(bits))
    residual: Quantize | Downsample
    if before == wide and stride == 1:
        residual = maker.factors(f"{name}_downsample", wide, kinds[0], "u31", 30.5, 1)
    else:
        side = 2 if pooled else 1
        conv = maker.conv(
            f"{name}_downsample_0", (wide, before, side, side), kinds[0], next(bits), stride
        )
        to_s8 = maker.rescale(f"{name}_downsample_1", conv, "s32", "s8")
        to_s32 = maker.factors(f"{name}_downsample_2", wide, "s8", "s32", 7.0, 0)
        residual = Downsample(conv, to_s8, to_s32)
    return Bottleneck(
        conv1,
        maker.rescale(f"{name}_quantize1", conv1, "u31", kinds[1]),
        conv2,
        maker.rescale(f"{name}_quantize2", conv2, "u31", kinds[2]),
        conv3,
        residual,
        maker.rescale(f"{name}_quantize3", conv3, "u31", kinds[3]),
    )


def random_images(network: Network, number: int, seed: int = 0) -> NDArray[np.int8]:
    """`number x C x H x W` of every int8 value that the input may take."""
    shape = (number, *network.input_shape)
    return np.random.default_rng(seed).integers(-127, 128, shape, dtype=np.int8)


VARIANTS: dict[str, dict[str, object]] = {
    "as published": {},
    "one block": {"widths": (16,), "depth": 1},
    "stem of three": {"stem": 3, "pooled_downsample": True},
    "mixed precision": {"eight_bit": True, "seed": 3},
    "mixed with stem of three": {"eight_bit": True, "stem": 3, "seed": 4},
    "wide bias": {"bias_type": "s32", "seed": 5},
    "larger map": {"pool_size": 3, "seed": 6},
}
"""Keyword arguments of `small_network` by what is special."""
