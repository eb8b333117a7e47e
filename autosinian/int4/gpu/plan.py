"""A network as the list of launches that run it, still without a GPU; numpy only."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.int4.gpu.image import Arrangement, arrangement, first_shape
from autosinian.int4.layer_shape import LayerShape, ResidualShape, padded
from autosinian.int4.network import (
    ACTIVATION_RANGES,
    Bottleneck,
    Conv,
    Downsample,
    Network,
    Quantize,
    StemUnit,
)

_INT32 = 2**31
_FLOAT_INTEGERS = 2**22
_FLOAT_PRODUCTS = 2**23
_HALF_WORD = 2**15


@dataclass(frozen=True, eq=False)
class Layer:
    """One launch: a convolution with its residual and requantization.

    `name` as in autoconfig files (`layer1_residual1_conv3`; `stem1` ...). `reads` and `adds` are
    indices of the layers (-1: the image; -2: the max-pool) whose outputs it reads and adds.
    `arithmetic` is what its weights allow.
    """

    name: str
    shape: LayerShape
    conv: Conv
    quantize: Quantize
    residual: Quantize | Downsample | None
    reads: int
    adds: int | None
    arithmetic: "Arithmetic"

    @property
    def line_names(self) -> tuple[str, ...]:
        """Names of the autoconfig lines that choose this launch's configuration."""
        if self.shape.residual is not None and self.shape.residual.kind == "downsample":
            return (self.name.rsplit("_", 1)[0] + "_ds_conv", self.name)
        return (self.name,)


IMAGE, POOLED = -1, -2


@dataclass(frozen=True, eq=False)
class Plan:
    """All launches of a network in order: `stem`, a max-pool, `layers`, average pool, linear.

    The first stem layer reads arranged images. `pooled` is the map after the max-pool.
    """

    network: Network
    arranged: Arrangement
    stem: tuple[Layer, ...]
    pooled: tuple[int, int]
    layers: tuple[Layer, ...]

    def convolutions(self) -> tuple[Layer, ...]:
        """Stem and layers in order."""
        return self.stem + self.layers

    def follower(self, layer: Layer) -> Layer | None:
        """The layer that may be computed in the launch of `layer`."""
        if layer.shape.follower is None:
            return None
        return self.layers[self.layers.index(layer) + 1]

    def lines(self) -> tuple[str, ...]:
        """Names of all autoconfig lines in the published order: each block's downsample first."""
        blocks: dict[str, list[str]] = {}
        for layer in self.layers:
            blocks.setdefault(layer.name.rsplit("_", 1)[0], []).extend(layer.line_names)
        return tuple(
            name
            for names in blocks.values()
            for name in sorted(names, key=lambda name: not name.endswith("_ds_conv"))
        )


@dataclass(frozen=True)
class _Range:
    """Least and largest value of each channel."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def magnitude(self) -> int:
        """Largest of all channels."""
        return int(max(-self.low.min(), self.high.max()))

    def product(self, quantize: Quantize) -> int:
        """Largest magnitude inside a Quantize."""
        largest = np.maximum(-self.low, self.high).clip(min=0) * quantize.factor.astype(np.int64)
        return int(largest.max()) + ((1 << quantize.shift) >> 1)

    def scaled(self, quantize: Quantize) -> "_Range":
        """After a Quantize, before its clamp."""
        factor, half = quantize.factor.astype(np.int64), (1 << quantize.shift) >> 1
        low, high = (
            np.abs(side) * factor + half >> quantize.shift for side in (self.low, self.high)
        )
        return _Range(np.sign(self.low) * low, np.sign(self.high) * high)

    def rescaled(self, quantize: Quantize) -> "_Range":
        """As `scaled`, by kernels in 32 bits. Raises `InputError` where they do not suffice."""
        if self.product(quantize) >= _INT32:
            raise _too_large(quantize, self.product(quantize))
        return self.scaled(quantize)

    def plus(self, other: "_Range") -> "_Range":
        """Of a sum."""
        return _Range(self.low + other.low, self.high + other.high)

    def at_least(self, least: int) -> "_Range":
        """After `max(., least)`."""
        return _Range(self.low.clip(min=least), self.high.clip(min=least))


def _reach(conv: Conv) -> _Range:
    """What the accumulators can be, whatever the input."""
    least, most = ACTIVATION_RANGES[conv.input_type]
    weight = conv.weight.reshape(conv.out_channels, -1).astype(np.int64)
    positive, negative = weight.clip(min=0).sum(1), weight.clip(max=0).sum(1)
    bias = conv.bias.astype(np.int64)
    return _Range(
        positive * least + negative * most + bias, positive * most + negative * least + bias
    )


def _too_large(quantize: Quantize, product: int) -> InputError:
    return InputError(
        f"products in {quantize.name} must stay below 2^31 on a GPU, but its weights allow "
        f"{product}; run this model on the CPU"
    )


@dataclass(frozen=True)
class Arithmetic:
    """What a layer's weights allow: requantization in float32 (see `gpu/epilogue`) or in 32-bit
    integers; whether its result before the clamp fits 16 bits, so that two are clamped at once;
    and whether the residual can be rescaled in float32 too.
    """

    exact_in_float: bool
    exact_in_integers: bool
    halves: bool
    residual_in_float: bool


def arithmetic(
    conv: Conv, quantize: Quantize, residual: Quantize | Downsample | None, relu_first: bool
) -> Arithmetic:
    """Checks every intermediate from the weights. Raises `InputError` beyond 32 bits."""
    value = _reach(conv)
    residual_in_float = False
    if relu_first:
        value = value.at_least(0)
    if isinstance(residual, Downsample):
        branch = _reach(residual.conv)
        branch.rescaled(residual.to_s8)
        most = np.full(conv.out_channels, 127)
        carried = _Range(-most, most).rescaled(residual.to_s32)
        residual_in_float = (
            max(branch.magnitude(), carried.magnitude()) < _FLOAT_INTEGERS
            and 128 << residual.to_s8.shift <= _FLOAT_PRODUCTS
        )
        value = value.plus(carried)
    elif residual is not None:
        most = np.full(conv.out_channels, ACTIVATION_RANGES[residual.input_type][1])
        carried = _Range(0 * most, most).rescaled(residual)
        residual_in_float = (
            residual.shift == 1
            and residual.input_type == "u4"
            and carried.magnitude() + int(np.abs(conv.bias).max()) < _FLOAT_INTEGERS
        )
        value = value.plus(carried)
    largest = value.magnitude()
    if largest >= _INT32:
        raise InputError(f"accumulators of {conv.name} must fit 32 bits; run it on the CPU")
    scaled = value.scaled(quantize)
    most_out = ACTIVATION_RANGES[quantize.output_type][1]
    product = value.at_least(0).product(quantize)
    found = Arithmetic(
        exact_in_float=largest < _FLOAT_INTEGERS
        and (most_out + 1) << quantize.shift <= _FLOAT_PRODUCTS,
        exact_in_integers=product < _INT32,
        halves=scaled.magnitude() < _HALF_WORD,
        residual_in_float=residual_in_float,
    )
    if not found.exact_in_float and not found.exact_in_integers:
        raise _too_large(quantize, product)
    return found


def plan(network: Network) -> Plan:
    """The launches of a network. Raises `InputError` for what these kernels cannot compute."""
    _, height, width = network.input_shape
    arranged = arrangement(network.stem[0].conv, height, width)
    stem: list[Layer] = []
    for index, unit in enumerate(network.stem):
        stem.append(_stem_layer(unit, index, arranged, height, width))
        height, width = unit.conv.output_size(height, width)
    pooled = network.max_pool.output_size(height, width)
    height, width = pooled
    layers: list[Layer] = []
    source = POOLED
    for number, blocks in enumerate(network.layers, 1):
        for position, block in enumerate(blocks, 1):
            made = _block_layers(
                block, f"layer{number}_residual{position}", len(layers), source, height, width
            )
            layers.extend(made)
            height, width = made[-1].shape.out_height, made[-1].shape.out_width
            source = len(layers) - 1
    return Plan(network, arranged, tuple(stem), pooled, _with_followers(layers))


def _with_followers(layers: list[Layer]) -> tuple[Layer, ...]:
    """Each `conv3` told of the next block's `conv1` where one launch may compute both."""
    found = list(layers)
    for index, (layer, after) in enumerate(pairwise(layers)):
        shape = after.shape
        if (
            after.reads == index
            and layer.name.endswith("_conv3")
            and shape.residual is None
            and (shape.bits, shape.out_bits, shape.weight_bits) == (4, 4, 4)
            and (shape.kernel, shape.stride, shape.padding) == ((1, 1), (1, 1), (0, 0))
        ):
            found[index] = replace(layer, shape=replace(layer.shape, follower=shape))
    return tuple(found)


def _stem_layer(
    unit: StemUnit, index: int, arranged: Arrangement, height: int, width: int
) -> Layer:
    bits = 4 if unit.quantize.output_type == "u4" else 8
    if index == 0:
        shape = first_shape(unit.conv, arranged, bits)
    else:
        shape = _shape(unit.conv, unit.quantize, height, width)
    if unit.residual is not None:
        added = ResidualShape(
            "identity", height, width, padded(unit.conv.in_channels), unit.conv.input_bits
        )
        shape = replace(shape, residual=added, relu_first=True)
    return Layer(
        f"stem{index + 1}",
        shape,
        unit.conv,
        unit.quantize,
        unit.residual,
        index - 1,
        None if unit.residual is None else index - 1,
        arithmetic(unit.conv, unit.quantize, unit.residual, relu_first=True),
    )


def _block_layers(
    block: Bottleneck, name: str, first: int, source: int, height: int, width: int
) -> list[Layer]:
    shape1 = _shape(block.conv1, block.quantize1, height, width)
    shape2 = _shape(block.conv2, block.quantize2, shape1.out_height, shape1.out_width)
    shape3 = _shape(block.conv3, block.quantize3, shape2.out_height, shape2.out_width)
    bits, channels = block.conv1.input_bits, padded(block.conv1.in_channels)
    if isinstance(block.residual, Downsample):
        down = block.residual.conv
        added = ResidualShape(
            "downsample",
            height,
            width,
            channels,
            bits,
            down.kernel_size,
            down.stride,
            down.weight_bits,
        )
        if down.padding != (0, 0):
            raise InputError(f"a downsample convolution must have no padding, as {down.name} has")
    else:
        added = ResidualShape("identity", height, width, channels, bits)
    shape3 = replace(shape3, residual=added)
    return [
        Layer(
            f"{name}_{part}",
            shape,
            conv,
            quantize,
            residual,
            reads,
            adds,
            arithmetic(conv, quantize, residual, relu_first=False),
        )
        for part, shape, conv, quantize, residual, reads, adds in (
            ("conv1", shape1, block.conv1, block.quantize1, None, source, None),
            ("conv2", shape2, block.conv2, block.quantize2, None, first, None),
            ("conv3", shape3, block.conv3, block.quantize3, block.residual, first + 1, source),
        )
    ]


def _shape(conv: Conv, quantize: Quantize, height: int, width: int) -> LayerShape:
    out_height, out_width = conv.output_size(height, width)
    return LayerShape(
        height,
        width,
        padded(conv.in_channels),
        conv.input_bits,
        out_height,
        out_width,
        padded(conv.out_channels),
        4 if quantize.output_type == "u4" else 8,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        weight_bits=conv.weight_bits,
    )
