"""The convolution kernel: implicit GEMM on packed activations with everything after it fused.

One program makes a tile of `pixels x channels` of the output. Its K loop runs over filter taps and
slices of input channels; a slice of 4-bit activations is loaded as bytes, and low and high nibbles
(one mask, one shift) are two slices of 8-bit operands for the tensor cores. Accumulators start at
the bias, or at the residual. The epilogue (`epilogue`) adds the residual, rescales in the way the
weights allow and packs (layout: `packing`).
"""

# Triton kernels are compiled from source: their parameters cannot carry the types mypy wants.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl

from autosinian.int4.gpu.epilogue import (
    MAGIC_BITS,
    downsampled,
    plus_residual,
    requantize,
    store_output,
)
from autosinian.int4.gpu.operands import (
    near_offset,
    nibbles,
    plus_product,
    signed_nibbles,
    wait_for_previous,
)

NO_RESIDUAL: tl.constexpr = tl.constexpr(0)
IDENTITY: tl.constexpr = tl.constexpr(1)
DOWNSAMPLE: tl.constexpr = tl.constexpr(2)


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
    INTEGER_CORES: tl.constexpr,
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
            total = plus_product(total, x_low, w_low, INTEGER_CORES)
            total = plus_product(total, x_high, w_high, INTEGER_CORES)
        else:
            total = plus_product(total, x, tl.load(w_at), INTEGER_CORES)
    return total


@triton.jit(do_not_specialize=["pixels", "zero"])
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
    r_scale_ptr,
    r_scale2_ptr,
    n_x_ptr,
    n_w_ptr,
    n_bias_ptr,
    n_factor_ptr,
    n_scale_ptr,
    n_out_ptr,
    pixels,
    zero,
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
    MOST: tl.constexpr,
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
    R_FLOAT: tl.constexpr,
    RELU_FIRST: tl.constexpr,
    RESIDUAL_FIRST: tl.constexpr,
    PACKED_WEIGHTS: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    BLOCK_BYTES: tl.constexpr,
    R_BLOCK_BYTES: tl.constexpr,
    STAGES: tl.constexpr,
    PERSISTENT: tl.constexpr,
    NEAR: tl.constexpr,
    CHAINED: tl.constexpr,
    N_CHANNELS: tl.constexpr,
    N_CHANNELS_BLOCK: tl.constexpr,
    N_BLOCK_BYTES: tl.constexpr,
    N_SHIFT: tl.constexpr,
    N_FLOAT: tl.constexpr,
    N_PAIRS: tl.constexpr,
    INTEGER_CORES: tl.constexpr,
    DEPENDENT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`requantize(convolution(x) + bias + residual)`, every tile; grid: tiles, or programs if
    PERSISTENT. Tiles along channels follow each other, so that they find the input in the cache.

    If CHAINED, a program makes all channels of its pixels and then those of the 1x1 convolution
    that follows (`n_`: 4-bit, without a residual; `n_x_ptr` is `out_ptr` as bytes), which reads
    what was just written and is still in the cache; grid: tiles of pixels.
    """
    CHANNEL_TILES: tl.constexpr = CHANNELS // CHANNELS_BLOCK
    tiles = tl.cdiv(pixels, PIXELS_BLOCK) * CHANNEL_TILES
    first = tl.program_id(0)
    wait_for_previous(DEPENDENT)
    x_ptr += near_offset(zero, NEAR)
    if PERSISTENT:  # noqa: SIM108  (a choice at compile time)
        last = tiles
    else:
        last = first + 1
    if CHAINED:
        first = first * CHANNEL_TILES
        last = first + CHANNEL_TILES
    for tile in range(first, last, 1 if CHAINED else tl.num_programs(0)):
        first_channel = (tile % CHANNEL_TILES) * CHANNELS_BLOCK
        channel = first_channel + tl.arange(0, CHANNELS_BLOCK)
        pixel = (tile // CHANNEL_TILES) * PIXELS_BLOCK + tl.arange(0, PIXELS_BLOCK)
        in_range = pixel < pixels
        image = pixel // (OUT_HEIGHT * OUT_WIDTH)
        row = pixel // OUT_WIDTH % OUT_HEIGHT
        column = pixel % OUT_WIDTH
        bias = tl.load(bias_ptr + channel)
        if FLOAT and not (RESIDUAL == DOWNSAMPLE and R_FLOAT):
            bias += MAGIC_BITS
        total = tl.zeros([PIXELS_BLOCK, CHANNELS_BLOCK], dtype=tl.int32)
        # A residual that is there first becomes the accumulators' start: one set of registers.
        if RESIDUAL == DOWNSAMPLE:
            total += (tl.load(r_bias_ptr + channel) + (MAGIC_BITS if R_FLOAT else 0))[None, :]
            total = accumulate(
                total,
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
                INTEGER_CORES,
                INTERPRETED,
            )
            total = downsampled(
                total,
                r_factor_ptr,
                r_factor2_ptr,
                r_scale_ptr,
                r_scale2_ptr,
                channel,
                R_SHIFT,
                R_SHIFT2,
                R_FLOAT,
                INTERPRETED,
            )
        if RESIDUAL == IDENTITY and RESIDUAL_FIRST:
            total = plus_residual(
                bias[None, :],
                r_ptr,
                r_factor_ptr,
                tl.load(r_scale_ptr + channel),
                pixel,
                in_range,
                first_channel,
                CHANNELS,
                PIXELS_BLOCK,
                CHANNELS_BLOCK,
                R_FOUR_BIT,
                R_SHIFT,
                R_FLOAT,
            )
        else:
            total += bias[None, :]
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
            INTEGER_CORES,
            INTERPRETED,
        )
        if RELU_FIRST:
            total = tl.maximum(total, MAGIC_BITS if FLOAT else 0)
        if RESIDUAL == IDENTITY and not RESIDUAL_FIRST:
            total = plus_residual(
                total,
                r_ptr,
                r_factor_ptr,
                tl.load(r_scale_ptr + channel),
                pixel,
                in_range,
                first_channel,
                CHANNELS,
                PIXELS_BLOCK,
                CHANNELS_BLOCK,
                R_FOUR_BIT,
                R_SHIFT,
                R_FLOAT,
            )
        scale = tl.load(scale_ptr + channel)
        value = requantize(
            total, factor_ptr, scale, channel, SHIFT, MOST, FLOAT, not PAIRS, INTERPRETED
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
    if CHAINED:
        # What other threads of the program stored becomes visible to all of them.
        tl.debug_barrier()
        pixel = tl.program_id(0) * PIXELS_BLOCK + tl.arange(0, PIXELS_BLOCK)
        in_range = pixel < pixels
        for n_first_channel in range(0, N_CHANNELS, N_CHANNELS_BLOCK):
            n_channel = n_first_channel + tl.arange(0, N_CHANNELS_BLOCK)
            n_bias = tl.load(n_bias_ptr + n_channel) + (MAGIC_BITS if N_FLOAT else 0)
            n_total = tl.zeros([PIXELS_BLOCK, N_CHANNELS_BLOCK], dtype=tl.int32) + n_bias[None, :]
            n_total = accumulate(
                n_total,
                n_x_ptr,
                n_w_ptr,
                pixel * 0,
                pixel * 0,
                pixel,
                n_channel,
                in_range,
                1,
                1,
                CHANNELS // 2,
                CHANNELS // 2,
                1,
                1,
                1,
                1,
                0,
                0,
                True,
                False,
                N_BLOCK_BYTES,
                STAGES,
                INTEGER_CORES,
                INTERPRETED,
            )
            n_scale = tl.load(n_scale_ptr + n_channel)
            n_value = requantize(
                n_total,
                n_factor_ptr,
                n_scale,
                n_channel,
                N_SHIFT,
                15,
                N_FLOAT,
                not N_PAIRS,
                INTERPRETED,
            )
            store_output(
                n_out_ptr,
                n_value,
                pixel,
                in_range,
                n_first_channel,
                N_CHANNELS,
                PIXELS_BLOCK,
                N_CHANNELS_BLOCK,
                True,
                N_PAIRS,
            )
