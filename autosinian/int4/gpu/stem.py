"""The first convolution and its max-pool in one launch: the map between them stays in the cache.

A program makes the rows that a band of pooled rows needs, writes them to a piece of memory of its
own, and takes the windows' largest values from there; bands overlap by the rows that windows of
two bands share. Programs stay and go from band to band.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu.convolution import accumulate
from autosinian.int4.gpu.device import Device
from autosinian.int4.gpu.epilogue import MAGIC_BITS, requantize, store_output
from autosinian.int4.gpu.launch import constants
from autosinian.int4.gpu.operands import wait_for_previous
from autosinian.int4.gpu.plan import Plan
from autosinian.int4.gpu.pool import window_largest
from autosinian.int4.gpu.prepared import PreparedLayer

_WORDS = 256


@triton.jit(do_not_specialize=["images"])
def stem_and_pool(
    x_ptr,
    w_ptr,
    bias_ptr,
    factor_ptr,
    scale_ptr,
    scratch_ptr,
    out_ptr,
    images,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXEL_BYTES: tl.constexpr,
    BYTES: tl.constexpr,
    TAPS_Y: tl.constexpr,
    SHIFT: tl.constexpr,
    MOST: tl.constexpr,
    OUT_FOUR_BIT: tl.constexpr,
    FLOAT: tl.constexpr,
    PAIRS: tl.constexpr,
    POOLED_HEIGHT: tl.constexpr,
    POOLED_WIDTH: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    BAND: tl.constexpr,
    HALVES: tl.constexpr,
    PIXELS_BLOCK: tl.constexpr,
    BLOCK_BYTES: tl.constexpr,
    WORDS_BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    INTEGER_CORES: tl.constexpr,
    DEPENDENT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Arranged images to the pooled map; `scratch_ptr`: int32 words, `band rows x OUT_WIDTH x
    channels` for each program.
    """
    BANDS: tl.constexpr = (POOLED_HEIGHT + BAND - 1) // BAND
    ROWS: tl.constexpr = (BAND - 1) * STRIDE + KERNEL
    PIXEL_WORDS: tl.constexpr = CHANNELS // 8 if OUT_FOUR_BIT else CHANNELS // 4
    BITS: tl.constexpr = 4 if OUT_FOUR_BIT else 8
    wait_for_previous(DEPENDENT)
    program = tl.program_id(0)
    own_ptr = scratch_ptr + program.to(tl.int64) * (ROWS * OUT_WIDTH * PIXEL_WORDS)
    channel = tl.arange(0, CHANNELS)
    bias = tl.load(bias_ptr + channel) + (MAGIC_BITS if FLOAT else 0)
    scale = tl.load(scale_ptr + channel)
    for band in range(program, images * BANDS, tl.num_programs(0)):
        image = band // BANDS
        first = (band % BANDS) * BAND
        top = first * STRIDE - PAD
        for block in range(0, ROWS * OUT_WIDTH, PIXELS_BLOCK):
            place = block + tl.arange(0, PIXELS_BLOCK)
            row = top + place // OUT_WIDTH
            in_range = place < ROWS * OUT_WIDTH
            total = tl.zeros([PIXELS_BLOCK, CHANNELS], dtype=tl.int32) + bias[None, :]
            total = accumulate(
                total,
                x_ptr,
                w_ptr,
                place * 0 + image,
                row,
                place % OUT_WIDTH,
                channel,
                in_range & (row >= 0) & (row < OUT_HEIGHT),
                HEIGHT,
                WIDTH,
                PIXEL_BYTES,
                BYTES,
                TAPS_Y,
                1,
                1,
                1,
                0,
                0,
                False,
                False,
                BLOCK_BYTES,
                STAGES,
                INTEGER_CORES,
                INTERPRETED,
            )
            value = requantize(
                total, factor_ptr, scale, channel, SHIFT, MOST, FLOAT, not PAIRS, INTERPRETED
            )
            store_output(
                own_ptr if OUT_FOUR_BIT else own_ptr.to(tl.pointer_type(tl.int8)),
                value,
                place,
                in_range,
                0,
                CHANNELS,
                PIXELS_BLOCK,
                CHANNELS,
                OUT_FOUR_BIT,
                PAIRS,
            )
        # What other threads of the program stored becomes visible to all of them.
        tl.debug_barrier()
        for block in range(0, BAND * POOLED_WIDTH * PIXEL_WORDS, WORDS_BLOCK):
            index = block + tl.arange(0, WORDS_BLOCK)
            pixel = index // PIXEL_WORDS
            pooled_row = first + pixel // POOLED_WIDTH
            known = (index < BAND * POOLED_WIDTH * PIXEL_WORDS) & (pooled_row < POOLED_HEIGHT)
            largest = window_largest(
                own_ptr,
                0,
                -top,
                pooled_row * STRIDE - PAD,
                pixel % POOLED_WIDTH * STRIDE - PAD,
                index % PIXEL_WORDS,
                known,
                OUT_HEIGHT,
                OUT_WIDTH,
                PIXEL_WORDS,
                KERNEL,
                BITS,
                HALVES,
                WORDS_BLOCK,
            )
            at = (image * POOLED_HEIGHT + first) * POOLED_WIDTH * PIXEL_WORDS + index
            tl.store(out_ptr + at, largest, mask=known)
        tl.debug_barrier()


@dataclass(frozen=True)
class StemChoice:
    """How the launch runs: pixels of a tile, warps, steps in flight, pooled rows of a band."""

    pixels: int
    warps: int
    stages: int
    band: int
    programs_a_multiprocessor: int


DEFAULT = StemChoice(128, 4, 2, 4, 4)


class FusedStem:
    """The launch for a plan of one stem unit, with its scratch memory."""

    def __init__(
        self, plan: Plan, prepared: PreparedLayer, device: Device, choice: StemChoice = DEFAULT
    ) -> None:
        shape, pool = plan.stem[0].shape, plan.network.max_pool
        tile = Configuration(
            0, choice.pixels, shape.out_channels, choice.warps, shape.slice_bytes, choice.stages
        )
        step = shape.slice_bytes & -shape.slice_bytes
        values = constants(plan.stem[0], tile, device.capability[0])
        kept = (
            "OUT_HEIGHT OUT_WIDTH CHANNELS HEIGHT WIDTH PIXEL_BYTES BYTES TAPS_Y SHIFT MOST "
            "OUT_FOUR_BIT FLOAT PAIRS PIXELS_BLOCK STAGES INTEGER_CORES INTERPRETED"
        )
        self._constants: dict[str, Any] = {name: values[name] for name in kept.split()} | {
            "POOLED_HEIGHT": plan.pooled[0],
            "POOLED_WIDTH": plan.pooled[1],
            "KERNEL": pool.kernel_size,
            "STRIDE": pool.stride,
            "PAD": pool.padding,
            "BAND": min(choice.band, plan.pooled[0]),
            "HALVES": device.clamps_halves(),
            "BLOCK_BYTES": step,
            "WORDS_BLOCK": _WORDS * choice.warps // 4,
        }
        self._choice = choice
        self._prepared = prepared
        self._device = device
        band = self._constants["BAND"]
        self._bands = -(-plan.pooled[0] // band)
        self._programs = device.multiprocessors * choice.programs_a_multiprocessor
        rows = (band - 1) * pool.stride + pool.kernel_size
        size = self._programs * rows * shape.out_width * shape.out_channels * shape.out_bits // 32
        self._scratch = torch.zeros(size, dtype=torch.int32, device=device.torch_device)

    @staticmethod
    def fits(plan: Plan) -> bool:
        """Whether a plan's stem is one convolution whose channels make one tile."""
        return len(plan.stem) == 1 and plan.stem[0].shape.out_channels in (64, 128)

    def run(self, arranged: torch.Tensor, out: torch.Tensor, images: int) -> None:
        """Launch on the current stream: flat uint8 tensors."""
        prepared = self._prepared
        stem_and_pool[(min(self._programs, images * self._bands),)](
            arranged.view(torch.int8),
            prepared.conv.weight,
            prepared.conv.bias,
            prepared.factor,
            prepared.scale,
            self._scratch,
            out.view(torch.int32),
            images,
            **self._constants,
            **self._device.overlap(),
            num_warps=self._choice.warps,
        )
