"""The convolution kernel: implicit GEMM on packed activations with everything after it fused.

One program makes a tile of `pixels x channels` of the output. Its K loop runs over filter taps and
slices of input channels; a slice of 4-bit activations is loaded as bytes, and low and high nibbles
(one mask, one shift) are two slices of 8-bit operands for the tensor cores. Accumulators start at
the bias. The epilogue rescales in the way the weights allow (see `requantize`), adds the residual
and packs (layout: `packing`).
"""

# Triton kernels are compiled from source: their parameters cannot carry the types mypy wants.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import triton
import triton.language as tl

NO_RESIDUAL: tl.constexpr = tl.constexpr(0)
IDENTITY: tl.constexpr = tl.constexpr(1)
DOWNSAMPLE: tl.constexpr = tl.constexpr(2)

# 1.5 x 2^23: a float32 of this size has a spacing of 1, so that its low bits hold an integer.
_FLOAT_INTEGER: tl.constexpr = tl.constexpr(0x4B400000)


@triton.jit
def nibbles(packed, INTERPRETED: tl.constexpr):
    """Low and high nibble of each byte (uint8) as two int8 tensors of its shape."""
    if INTERPRETED:
        low = (packed & 15).to(tl.int8)
        high = (packed >> 4).to(tl.int8)
    else:
        # Four bytes a register: three instructions for eight values.
        low, high = tl.inline_asm_elementwise(
            "{ .reg .b32 t; and.b32 $0, $2, 0x0f0f0f0f; shr.u32 t, $2, 4; "
            "and.b32 $1, t, 0x0f0f0f0f; }",
            "=r,=r,r",
            [packed],
            dtype=(tl.int8, tl.int8),
            is_pure=True,
            pack=4,
        )
    return low, high


@triton.jit
def signed_nibbles(packed, INTERPRETED: tl.constexpr):
    """As `nibbles`, of two's complement nibbles: -8 to 7."""
    low, high = nibbles(packed, INTERPRETED)
    if INTERPRETED:
        low = (low ^ 8) - 8
        high = (high ^ 8) - 8
    else:
        # A byte y of 8 to 15 becomes y + 8 * 30: the sign in its high nibble, no carry out.
        low, high = tl.inline_asm_elementwise(
            "{ .reg .b32 t; and.b32 t, $2, 0x08080808; mad.lo.u32 $0, t, 30, $2; "
            "and.b32 t, $3, 0x08080808; mad.lo.u32 $1, t, 30, $3; }",
            "=r,=r,r,r",
            [low, high],
            dtype=(tl.int8, tl.int8),
            is_pure=True,
            pack=4,
        )
    return low, high


@triton.jit
def accumulate(
    total,
    x_ptr,
    w_ptr,
    image,
    row,
    column,
    channel,
    in_range,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXEL_BYTES: tl.constexpr,
    BYTES: tl.constexpr,
    TAPS_Y: tl.constexpr,
    TAPS_X: tl.constexpr,
    STRIDE_Y: tl.constexpr,
    STRIDE_X: tl.constexpr,
    PAD_Y: tl.constexpr,
    PAD_X: tl.constexpr,
    FOUR_BIT: tl.constexpr,
    PACKED_WEIGHTS: tl.constexpr,
    BLOCK_BYTES: tl.constexpr,
    STAGES: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`total` plus the convolution at output pixels (`image`, `row`, `column`), all int32.

    `x_ptr`: uint8 (int8 for 8-bit activations) `images x HEIGHT x WIDTH x PIXEL_BYTES`, of which
    a tap reads BYTES from its pixel on; without padding every tap must lie inside. `w_ptr`: int8
    `channels x taps x planes x BYTES`, planes the low and high nibbles' weights (one plane for
    8-bit activations); packed: uint8 `channels x taps x BYTES` with both nibbles' weights in one
    byte.
    """
    SLICES: tl.constexpr = BYTES // BLOCK_BYTES
    TAPS: tl.constexpr = TAPS_Y * TAPS_X
    PLANES: tl.constexpr = 2 if FOUR_BIT and not PACKED_WEIGHTS else 1
    UNPADDED: tl.constexpr = PAD_Y == 0 and PAD_X == 0
    piece = tl.arange(0, BLOCK_BYTES)
    top = row * STRIDE_Y - PAD_Y
    left = column * STRIDE_X - PAD_X
    origin = (image * HEIGHT + top) * WIDTH + left
    w_base = w_ptr + channel[None, :] * (TAPS * PLANES * BYTES) + piece[:, None]
    for step in tl.range(0, TAPS * SLICES, num_stages=STAGES):
        tap = step // SLICES
        at = (step % SLICES) * BLOCK_BYTES
        tap_y = tap // TAPS_X
        tap_x = tap % TAPS_X
        pixel = origin + tap_y * WIDTH + tap_x
        x_at = x_ptr + pixel[:, None].to(tl.int64) * PIXEL_BYTES + (at + piece)[None, :]
        if UNPADDED:
            x = tl.load(x_at, mask=in_range[:, None], other=0)
        else:
            y = top + tap_y
            z = left + tap_x
            inside = in_range & (y >= 0) & (y < HEIGHT) & (z >= 0) & (z < WIDTH)
            x = tl.load(x_at, mask=inside[:, None], other=0)
        w_at = w_base + (tap * (PLANES * BYTES) + at)
        if FOUR_BIT:
            x_low, x_high = nibbles(x, INTERPRETED)
            if PACKED_WEIGHTS:
                w_low, w_high = signed_nibbles(tl.load(w_at), INTERPRETED)
            else:
                w_low = tl.load(w_at)
                w_high = tl.load(w_at + BYTES)
            total = tl.dot(x_low, w_low, total, out_dtype=tl.int32)
            total = tl.dot(x_high, w_high, total, out_dtype=tl.int32)
        else:
            total = tl.dot(x, tl.load(w_at), total, out_dtype=tl.int32)
    return total


@triton.jit
def requantize(
    value,
    factor_ptr,
    scale_ptr,
    channel,
    SHIFT: tl.constexpr,
    MOST: tl.constexpr,
    FLOAT: tl.constexpr,
    CLAMPED: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`(max(value, 0) * factor + half) >> SHIFT` of int32 `pixels x channels`, int32.

    Within 0 and MOST where CLAMPED; else only the low 16 bits mean something, as a signed number.

    With FLOAT, `value` is `_FLOAT_INTEGER` too large, that is, the bits of the float32 1.5 x 2^23
    + value. It needs |value| < 2^22 and 2^SHIFT * (MOST + 1) <= 2^23. `scale` is the float32 next
    above `factor / 2^SHIFT`: products are multiples of 2^-SHIFT and grow by less than that
    wherever it matters (below MOST + 1), so that no half is reached and ties leave it upwards: one
    multiply-add rounded to nearest gives what `half` does.
    """
    if FLOAT:
        number = value.to(tl.float32, bitcast=True) - 12582912.0
        scale = tl.load(scale_ptr + channel)[None, :]
        if INTERPRETED:
            exact = number.to(tl.float64) * scale.to(tl.float64) + 12582912.0
            moved = exact.to(tl.float32)
        else:
            moved = tl.fma(number, tl.broadcast_to(scale, number.shape), 12582912.0)
        scaled = moved.to(tl.int32, bitcast=True)
        if CLAMPED:
            scaled = tl.minimum(tl.maximum(scaled - _FLOAT_INTEGER, 0), MOST)
    else:
        half: tl.constexpr = (1 << SHIFT) >> 1
        factor = tl.load(factor_ptr + channel)[None, :]
        scaled = (tl.maximum(value, 0) * factor + half) >> SHIFT
        if CLAMPED:
            scaled = tl.minimum(scaled, MOST)
    return scaled


@triton.jit
def signed_requantize(value, factor_ptr, channel, SHIFT: tl.constexpr):
    """`sign(value) * ((|value| * factor + half) >> SHIFT)`, int32."""
    half: tl.constexpr = (1 << SHIFT) >> 1
    scaled = (tl.abs(value) * tl.load(factor_ptr + channel)[None, :] + half) >> SHIFT
    return tl.where(value < 0, -scaled, scaled)


@triton.jit
def clamped_pairs(low, high):
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
        place = tl.arange(0, 4)[None, None, :, None] * 4
        if PAIRS:
            halves = tl.permute(tl.reshape(value, [PIXELS_BLOCK, GROUPS, 2, 4, 8]), 0, 1, 3, 4, 2)
            low, high = tl.split(halves)
            words = tl.sum(clamped_pairs(low, high) << place, axis=2)
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


@triton.jit
def load_residual(
    r_ptr,
    pixel,
    in_range,
    first_channel,
    CHANNELS: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    FOUR_BIT: tl.constexpr,
):
    """The block's input at the output tile, int32 `pixels x channels`."""
    if FOUR_BIT:
        GROUPS: tl.constexpr = CHANNELS_BLOCK // 64
        word = first_channel // 8 + tl.arange(0, GROUPS * 8)
        at = r_ptr + pixel[:, None].to(tl.int64) * (CHANNELS // 8) + word[None, :]
        words = tl.load(at, mask=in_range[:, None], other=0)
        spread = tl.reshape(words, [PIXELS_BLOCK, GROUPS, 1, 8])
        spread = tl.broadcast_to(spread, [PIXELS_BLOCK, GROUPS, 8, 8])
        spread = tl.reshape(spread, [PIXELS_BLOCK, CHANNELS_BLOCK])
        place = tl.arange(0, CHANNELS_BLOCK)
        return (spread >> ((place // 8 % 8) * 4)[None, :]) & 15
    else:
        channel = first_channel + tl.arange(0, CHANNELS_BLOCK)
        at = r_ptr + pixel[:, None].to(tl.int64) * CHANNELS + channel[None, :]
        return tl.load(at, mask=in_range[:, None], other=0).to(tl.int32)


@triton.jit
def convolution(
    x_ptr,
    w_ptr,
    bias_ptr,
    factor_ptr,
    scale_ptr,
    out_ptr,
    r_ptr,
    r_w_ptr,
    r_bias_ptr,
    r_factor_ptr,
    r_factor2_ptr,
    pixels,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXEL_BYTES: tl.constexpr,
    BYTES: tl.constexpr,
    TAPS_Y: tl.constexpr,
    TAPS_X: tl.constexpr,
    STRIDE_Y: tl.constexpr,
    STRIDE_X: tl.constexpr,
    PAD_Y: tl.constexpr,
    PAD_X: tl.constexpr,
    FOUR_BIT: tl.constexpr,
    SHIFT: tl.constexpr,
    OUT_FOUR_BIT: tl.constexpr,
    FLOAT: tl.constexpr,
    PAIRS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    R_HEIGHT: tl.constexpr,
    R_WIDTH: tl.constexpr,
    R_BYTES: tl.constexpr,
    R_TAPS_Y: tl.constexpr,
    R_TAPS_X: tl.constexpr,
    R_STRIDE_Y: tl.constexpr,
    R_STRIDE_X: tl.constexpr,
    R_FOUR_BIT: tl.constexpr,
    R_SHIFT: tl.constexpr,
    R_SHIFT2: tl.constexpr,
    RELU_FIRST: tl.constexpr,
    PACKED_WEIGHTS: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    BLOCK_BYTES: tl.constexpr,
    R_BLOCK_BYTES: tl.constexpr,
    STAGES: tl.constexpr,
    PERSISTENT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`requantize(convolution(x) + bias + residual)`, every tile; grid: tiles, or programs if
    PERSISTENT. Tiles along channels follow each other, so that they find the input in the cache.
    """
    CHANNEL_TILES: tl.constexpr = CHANNELS // CHANNELS_BLOCK
    tiles = tl.cdiv(pixels, PIXELS_BLOCK) * CHANNEL_TILES
    first = tl.program_id(0)
    if PERSISTENT:
        last = tiles
    else:
        last = first + 1
    for tile in range(first, last, tl.num_programs(0)):
        first_channel = (tile % CHANNEL_TILES) * CHANNELS_BLOCK
        channel = first_channel + tl.arange(0, CHANNELS_BLOCK)
        pixel = (tile // CHANNEL_TILES) * PIXELS_BLOCK + tl.arange(0, PIXELS_BLOCK)
        in_range = pixel < pixels
        image = pixel // (OUT_HEIGHT * OUT_WIDTH)
        row = pixel // OUT_WIDTH % OUT_HEIGHT
        column = pixel % OUT_WIDTH
        bias = tl.load(bias_ptr + channel)
        if FLOAT:
            bias += _FLOAT_INTEGER
        total = tl.zeros([PIXELS_BLOCK, CHANNELS_BLOCK], dtype=tl.int32) + bias[None, :]
        total = accumulate(
            total,
            x_ptr,
            w_ptr,
            image,
            row,
            column,
            channel,
            in_range,
            HEIGHT,
            WIDTH,
            PIXEL_BYTES,
            BYTES,
            TAPS_Y,
            TAPS_X,
            STRIDE_Y,
            STRIDE_X,
            PAD_Y,
            PAD_X,
            FOUR_BIT,
            PACKED_WEIGHTS,
            BLOCK_BYTES,
            STAGES,
            INTERPRETED,
        )
        if RELU_FIRST:
            total = tl.maximum(total, _FLOAT_INTEGER if FLOAT else 0)
        if RESIDUAL == IDENTITY:
            carried = load_residual(
                r_ptr,
                pixel,
                in_range,
                first_channel,
                CHANNELS,
                PIXELS_BLOCK,
                CHANNELS_BLOCK,
                R_FOUR_BIT,
            )
            half: tl.constexpr = (1 << R_SHIFT) >> 1
            total += (carried * tl.load(r_factor_ptr + channel)[None, :] + half) >> R_SHIFT
        if RESIDUAL == DOWNSAMPLE:
            r_bias = tl.load(r_bias_ptr + channel)
            branch = tl.zeros([PIXELS_BLOCK, CHANNELS_BLOCK], dtype=tl.int32) + r_bias[None, :]
            branch = accumulate(
                branch,
                r_ptr,
                r_w_ptr,
                image,
                row,
                column,
                channel,
                in_range,
                R_HEIGHT,
                R_WIDTH,
                R_BYTES,
                R_BYTES,
                R_TAPS_Y,
                R_TAPS_X,
                R_STRIDE_Y,
                R_STRIDE_X,
                0,
                0,
                R_FOUR_BIT,
                PACKED_WEIGHTS,
                R_BLOCK_BYTES,
                STAGES,
                INTERPRETED,
            )
            branch = signed_requantize(branch, r_factor_ptr, channel, R_SHIFT)
            branch = tl.minimum(tl.maximum(branch, -127), 127)
            total += signed_requantize(branch, r_factor2_ptr, channel, R_SHIFT2)
        MOST: tl.constexpr = 15 if OUT_FOUR_BIT else 127
        value = requantize(
            total, factor_ptr, scale_ptr, channel, SHIFT, MOST, FLOAT, not PAIRS, INTERPRETED
        )
        store_output(
            out_ptr,
            value,
            pixel,
            in_range,
            first_channel,
            CHANNELS,
            PIXELS_BLOCK,
            CHANNELS_BLOCK,
            OUT_FOUR_BIT,
            PAIRS,
        )
