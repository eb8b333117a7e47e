"""Max-pool on packed activations, average pool and fully connected layer."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl

from autosinian.int4.gpu.operands import plus_product, wait_for_previous


@triton.jit
def _larger_halves(first, second):
    """Larger of the upper and of the lower 16 bits of two int32 tensors, unsigned (sm_90)."""
    return tl.inline_asm_elementwise(
        "max.u16x2 $0, $1, $2;",
        "=r,r,r",
        [first, second],
        dtype=tl.int32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def _window_largest(
    x_ptr,
    base,
    top,
    left,
    word,
    known,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXEL_WORDS: tl.constexpr,
    KERNEL: tl.constexpr,
    BITS: tl.constexpr,
    HALVES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Largest value of the windows at `top`, `left`, packed as it came.

    The map begins at pixel `base`. Values stay in place inside their word under a mask: larger
    masked words hold larger values, and with HALVES one instruction compares two at once.
    """
    FIELD: tl.constexpr = (1 << BITS) - 1
    result = tl.zeros([BLOCK], dtype=tl.int32)
    first, second, third, fourth = result, result, result, result
    for tap in tl.static_range(KERNEL * KERNEL):
        y = top + tap // KERNEL
        x = left + tap % KERNEL
        inside = known & (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < WIDTH)
        at = (base + y * WIDTH + x) * PIXEL_WORDS + word
        value = tl.load(x_ptr + at, mask=inside, other=0)
        if HALVES:
            if BITS == 4:
                first = _larger_halves(first, value & 0x000F000F)
                second = _larger_halves(second, value & 0x00F000F0)
                third = _larger_halves(third, value & 0x0F000F00)
                # All but the other three: 0xF000F000 is no int32.
                fourth = _larger_halves(fourth, value & ~0x0FFF0FFF)
            else:
                first = _larger_halves(first, value & 0x007F007F)
                second = _larger_halves(second, value & 0x7F007F00)
        else:
            larger = tl.zeros([BLOCK], dtype=tl.int32)
            for place in tl.static_range(32 // BITS):
                # Down to the low bits: compared as signed, the topmost field would be negative.
                present = (result >> (BITS * place)) & FIELD
                new = (value >> (BITS * place)) & FIELD
                larger |= tl.maximum(present, new) << (BITS * place)
            result = larger
    if HALVES:
        result = first | second | third | fourth
    return result


@triton.jit
def max_pool(
    x_ptr,
    out_ptr,
    words,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXEL_WORDS: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    BITS: tl.constexpr,
    HALVES: tl.constexpr,
    DEPENDENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Largest value of each window; `words` int32 words of output in all."""
    wait_for_previous(DEPENDENT)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    pixel = index // PIXEL_WORDS
    image = pixel // (OUT_HEIGHT * OUT_WIDTH)
    result = _window_largest(
        x_ptr,
        (image * (HEIGHT * WIDTH)).to(tl.int64),
        pixel // OUT_WIDTH % OUT_HEIGHT * STRIDE - PAD,
        pixel % OUT_WIDTH * STRIDE - PAD,
        index % PIXEL_WORDS,
        index < words,
        HEIGHT,
        WIDTH,
        PIXEL_WORDS,
        KERNEL,
        BITS,
        HALVES,
        BLOCK,
    )
    tl.store(out_ptr + index, result, mask=index < words)


@triton.jit
def average_pool(
    x_ptr,
    out_ptr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    DEPENDENT: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """int8 `images x PIXELS x CHANNELS` to int8 `images x CHANNELS`: the mean, to nearest.

    PIXELS_BLOCK pixels are on their way at once.
    """
    wait_for_previous(DEPENDENT)
    image = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], dtype=tl.int32)
    for first in range(0, PIXELS, PIXELS_BLOCK):
        pixel = first + tl.arange(0, PIXELS_BLOCK)
        at = (image * PIXELS + pixel[:, None]) * CHANNELS + channel[None, :]
        known = (pixel < PIXELS)[:, None] & (channel < CHANNELS)[None, :]
        total += tl.sum(tl.load(x_ptr + at, mask=known, other=0).to(tl.int32), axis=0)
    mean = (total + PIXELS // 2) // PIXELS
    tl.store(out_ptr + image * CHANNELS + channel, mean.to(tl.int8), mask=channel < CHANNELS)


@triton.jit
def linear(
    x_ptr,
    w_ptr,
    bias_ptr,
    out_ptr,
    images,
    X_CHANNELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    CLASSES: tl.constexpr,
    IMAGES_BLOCK: tl.constexpr,
    CLASSES_BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    INTEGER_CORES: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """int8 `images x X_CHANNELS` (the first CHANNELS of them) times int8 `CLASSES x CHANNELS` plus
    bias: int32 logits.
    """
    wait_for_previous(DEPENDENT)
    image = tl.program_id(0) * IMAGES_BLOCK + tl.arange(0, IMAGES_BLOCK)
    wanted = tl.program_id(1) * CLASSES_BLOCK + tl.arange(0, CLASSES_BLOCK)
    known = wanted < CLASSES
    piece = tl.arange(0, STEP)
    total = tl.zeros([IMAGES_BLOCK, CLASSES_BLOCK], dtype=tl.int32)
    for first in range(0, CHANNELS, STEP):
        at = first + piece
        x = tl.load(
            x_ptr + image[:, None] * X_CHANNELS + at[None, :],
            mask=(image < images)[:, None] & (at < CHANNELS)[None, :],
            other=0,
        )
        w = tl.load(
            w_ptr + wanted[None, :] * CHANNELS + at[:, None],
            mask=known[None, :] & (at < CHANNELS)[:, None],
            other=0,
        )
        total = plus_product(total, x, w, INTEGER_CORES)
    total += tl.load(bias_ptr + wanted, mask=known, other=0)[None, :]
    at = image[:, None].to(tl.int64) * CLASSES + wanted[None, :]
    tl.store(out_ptr + at, total, mask=(image < images)[:, None] & known[None, :])
