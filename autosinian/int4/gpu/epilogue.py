"""What follows the accumulation: exact requantization in float32, residuals, packing.

The integer n, |n| < 2^22, is carried as the float32 1.5 x 2^23 + n, whose spacing is 1 there: its
bits are `MAGIC_BITS + n`, so that integer sums of tensor cores become floats, and floats integers,
without an instruction. Products with a scale are one multiply-add into such a number, rounded to
nearest; scales are the float32 next above the exact one, so that ties leave the half upwards (away
from zero), and nothing else moves (`gpu/plan` checks the bounds).
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl

MAGIC_BITS: tl.constexpr = tl.constexpr(0x4B400000)
"""Bits of 1.5 x 2^23."""


@triton.jit
def rounded_product(number, scale, INTERPRETED: tl.constexpr):
    """1.5 x 2^23 plus `number * scale` as float32, rounded once, so to an integer."""
    if INTERPRETED:
        exact = number.to(tl.float64) * scale.to(tl.float64) + 12582912.0
        return exact.to(tl.float32)
    else:
        return tl.fma(number, tl.broadcast_to(scale, number.shape), 12582912.0)


@triton.jit
def requantize(
    value,
    factor_ptr,
    scale,
    channel,
    SHIFT: tl.constexpr,
    MOST: tl.constexpr,
    FLOAT: tl.constexpr,
    CLAMPED: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`(max(value, 0) * factor + half) >> SHIFT` of int32 `pixels x channels`, int32.

    Within 0 and MOST where CLAMPED; else only the low 16 bits mean something, as a signed number.
    With FLOAT, `value` is `MAGIC_BITS` too large and `scale` (`channels`) is used; else `factor`.
    """
    if FLOAT:
        number = value.to(tl.float32, bitcast=True) - 12582912.0
        scaled = rounded_product(number, scale[None, :], INTERPRETED)
        scaled = scaled.to(tl.int32, bitcast=True)
        if CLAMPED:
            scaled = tl.minimum(tl.maximum(scaled - MAGIC_BITS, 0), MOST)
    else:
        half: tl.constexpr = (1 << SHIFT) >> 1
        factor = tl.load(factor_ptr + channel)[None, :]
        scaled = (tl.maximum(value, 0) * factor + half) >> SHIFT
        if CLAMPED:
            scaled = tl.minimum(scaled, MOST)
    return scaled


@triton.jit
def _signed_requantize(value, factor_ptr, channel, SHIFT: tl.constexpr):
    """`sign(value) * ((|value| * factor + half) >> SHIFT)`, int32."""
    half: tl.constexpr = (1 << SHIFT) >> 1
    scaled = (tl.abs(value) * tl.load(factor_ptr + channel)[None, :] + half) >> SHIFT
    return tl.where(value < 0, -scaled, scaled)


@triton.jit
def downsampled(
    value,
    factor_ptr,
    factor2_ptr,
    scale_ptr,
    scale2_ptr,
    channel,
    SHIFT: tl.constexpr,
    SHIFT2: tl.constexpr,
    FLOAT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """A downsample's accumulators to s8 and back to the sum's scale, int32.

    With FLOAT both `value` and the result are `MAGIC_BITS` too large.
    """
    if FLOAT:
        number = value.to(tl.float32, bitcast=True) - 12582912.0
        small = rounded_product(number, tl.load(scale_ptr + channel)[None, :], INTERPRETED)
        small = tl.minimum(tl.maximum(small, 12582785.0), 12583039.0) - 12582912.0
        scale2 = tl.load(scale2_ptr + channel)[None, :]
        return rounded_product(small, scale2, INTERPRETED).to(tl.int32, bitcast=True)
    else:
        small = _signed_requantize(value, factor_ptr, channel, SHIFT)
        small = tl.minimum(tl.maximum(small, -127), 127)
        return _signed_requantize(small, factor2_ptr, channel, SHIFT2)


@triton.jit
def _sum_rounded_up(first, second):
    return tl.inline_asm_elementwise(
        "add.rp.f32 $0, $1, $2;",
        "=f,f,f",
        [first, second],
        dtype=tl.float32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def _under_exponent(words, mask):
    """`2^23 + (words & mask)` as float32, for a mask below 2^23: one instruction."""
    return tl.inline_asm_elementwise(
        "{ .reg .b32 e; mov.b32 e, 0x4B000000; lop3.b32 $0, $1, $2, e, 0xEA; }",
        "=f,r,r",
        [words, mask],
        dtype=tl.float32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def _words(
    ptr,
    pixel,
    in_range,
    first_channel,
    CHANNELS: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
):
    """For each value of a tile the int32 word that holds it."""
    GROUPS: tl.constexpr = CHANNELS_BLOCK // 64
    word = first_channel // 8 + tl.arange(0, GROUPS * 8)
    at = ptr + pixel[:, None].to(tl.int64) * (CHANNELS // 8) + word[None, :]
    words = tl.load(at, mask=in_range[:, None], other=0)
    spread = tl.reshape(words, [PIXELS_BLOCK, GROUPS, 1, 8])
    spread = tl.broadcast_to(spread, [PIXELS_BLOCK, GROUPS, 8, 8])
    return tl.reshape(spread, [PIXELS_BLOCK, CHANNELS_BLOCK])


@triton.jit
def plus_residual(
    total,
    r_ptr,
    factor_ptr,
    scale,
    pixel,
    in_range,
    first_channel,
    CHANNELS: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    FOUR_BIT: tl.constexpr,
    SHIFT: tl.constexpr,
    FLOAT: tl.constexpr,
):
    """`total` (int32, `pixels x channels` or `1 x channels`) plus `(r * factor + half) >> SHIFT`.

    With FLOAT (SHIFT is 1, `total` is `MAGIC_BITS` too large): a nibble in place under the exponent
    of 2^23 is the float 2^23 + r 16^k, k at most 4; one multiply-add with `scale`, that is
    factor / 2 / 16^k, makes it r factor / 2, and a sum rounded up both adds it and rounds its half.
    """
    place = tl.arange(0, CHANNELS_BLOCK)
    nibble = place // 8 % 8
    if FLOAT:
        words = _words(
            r_ptr, pixel, in_range, first_channel, CHANNELS, PIXELS_BLOCK, CHANNELS_BLOCK
        )
        far = nibble > 4
        words = words >> tl.where(far, 12, 0)[None, :]
        mask = 15 << (tl.where(far, nibble - 3, nibble) * 4)
        carried = _under_exponent(words, tl.broadcast_to(mask[None, :], words.shape))
        scale = tl.broadcast_to(scale[None, :], carried.shape)
        halves = tl.fma(carried, scale, scale * -8388608.0)
        start = tl.broadcast_to(total.to(tl.float32, bitcast=True), carried.shape)
        return _sum_rounded_up(start, halves).to(tl.int32, bitcast=True)
    else:
        channel = first_channel + place
        half: tl.constexpr = (1 << SHIFT) >> 1
        if FOUR_BIT:
            words = _words(
                r_ptr, pixel, in_range, first_channel, CHANNELS, PIXELS_BLOCK, CHANNELS_BLOCK
            )
            carried = (words >> (nibble * 4)[None, :]) & 15
        else:
            at = r_ptr + pixel[:, None].to(tl.int64) * CHANNELS + channel[None, :]
            carried = tl.load(at, mask=in_range[:, None], other=0).to(tl.int32)
        return total + ((carried * tl.load(factor_ptr + channel)[None, :] + half) >> SHIFT)


@triton.jit
def _clamped_pairs(low, high):
    """Two int32 tensors (16 bits used) clamped to 0..15, the second in the upper half word."""
    return tl.inline_asm_elementwise(
        "{ .reg .b32 t, m; mov.b32 m, 0x000f000f; prmt.b32 t, $1, $2, 0x5410; "
        "min.relu.s16x2 $0, t, m; }",
        "=r,r,r",
        [low, high],
        dtype=tl.int32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def store_output(
    out_ptr,
    value,
    pixel,
    in_range,
    first_channel,
    CHANNELS: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    FOUR_BIT: tl.constexpr,
    PAIRS: tl.constexpr,
):
    """Write `value` (int32, 0 to 15 or 127): packed words of eight nibbles, or bytes.

    With PAIRS `value` is not yet clamped: one instruction does so for two (sm_90 and later).
    """
    if FOUR_BIT:
        GROUPS: tl.constexpr = CHANNELS_BLOCK // 64
        if PAIRS:
            place = tl.arange(0, 4)[None, None, :, None] * 4
            halves = tl.permute(tl.reshape(value, [PIXELS_BLOCK, GROUPS, 2, 4, 8]), 0, 1, 3, 4, 2)
            low, high = tl.split(halves)
            words = tl.sum(_clamped_pairs(low, high) << place, axis=2)
        else:
            place = tl.arange(0, 8)[None, None, :, None] * 4
            eights = tl.reshape(value, [PIXELS_BLOCK, GROUPS, 8, 8])
            words = tl.sum(eights << place, axis=2)
        words = tl.reshape(words, [PIXELS_BLOCK, GROUPS * 8])
        word = first_channel // 8 + tl.arange(0, GROUPS * 8)
        at = out_ptr + pixel[:, None].to(tl.int64) * (CHANNELS // 8) + word[None, :]
        tl.store(at, words, mask=in_range[:, None])
    else:
        channel = first_channel + tl.arange(0, CHANNELS_BLOCK)
        at = out_ptr + pixel[:, None].to(tl.int64) * CHANNELS + channel[None, :]
        tl.store(at, value.to(tl.int8), mask=in_range[:, None])
