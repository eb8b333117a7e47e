"""Images as the first convolution wants them: pixels of 16 bytes, padded, channels last.

A first convolution of stride 2 on three channels has rows of taps of a few bytes, far from what
tensor cores take. Arranged, each 2 x 2 square of pixels is one pixel of 12 channels and 4 zeros,
and the filter becomes one of half the taps each way and stride 1 (7x7 becomes 4x4). A row of its
taps is then one run of bytes in memory, which is read as a single slice. With stride 1 each pixel
keeps its own place. Padding is written out, so that the convolution needs no bounds.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from dataclasses import dataclass

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.int4.gpu.operands import wait_for_previous
from autosinian.int4.layer_shape import LayerShape, padded
from autosinian.int4.network import Conv

PIXEL_BYTES = 16
_SLICE_STEP = 32


@dataclass(frozen=True)
class Arrangement:
    """How images of `3 x height x width` become `rows x columns` pixels of 16 bytes.

    `factor`: side of the square of pixels that becomes one; `before_y`, `before_x`: arranged
    pixels of padding at the top and left; `taps_y x taps_x` the arranged filter;
    `slice_bytes` a row of its taps, padded to whole steps.
    """

    channels: int
    height: int
    width: int
    factor: int
    before_y: int
    before_x: int
    rows: int
    columns: int
    taps_y: int
    taps_x: int
    slice_bytes: int

    def image_bytes(self) -> int:
        """Bytes of an arranged image."""
        return self.rows * self.columns * PIXEL_BYTES


def arrangement(conv: Conv, height: int, width: int) -> Arrangement:
    """The arrangement for a first convolution on images of `height x width`.

    Raises `InputError` for more channels than a pixel of 16 bytes holds.
    """
    factor = 2 if conv.stride == (2, 2) and not (height % 2 or width % 2) else 1
    if conv.in_channels * factor * factor > PIXEL_BYTES or conv.stride != (factor, factor):
        raise InputError(
            f"the first convolution must have stride 1, or 2 on images of even sides, and few "
            f"enough channels for pixels of {PIXEL_BYTES} bytes, but {conv.name} has stride "
            f"{conv.stride} and {conv.in_channels} channels on {height} x {width}"
        )
    (taps_rows, taps_columns), (pad_y, pad_x) = conv.kernel_size, conv.padding
    before_y, before_x = -(-pad_y // factor), -(-pad_x // factor)
    taps_y = (taps_rows - 1 - pad_y) // factor + before_y + 1
    taps_x = (taps_columns - 1 - pad_x) // factor + before_x + 1
    out_height, out_width = conv.output_size(height, width)
    slice_bytes = -(-taps_x * PIXEL_BYTES // _SLICE_STEP) * _SLICE_STEP
    return Arrangement(
        conv.in_channels,
        height,
        width,
        factor,
        before_y,
        before_x,
        out_height + taps_y - 1,
        out_width + taps_x - 1,
        taps_y,
        taps_x,
        slice_bytes,
    )


def first_shape(conv: Conv, arranged: Arrangement, out_bits: int) -> LayerShape:
    """The first convolution as a layer on arranged images."""
    out_height, out_width = conv.output_size(arranged.height, arranged.width)
    return LayerShape(
        height=arranged.rows,
        width=arranged.columns,
        channels=PIXEL_BYTES,
        bits=8,
        out_height=out_height,
        out_width=out_width,
        out_channels=padded(conv.out_channels),
        out_bits=out_bits,
        kernel=(arranged.taps_y, 1),
        pixel_bytes=PIXEL_BYTES,
        slice_bytes=arranged.slice_bytes,
    )


def first_weights(conv: Conv, arranged: Arrangement) -> NDArray[np.int8]:
    """`K x C x R x S` as `K x taps_y x 1 x slice_bytes`, zeros where an arranged tap has none."""
    factor = arranged.factor
    wide = np.zeros(
        (
            padded(conv.out_channels),
            arranged.taps_y,
            arranged.slice_bytes // PIXEL_BYTES,
            PIXEL_BYTES,
        ),
        np.int8,
    )
    (rows, columns), (pad_y, pad_x) = conv.kernel_size, conv.padding
    for row in range(rows):
        block_y, part_y = divmod(row - pad_y, factor)
        for column in range(columns):
            block_x, part_x = divmod(column - pad_x, factor)
            first = part_y * conv.in_channels * factor + part_x
            wide[
                : conv.out_channels,
                block_y + arranged.before_y,
                block_x + arranged.before_x,
                first : first + conv.in_channels * factor : factor,
            ] = conv.weight[:, :, row, column]
    return wide.reshape(padded(conv.out_channels), arranged.taps_y, 1, arranged.slice_bytes)


@triton.jit
def _word(
    x_ptr,
    image,
    y,
    x,
    known,
    WORD: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    FACTOR: tl.constexpr,
):
    """Four bytes of arranged pixels."""
    PARTS: tl.constexpr = 4 // FACTOR
    packed = (x * 0).to(tl.int32)
    for part in tl.static_range(PARTS):
        place = WORD * PARTS + part
        if place < CHANNELS * FACTOR:
            row = y + place // CHANNELS
            inside = known & (row >= 0) & (row < HEIGHT) & (x >= 0) & (x < WIDTH // FACTOR)
            line = (image * CHANNELS + place % CHANNELS) * HEIGHT + row
            at = x_ptr + line * (WIDTH // FACTOR) + x
            value = tl.load(at, mask=inside, other=0).to(tl.int32)
            if FACTOR == 2:
                packed |= (value & 0xFFFF) << (16 * part)
            else:
                packed |= (value & 0xFF) << (8 * part)
    return packed


@triton.jit
def arrange_images(
    x_ptr,
    rows_ptr,
    out_ptr,
    pixels,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    FACTOR: tl.constexpr,
    BY_ROW: tl.constexpr,
    BEFORE_Y: tl.constexpr,
    BEFORE_X: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPENDENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """int8 `images x CHANNELS x HEIGHT x WIDTH` to int32 words `images x ROWS x COLUMNS x 4`.

    Byte `(part_y * CHANNELS + c) * FACTOR + part_x` of a pixel is channel c of that part of its
    square, so that with FACTOR 2 neighbours are read as one int16 (`x_ptr` is then of that type).
    With BY_ROW the images are those whose int64 numbers are at `rows_ptr`, which else is not read.
    """
    wait_for_previous(DEPENDENT)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image = (pixel // (ROWS * COLUMNS)).to(tl.int64)
    y = (pixel // COLUMNS % ROWS - BEFORE_Y) * FACTOR
    x = pixel % COLUMNS - BEFORE_X
    known = pixel < pixels
    if BY_ROW:
        image = tl.load(rows_ptr + image, mask=known, other=0)
    first = _word(x_ptr, image, y, x, known, 0, CHANNELS, HEIGHT, WIDTH, FACTOR)
    second = _word(x_ptr, image, y, x, known, 1, CHANNELS, HEIGHT, WIDTH, FACTOR)
    third = _word(x_ptr, image, y, x, known, 2, CHANNELS, HEIGHT, WIDTH, FACTOR)
    fourth = _word(x_ptr, image, y, x, known, 3, CHANNELS, HEIGHT, WIDTH, FACTOR)
    # Whole pixels, so that a thread stores 16 bytes.
    words = tl.reshape(tl.join(tl.join(first, third), tl.join(second, fourth)), [BLOCK, 4])
    at = out_ptr + pixel[:, None].to(tl.int64) * 4 + tl.arange(0, 4)[None, :]
    tl.store(at, words, mask=known[:, None])
