"""The kernel of 1x1 convolutions whose weights stay: many tiles of pixels by each program.

A program keeps the weights of its output channels in shared memory and their scales in registers,
and goes from one tile of pixels to the next while what the next ones need is on its way. Only for
few input channels, as all of them are one step.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl

from autosinian.int4.gpu.epilogue import MAGIC_BITS, plus_residual, requantize, store_output
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
    r_factor_ptr,
    r_scale_ptr,
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
    if FLOAT:
        bias += MAGIC_BITS
    scale = tl.load(scale_ptr + channel)
    r_scale = scale
    if IDENTITY:
        r_scale = tl.load(r_scale_ptr + channel)
    wait_for_previous(DEPENDENT)
    tiles = tl.cdiv(pixels, PIXELS_BLOCK)
    programs = tl.num_programs(0) // CHANNEL_TILES
    for tile in tl.range(program // CHANNEL_TILES, tiles, programs, num_stages=STAGES):
        pixel = tile * PIXELS_BLOCK + tl.arange(0, PIXELS_BLOCK)
        in_range = pixel < pixels
        x_at = x_ptr + pixel[:, None].to(tl.int64) * BYTES + piece[None, :]
        x = tl.load(x_at, mask=in_range[:, None], other=0)
        if IDENTITY and RESIDUAL_FIRST:
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
