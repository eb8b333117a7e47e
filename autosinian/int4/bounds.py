"""How large any value of a network can become, from its weights alone: whether 32 bits suffice.

A convolution's accumulator is bounded channel by channel, every input value at the end of its
type's range that suits the weight's sign; sums on the way to it obey the same bound. A Quantize
multiplies that bound by its factor and adds half a step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

Bound = NDArray[np.int64]

_LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class Bounds:
    """Largest magnitude by layer name: of accumulators and sums, and of products in Quantize."""

    sums: dict[str, int]
    products: dict[str, int]

    def wide(self) -> tuple[str, ...]:
        """Names of the Quantize layers whose products need more than 32 bits."""
        return tuple(name for name, bound in self.products.items() if bound > _LARGEST)


def bounds(network: Network) -> Bounds:
    """The bounds of all layers.

    Raises `InputError` where an accumulator or a sum of two could leave 32 bits, which is what the
    format calls s32.
    """
    found = Bounds({}, {})
    for unit in network.stem:
        _stem_unit(unit, found)
    for block in network.blocks():
        _block(block, found)
    weight = np.abs(network.linear.weight.astype(np.int64)).sum(1)
    logits = 127 * weight + np.abs(network.linear.bias.astype(np.int64))
    _keep(found.sums, "fc", logits)
    for name, bound in found.sums.items():
        if bound > _LARGEST:
            raise InputError(
                f"INT4 layer {name} must keep its sums within 32 bits, but its weights and factors "
                f"allow {bound}"
            )
    return found


def _accumulator(conv: Conv, found: Bounds) -> Bound:
    low, high = ACTIVATION_RANGES[conv.input_type]
    weight = conv.weight.reshape(conv.out_channels, -1).astype(np.int64)
    positive, negative = np.maximum(weight, 0).sum(1), np.minimum(weight, 0).sum(1)
    largest = np.maximum(high * positive + low * negative, -(low * positive + high * negative))
    bound: Bound = largest + np.abs(conv.bias.astype(np.int64))
    _keep(found.sums, conv.name, bound)
    return bound


def _rescaled(quantize: Quantize, bound: Bound | int, found: Bounds) -> Bound:
    half = (1 << quantize.shift) >> 1
    product: Bound = bound * quantize.factor.astype(np.int64) + half
    _keep(found.products, quantize.name, product)
    return product >> quantize.shift


def _residual(quantize: Quantize, found: Bounds) -> Bound:
    return _rescaled(quantize, ACTIVATION_RANGES[quantize.input_type][1], found)


def _stem_unit(unit: StemUnit, found: Bounds) -> None:
    total = _accumulator(unit.conv, found)
    if unit.residual is not None:
        total = total + _residual(unit.residual, found)
        _keep(found.sums, unit.conv.name, total)
    _rescaled(unit.quantize, total, found)


def _block(block: Bottleneck, found: Bounds) -> None:
    _rescaled(block.quantize1, _accumulator(block.conv1, found), found)
    _rescaled(block.quantize2, _accumulator(block.conv2, found), found)
    total = _accumulator(block.conv3, found)
    if isinstance(block.residual, Downsample):
        _rescaled(block.residual.to_s8, _accumulator(block.residual.conv, found), found)
        total = total + _residual(block.residual.to_s32, found)
    else:
        total = total + _residual(block.residual, found)
    _keep(found.sums, block.conv3.name, total)
    _rescaled(block.quantize3, total, found)


def _keep(table: dict[str, int], name: str, bound: Bound) -> None:
    table[name] = int(bound.max())
