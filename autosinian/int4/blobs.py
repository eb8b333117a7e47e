"""Values of tensors as bytes: little-endian, two 4-bit values a byte with the low nibble first."""

import math

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.int4.layer_text import TensorPlace

_WHOLE = {"s8": "<i1", "s16": "<i2", "s32": "<i4", "u16": "<u2", "f32": "<f4"}


def blob_bytes(place: TensorPlace) -> int:
    """Size of a blob: bits x values / 8. Raises `InputError` for an odd number of 4-bit values."""
    bits = int(place.dtype[1:]) * math.prod(place.dims)
    if bits % 8:
        raise InputError(
            f"a tensor of type {place.dtype} must fill whole bytes, got dimensions {place.dims}"
        )
    return bits // 8


def decode(place: TensorPlace, content: bytes) -> NDArray[np.int8] | NDArray[np.generic]:
    """The tensor of `place.dims`; s4 comes as int8. `content` has `blob_bytes(place)` bytes."""
    if place.dtype != "s4":
        return np.frombuffer(content, _WHOLE[place.dtype]).reshape(place.dims)
    return unpack_s4(np.frombuffer(content, np.uint8)).reshape(place.dims)


def encode(dtype: str, values: NDArray[np.generic]) -> bytes:
    """The bytes of `values`, each of which must fit `dtype`."""
    if dtype == "s4":
        return pack_s4(values.astype(np.int8).reshape(-1)).tobytes()
    return np.ascontiguousarray(values, np.dtype(_WHOLE[dtype])).tobytes()


def unpack_s4(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """`2 n` values of -8 to 7 from `n` bytes: the low nibble first, two's complement."""
    values = np.empty((packed.size, 2), np.int8)
    signed = packed.view(np.int8)
    values[:, 0] = (signed << 4) >> 4
    values[:, 1] = signed >> 4
    return values.reshape(-1)


def pack_s4(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """`n` bytes from `2 n` values of -8 to 7, as `unpack_s4` reads them."""
    nibbles = values.view(np.uint8) & 0xF
    return (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8)
