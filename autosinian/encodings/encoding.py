"""From a range of values to integers: symmetric, unsigned symmetric and asymmetric encodings.

The rules are those of AIMET 1.x's `tf` scheme, in double precision: an integer `q` of
`0 ... steps` stands for `(q + offset) * scale`, and zero is always represented exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

BITS = 8
BIAS_BITS = 31
"""Biases, and whatever is kept in higher precision, are encoded over so many bits ..."""

BIAS_LABEL = 32
"""... and labelled with so many: the range of an accumulator, with a bit to spare."""

SMALLEST_RANGE = 0.01
"""The greatest value is raised to so much above the smallest: a range is never empty."""


@dataclass(frozen=True)
class Encoding:
    """One range: `minimum = offset * scale`, and `maximum` is `steps` scales above it."""

    bitwidth: int
    is_symmetric: bool
    minimum: float
    maximum: float
    offset: int
    scale: float

    @property
    def steps(self) -> int:
        """The greatest integer; 255 for 8 bits, 254 where -128 is left out."""
        return round((self.maximum - self.minimum) / self.scale)

    @property
    def lowest(self) -> int:
        """The least `q + offset`."""
        return self.offset

    @property
    def highest(self) -> int:
        """The greatest `q + offset`."""
        return self.offset + self.steps

    @property
    def is_int8(self) -> bool:
        """Whether values are rounded to it; wider ones stay float in simulation and engines."""
        return self.bitwidth <= BITS


@dataclass(frozen=True)
class Encodings:
    """Encodings by tensor and by parameter of one network; more than one: per channel."""

    activations: Mapping[str, tuple[Encoding, ...]]
    parameters: Mapping[str, tuple[Encoding, ...]]


def encode_range(
    minimum: float,
    maximum: float,
    *,
    symmetric: bool,
    bits: int = BITS,
    strict: bool = False,
    unsigned: bool = True,
) -> Encoding:
    """The encoding of values between `minimum` and `maximum`, widened to hold zero.

    A symmetric range without negative values spends all steps on the positive ones where
    `unsigned`; `strict` leaves out the least integer, so that `-maximum` is the lowest.
    """
    steps = 2**bits - (2 if symmetric and strict else 1)
    low = min(0.0, float(minimum))
    high = max(0.0, float(maximum), low + SMALLEST_RANGE)
    if symmetric and (low < 0.0 or not unsigned):
        bound = max(high, -low)
        positive = steps // 2
        scale = bound / positive
        offset = positive - steps
        return Encoding(bits, True, offset * scale, positive * scale, offset, scale)
    scale = (high - low) / steps
    # Half away from zero, as C's `round`.
    offset = -min(steps, int(np.floor(-low / scale + 0.5)))
    return Encoding(bits, symmetric, offset * scale, high - low + offset * scale, offset, scale)


def encode_wide(minimum: float, maximum: float, *, symmetric: bool) -> Encoding:
    """The encoding of a bias: over a 31-bit range, labelled 32, signed where symmetric."""
    encoding = encode_range(minimum, maximum, symmetric=symmetric, bits=BIAS_BITS, unsigned=False)
    return replace(encoding, bitwidth=BIAS_LABEL)


def encode_channels(
    values: NDArray[np.floating], *, symmetric: bool, strict: bool = False, unsigned: bool = True
) -> tuple[Encoding, ...]:
    """One encoding for each slice of the first dimension of `values`."""
    flat = values.reshape(len(values), -1)
    return tuple(
        encode_range(low, high, symmetric=symmetric, strict=strict, unsigned=unsigned)
        for low, high in zip(flat.min(axis=1), flat.max(axis=1), strict=True)
    )
