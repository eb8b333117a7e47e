"""How activations lie in device memory, and weights to match; numpy only.

Activations are `images x height x width x channels`. Four-bit channels come in groups of 64, 32
bytes each: eight little-endian 32-bit words, and nibble `k` of word `w` is channel `8 k + w` of the
group. A thread that holds an accumulator tile of tensor cores has all eight channels of a word, so
that packing needs no exchange between threads; and as the order of summation is free, reading
needs no reordering: the low nibbles of the bytes are one slice of input channels, the high
nibbles another, and weights are laid out once in the same order. Eight-bit channels keep their
order.
"""

import numpy as np
from numpy.typing import NDArray

from autosinian.int4.layer_shape import GROUP, padded


def channel_order(channels: int) -> NDArray[np.int64]:
    """`2 x channels / 2`: the channel that the low and the high nibble of each byte holds."""
    byte = np.arange(channels // 2)
    group, within = byte // (GROUP // 2), byte % (GROUP // 2)
    low = group * GROUP + within % 4 * 16 + within // 4
    return np.stack([low, low + 8])


def pack_activations(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """`... x channels` of 0 to 15 (or 127) to the bytes of padded channels in memory."""
    channels = values.shape[-1]
    wide = np.zeros((*values.shape[:-1], padded(channels)), np.uint8)
    wide[..., :channels] = values
    if bits == 8:
        return wide
    low, high = channel_order(wide.shape[-1])
    packed: NDArray[np.uint8] = wide[..., low] | wide[..., high] << 4
    return packed


def unpack_activations(packed: NDArray[np.uint8], channels: int, bits: int) -> NDArray[np.uint8]:
    """The inverse of `pack_activations`."""
    if bits == 8:
        return packed[..., :channels]
    low, high = channel_order(packed.shape[-1] * 2)
    values = np.empty((*packed.shape[:-1], packed.shape[-1] * 2), np.uint8)
    values[..., low] = packed & 15
    values[..., high] = packed >> 4
    return values[..., :channels]


def arrange_weights(weight: NDArray[np.int8], bits: int) -> NDArray[np.int8]:
    """`K x C x R x S` to `K x taps x planes x bytes`, both channel counts padded with zeros.

    Two planes for 4-bit inputs (weights of the low and of the high nibbles), one for 8-bit ones.
    """
    out_channels, in_channels, rows, columns = weight.shape
    wide = np.zeros((padded(out_channels), rows * columns, padded(in_channels)), np.int8)
    wide[:out_channels, :, :in_channels] = weight.transpose(0, 2, 3, 1).reshape(
        out_channels, rows * columns, in_channels
    )
    if bits == 8:
        return wide[:, :, None, :]
    return np.ascontiguousarray(wide[:, :, channel_order(wide.shape[-1])])


def pack_weights(arranged: NDArray[np.int8]) -> NDArray[np.uint8]:
    """`K x taps x bytes`: the two planes of 4-bit weights as nibbles in two's complement."""
    nibbles = arranged.view(np.uint8) & np.uint8(15)
    packed: NDArray[np.uint8] = nibbles[:, :, 0] | nibbles[:, :, 1] << np.uint8(4)
    return packed


def pad_channels(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """A per-channel vector followed by zeros to whole groups."""
    wide = np.zeros(padded(len(values)), np.int32)
    wide[: len(values)] = values
    return wide
