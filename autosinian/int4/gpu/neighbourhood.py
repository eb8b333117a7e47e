"""The kernel of convolutions with several taps whose weights stay, as in `pointwise`.

All taps of a tile of pixels are one step; programs keep the weights of every tap and go from tile
to tile. Only for few channels, as weights fill the shared memory.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"

import triton
import triton.language as tl

from autosinian.int4.gpu.epilogue import MAGIC_BITS, requantize, store_output
from autosinian.int4.gpu.operands import near_offset, nibbles, plus_product, wait_for_previous


@triton.jit(do_not_specialize=["pixels", "zero"])
def neighbourhood(
    x_ptr,
    w_ptr,
    bias_ptr,
    factor_ptr,
    scale_ptr,
    out_ptr,
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
    PIXELS_BLOCK: tl.constexpr,
    CHANNELS_BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    NEAR: tl.constexpr,
    INTEGER_CORES: tl.constexpr,
    DEPENDENT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """`requantize(convolution(x) + bias)`; tensors as in `convolution`, programs in `pointwise`."""
    CHANNEL_TILES: tl.constexpr = CHANNELS // CHANNELS_BLOCK
    PLANES: tl.constexpr = 2 if FOUR_BIT else 1
    TAPS: tl.constexpr = TAPS_Y * TAPS_X
    program = tl.program_id(0)
    first_channel = (program % CHANNEL_TILES) * CHANNELS_BLOCK
    channel = first_channel + tl.arange(0, CHANNELS_BLOCK)
    piece = tl.arange(0, BYTES)
    w_at = w_ptr + channel[None, :] * (TAPS * PLANES * BYTES) + piece[:, None]
    weights = (tl.load(w_at),)
    for plane in tl.static_range(1, TAPS * PLANES):
        weights = weights + (tl.load(w_at + plane * BYTES),)  # noqa: RUF005  (triton has no star)
    bias = tl.load(bias_ptr + channel) + (MAGIC_BITS if FLOAT else 0)
    scale = tl.load(scale_ptr + channel)
    wait_for_previous(DEPENDENT)
    x_ptr += near_offset(zero, NEAR)
    tiles = tl.cdiv(pixels, PIXELS_BLOCK)
    programs = tl.num_programs(0) // CHANNEL_TILES
    for tile in tl.range(program // CHANNEL_TILES, tiles, programs, num_stages=STAGES):
        pixel = tile * PIXELS_BLOCK + tl.arange(0, PIXELS_BLOCK)
        in_range = pixel < pixels
        top = pixel // OUT_WIDTH % OUT_HEIGHT * STRIDE_Y - PAD_Y
        left = pixel % OUT_WIDTH * STRIDE_X - PAD_X
        origin = (pixel // (OUT_HEIGHT * OUT_WIDTH) * HEIGHT + top) * WIDTH + left
        x_at = x_ptr + origin[:, None].to(tl.int64) * PIXEL_BYTES + piece[None, :]
        total = tl.zeros([PIXELS_BLOCK, CHANNELS_BLOCK], dtype=tl.int32) + bias[None, :]
        for tap in tl.static_range(TAPS):
            y = top + tap // TAPS_X
            z = left + tap % TAPS_X
            inside = in_range
            if PAD_Y > 0 or PAD_X > 0:
                inside = in_range & (y >= 0) & (y < HEIGHT) & (z >= 0) & (z < WIDTH)
            at = x_at + (tap // TAPS_X * WIDTH + tap % TAPS_X) * PIXEL_BYTES
            x = tl.load(at, mask=inside[:, None], other=0)
            if FOUR_BIT:
                x_low, x_high = nibbles(x, INTERPRETED)
                total = plus_product(total, x_low, weights[2 * tap], INTEGER_CORES)
                total = plus_product(total, x_high, weights[2 * tap + 1], INTEGER_CORES)
            else:
                total = plus_product(total, x, weights[tap], INTEGER_CORES)
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
