"""What must hold in a network of integers: names, shapes, types and value ranges that meet."""

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from autosinian.errors import InputError
from autosinian.int4.network import (
    ACTIVATION_RANGES,
    Bottleneck,
    Conv,
    Downsample,
    Network,
    Quantize,
    StemUnit,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_FACTOR = (1 << 16) - 1
_BIAS_RANGES = {"s16": (-(1 << 15), (1 << 15) - 1), "s32": (-(1 << 31), (1 << 31) - 1)}


def check_network(network: Network) -> None:
    """Raise `InputError` naming the first layer that does not fit, and why."""
    if network.line_end not in ("\n", "\r\n"):
        raise InputError(f"line_end must be LF or CR LF, got {network.line_end!r}")
    if not network.stem or not network.layers or not all(network.layers):
        raise InputError("a network must have a stem and layers of at least one block each")
    channels, kind = network.stem[0].conv.in_channels, "s8"
    for index, unit in enumerate(network.stem):
        names = stem_names(index, len(network.stem))
        channels, kind = _check_stem_unit(unit, names, channels, kind)
    for number, layer in enumerate(network.layers, 1):
        for index, block in enumerate(layer):
            channels, kind = _check_block(block, f"layer{number}_{index}", channels, kind)
    last = network.layers[-1][-1].quantize3
    if kind != "u7":
        _refuse(last.name, "must write u7, which the average pool reads", kind)
    _check_sizes(network)
    classes, features = network.linear.weight.shape
    if features != channels:
        _refuse("fc", f"must have {channels} in_features, the last block's channels", features)
    if network.linear.bias.shape != (classes,) or network.out_scale.shape != (classes,):
        _refuse(
            "fc",
            f"must have {classes} biases and output scales",
            (network.linear.bias.shape, network.out_scale.shape),
        )
    if not np.all(np.isfinite(network.out_scale)) or not np.all(network.out_scale):
        _refuse("scale", "must have finite output scales that are not 0", "others")


def stem_names(index: int, count: int) -> tuple[str, str, str]:
    """Names of a stem unit's convolution, Quantize and residual.

    A stem of one unit is `conv1`, `quantize1` as published and has no residual; unit `i` of a
    longer one has `conv1_<i>_conv`, `conv1_<i>_quantize`, `conv1_<i>_downsample`.
    """
    if count == 1:
        return "conv1", "quantize1", ""
    return f"conv1_{index}_conv", f"conv1_{index}_quantize", f"conv1_{index}_downsample"


def _check_stem_unit(
    unit: StemUnit, names: tuple[str, str, str], channels: int, kind: str
) -> tuple[int, str]:
    _check_conv(unit.conv, names[0], channels, kind)
    _check_quantize(unit.quantize, names[1], unit.conv.out_channels, ("u31",), ("u4", "u7"))
    if unit.residual is not None:
        same = unit.conv.in_channels == unit.conv.out_channels and unit.conv.stride == (1, 1)
        if not names[2] or not same or kind == "s8":
            _refuse(
                unit.conv.name,
                "may have a residual only where channels and size stay and its input is u4 or u7",
                unit.residual.name,
            )
        _check_quantize(unit.residual, names[2], channels, (kind,), ("u31",))
    return unit.conv.out_channels, unit.quantize.output_type


def _check_block(block: Bottleneck, name: str, channels: int, kind: str) -> tuple[int, str]:
    _check_conv(block.conv1, f"{name}_conv1", channels, kind)
    middle = block.conv1.out_channels
    _check_quantize(block.quantize1, f"{name}_quantize1", middle, ("u31",), ("u4", "u7"))
    _check_conv(block.conv2, f"{name}_conv2", middle, block.quantize1.output_type)
    middle = block.conv2.out_channels
    _check_quantize(block.quantize2, f"{name}_quantize2", middle, ("u31",), ("u4", "u7"))
    _check_conv(block.conv3, f"{name}_conv3", middle, block.quantize2.output_type)
    wide = block.conv3.out_channels
    residual = block.residual
    if isinstance(residual, Downsample):
        _check_conv(residual.conv, f"{name}_downsample_0", channels, kind)
        if residual.conv.out_channels != wide:
            _refuse(
                residual.conv.name,
                f"must have {wide} out_channels, as {name}_conv3",
                residual.conv.out_channels,
            )
        _check_quantize(residual.to_s8, f"{name}_downsample_1", wide, ("s32",), ("s8",))
        _check_quantize(residual.to_s32, f"{name}_downsample_2", wide, ("s8",), ("s32",))
    else:
        _check_quantize(residual, f"{name}_downsample", wide, (kind,), ("u31",))
        if channels != wide:
            _refuse(residual.name, f"can be an identity only of {wide} channels", channels)
    _check_quantize(block.quantize3, f"{name}_quantize3", wide, ("u31",), ("u4", "u7"))
    return wide, block.quantize3.output_type


def _check_conv(conv: Conv, name: str, channels: int, kind: str) -> None:
    if conv.name != name:
        _refuse(conv.name, f"must be named {name}", conv.name)
    if conv.weight.dtype != np.int8 or conv.weight.ndim != 4 or 0 in conv.weight.shape:
        _refuse(
            name,
            "must have int8 weights, K x C x R x S",
            f"{conv.weight.dtype} {conv.weight.shape}",
        )
    if conv.in_channels != channels:
        _refuse(name, f"must have {channels} in_channels, what is before it", conv.in_channels)
    if conv.input_type != kind or kind not in ACTIVATION_RANGES:
        _refuse(name, f"must read {kind}, what is before it", conv.input_type)
    if conv.weight_bits not in (4, 8):
        _refuse(name, "must have weight_bits 4 or 8", conv.weight_bits)
    if conv.weight_bits == 4 and (conv.weight.min() < -8 or conv.weight.max() > 7):
        _refuse(
            name,
            "must have 4-bit weights from -8 to 7",
            (int(conv.weight.min()), int(conv.weight.max())),
        )
    if conv.bias.shape != (conv.out_channels,) or conv.bias.dtype != np.int32:
        _refuse(
            name,
            f"must have {conv.out_channels} int32 biases",
            f"{conv.bias.dtype} {conv.bias.shape}",
        )
    if conv.bias_type not in _BIAS_RANGES:
        _refuse(name, "must store biases as s16 or s32", conv.bias_type)
    low, high = _BIAS_RANGES[conv.bias_type]
    if conv.bias.min() < low or conv.bias.max() > high:
        _refuse(
            name,
            f"must have biases that fit {conv.bias_type}",
            (int(conv.bias.min()), int(conv.bias.max())),
        )
    if conv.stride[0] != conv.stride[1] or conv.stride[0] < 1 or min(conv.padding) < 0:
        _refuse(
            name,
            "must have one stride >= 1 for both sides and padding >= 0",
            (conv.stride, conv.padding),
        )


def _check_quantize(
    layer: Quantize, name: str, channels: int, reads: "Iterable[str]", writes: "Iterable[str]"
) -> None:
    if layer.name != name:
        _refuse(layer.name, f"must be named {name}", layer.name)
    if layer.factor.shape != (channels,) or layer.factor.dtype != np.int32:
        _refuse(
            name,
            f"must have {channels} int32 factors",
            f"{layer.factor.dtype} {layer.factor.shape}",
        )
    if layer.factor.min() < 0 or layer.factor.max() > LARGEST_FACTOR:
        _refuse(
            name,
            f"must have factors from 0 to {LARGEST_FACTOR}",
            (int(layer.factor.min()), int(layer.factor.max())),
        )
    if not 0 <= layer.shift <= 31:
        _refuse(name, "must have a shift from 0 to 31", layer.shift)
    if layer.input_type not in reads:
        _refuse(name, f"must read {' or '.join(reads)}", layer.input_type)
    if layer.output_type not in writes:
        _refuse(name, f"must write {' or '.join(writes)}", layer.output_type)


def _check_sizes(network: Network) -> None:
    _, height, width = network.input_shape
    for unit in network.stem:
        before = height, width
        height, width = unit.conv.output_size(height, width)
        if unit.residual is not None and before != (height, width):
            _refuse(unit.conv.name, "must keep the map's size, having a residual", (height, width))
    height, width = network.max_pool.output_size(height, width)
    for block in network.blocks():
        branch = height, width
        for conv in (block.conv1, block.conv2, block.conv3):
            branch = conv.output_size(*branch)
        residual = height, width
        if isinstance(block.residual, Downsample):
            residual = block.residual.conv.output_size(height, width)
        if branch != residual or min(branch) < 1:
            _refuse(block.name, f"must add maps of one size, its branch is {branch}", residual)
        height, width = branch
    if (height, width) != (network.pool_size, network.pool_size):
        _refuse("avgpool", f"must span the last map, {height} x {width}", network.pool_size)


def _refuse(name: str, invariant: str, given: object) -> NoReturn:
    raise InputError(f"INT4 layer {name} {invariant}, got {given}")
