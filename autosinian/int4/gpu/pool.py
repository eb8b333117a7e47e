"""Max-pool on packed activations, average pool and fully connected layer."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import triton
import triton.language as tl


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
    BLOCK: tl.constexpr,
):
    """Largest value of each window, packed as it came; `words` int32 words of output in all.

    Values stay in place inside their word under a mask: larger masked words hold larger values,
    and with HALVES one instruction compares two at once.
    """
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    pixel = index // PIXEL_WORDS
    word = index % PIXEL_WORDS
    image = pixel // (OUT_HEIGHT * OUT_WIDTH)
    top = pixel // OUT_WIDTH % OUT_HEIGHT * STRIDE - PAD
    left = pixel % OUT_WIDTH * STRIDE - PAD
    FIELDS: tl.constexpr = (16 if HALVES else 32) // BITS
    FIELD: tl.constexpr = ((1 << BITS) - 1) * (0x10001 if HALVES else 1)
    result = tl.zeros([BLOCK], dtype=tl.int32)
    for field in tl.static_range(FIELDS):
        largest = tl.zeros([BLOCK], dtype=tl.int32)
        for tap in tl.static_range(KERNEL * KERNEL):
            y = top + tap // KERNEL
            x = left + tap % KERNEL
            inside = (index < words) & (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < WIDTH)
            at = ((image * HEIGHT + y) * WIDTH + x).to(tl.int64) * PIXEL_WORDS + word
            value = tl.load(x_ptr + at, mask=inside, other=0)
            if HALVES:
                largest = _larger_halves(largest, value & (FIELD << (BITS * field)))
            else:
                # Down to the low bits: compared as signed, the topmost field would be negative.
                largest = tl.maximum(largest, (value >> (BITS * field)) & FIELD)
        if HALVES:
            result |= largest
        else:
            result |= largest << (BITS * field)
    tl.store(out_ptr + index, result, mask=index < words)


@triton.jit
def average_pool(x_ptr, out_ptr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr):
    """int8 `images x PIXELS x CHANNELS` to int8 `images x CHANNELS`: the mean, to nearest."""
    image = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], dtype=tl.int32)
    for pixel in range(PIXELS):
        at = (image * PIXELS + pixel) * CHANNELS + channel
        total += tl.load(x_ptr + at, mask=channel < CHANNELS, other=0).to(tl.int32)
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
):
    """int8 `images x X_CHANNELS` (the first CHANNELS of them) times int8 `CLASSES x CHANNELS` plus
    bias: int32 logits.
    """
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
        total = tl.dot(x, w, total, out_dtype=tl.int32)
    total += tl.load(bias_ptr + wanted, mask=known, other=0)[None, :]
    at = image[:, None].to(tl.int64) * CLASSES + wanted[None, :]
    tl.store(out_ptr + at, total, mask=(image < images)[:, None] & known[None, :])
