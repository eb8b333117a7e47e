"""The kernel of 1x1 convolutions whose weights stay: many tiles of pixels by each program.

A program keeps the weights of its output channels in shared memory and their scales in registers,
and goes from one tile of pixels to the next while what the next ones need is on its way. Only for
few input channels, as all of them are one step.
"""

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
from autosinian.int4.gpu.operands import nibbles, plus_product, wait_for_previous


@triton.jit(do_not_specialize=["pixels"])
def pointwise(
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
    pixels,
    CHANNELS: tl.constexpr,
    BYTES: tl.constexpr,
    FOUR_BIT: tl.constexpr,
    SHIFT: tl.constexpr,
    MOST: tl.constexpr,
    OUT_FOUR_BIT: tl.constexpr,
    FLOAT: tl.constexpr,
    PAIRS: tl.constexpr,
    IDENTITY: tl.constexpr,
    DOWNSAMPLE: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    R_HEIGHT: tl.constexpr,
    R_WIDTH: tl.constexpr,
    R_BYTES: tl.constexpr,
    R_STRIDE_Y: tl.constexpr,
    R_STRIDE_X: tl.constexpr,
    R_SHIFT2: tl.constexpr,
    R_FOUR_BIT: tl.constexpr,
    R_SHIFT: tl.constexpr,
    R_FLOAT: tl.constexpr,
    RESIDUAL_FIRST: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    INTEGER_CORES: tl.constexpr,
    DEPENDENT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`requantize(x w + bias + residual)`; the number of programs is a multiple of channel tiles.

    Tensors as in `convolution`.
    """
    CHANNEL_TILES: tl.constexpr = CHANNELS // CHANNELS_BLOCK
    PLANES: tl.constexpr = 2 if FOUR_BIT else 1
    program = tl.program_id(0)
    first_channel = (program % CHANNEL_TILES) * CHANNELS_BLOCK
    channel = first_channel + tl.arange(0, CHANNELS_BLOCK)
    piece = tl.arange(0, BYTES)
    w_at = w_ptr + channel[None, :] * (PLANES * BYTES) + piece[:, None]
    w_low = tl.load(w_at)
    if FOUR_BIT:
        w_high = tl.load(w_at + BYTES)
    bias = tl.load(bias_ptr + channel)
    if FLOAT and not (DOWNSAMPLE and R_FLOAT):
        bias += MAGIC_BITS
    scale = tl.load(scale_ptr + channel)
    r_scale = scale
    if IDENTITY:
        r_scale = tl.load(r_scale_ptr + channel)
    if DOWNSAMPLE:
        r_piece = tl.arange(0, R_BYTES)
        R_PLANES: tl.constexpr = 2 if R_FOUR_BIT else 1
        r_w_at = r_w_ptr + channel[None, :] * (R_PLANES * R_BYTES) + r_piece[:, None]
        r_w_low = tl.load(r_w_at)
        if R_FOUR_BIT:
            r_w_high = tl.load(r_w_at + R_BYTES)
        r_bias = tl.load(r_bias_ptr + channel) + (MAGIC_BITS if R_FLOAT else 0)
    wait_for_previous(DEPENDENT)
    tiles = tl.cdiv(pixels, PIXELS_BLOCK)
    programs = tl.num_programs(0) // CHANNEL_TILES
    for tile in tl.range(program // CHANNEL_TILES, tiles, programs, num_stages=STAGES):
        pixel = tile * PIXELS_BLOCK + tl.arange(0, PIXELS_BLOCK)
        in_range = pixel < pixels
        x_at = x_ptr + pixel[:, None].to(tl.int64) * BYTES + piece[None, :]
        x = tl.load(x_at, mask=in_range[:, None], other=0)
        if DOWNSAMPLE:
            row = pixel // OUT_WIDTH % OUT_HEIGHT * R_STRIDE_Y
            line = pixel // (OUT_HEIGHT * OUT_WIDTH) * R_HEIGHT + row
            r_pixel = line * R_WIDTH + pixel % OUT_WIDTH * R_STRIDE_X
            r_at = r_ptr + r_pixel[:, None].to(tl.int64) * R_BYTES + r_piece[None, :]
            r = tl.load(r_at, mask=in_range[:, None], other=0)
            total = tl.zeros([PIXELS_BLOCK, CHANNELS_BLOCK], dtype=tl.int32) + r_bias[None, :]
            if R_FOUR_BIT:
                r_low, r_high = nibbles(r, INTERPRETED)
                total = plus_product(total, r_low, r_w_low, INTEGER_CORES)
                total = plus_product(total, r_high, r_w_high, INTEGER_CORES)
            else:
                total = plus_product(total, r, r_w_low, INTEGER_CORES)
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
            total += bias[None, :]
        elif IDENTITY and RESIDUAL_FIRST:
            total = plus_residual(
                bias[None, :],
                r_ptr,
                r_factor_ptr,
                r_scale,
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
            total = tl.zeros([PIXELS_BLOCK, CHANNELS_BLOCK], dtype=tl.int32) + bias[None, :]
        if FOUR_BIT:
            x_low, x_high = nibbles(x, INTERPRETED)
            total = plus_product(total, x_low, w_low, INTEGER_CORES)
            total = plus_product(total, x_high, w_high, INTEGER_CORES)
        else:
            total = plus_product(total, x, w_low, INTEGER_CORES)
        if IDENTITY and not RESIDUAL_FIRST:
            total = plus_residual(
                total,
                r_ptr,
                r_factor_ptr,
                r_scale,
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
