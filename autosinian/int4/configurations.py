"""Kernel configurations by id: what they are, which shapes they fit, which are worth trying.

The ids of published autoconfig files (0 to 40) name another engine's kernels; ours start at
`FIRST_ID` and never change their meaning. An id is made of choices, each a decimal digit or two:

    id = 1000 + 16 * (16 * tile + pipeline) + flavour

* `tile` (`TILES`): output pixels x output channels of one program, and its warps. From 64 pixels
  and 4 warps on, Hopper's warp-group instructions are used; smaller tiles and 2 warps use the
  older ones, and give more programs to small batches.
* `pipeline` (`PIPELINES`): bytes of an input pixel loaded a step (4-bit channels: two a byte), and
  how many steps are in flight.
* `flavour`: bit 0 keeps the weights packed in 4 bits in memory (unpacked in the kernel; else
  unpacked once beforehand: twice the bytes, fewer instructions); bit 1 runs a fixed number of
  persistent programs, each making many tiles; bit 2 requantizes with integers instead of exact
  float32.

All give the same results, bit for bit; only time differs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from autosinian.errors import InputError
from autosinian.int4.layer_shape import LayerShape

FIRST_ID = 1000

TILES = (
    # pixels, channels, warps
    (16, 64, 4),
    (32, 64, 4),
    (64, 64, 2),
    (64, 64, 4),
    (64, 128, 4),
    (64, 256, 4),
    (64, 256, 8),
    (128, 64, 4),
    (128, 64, 8),
    (128, 128, 4),
    (128, 128, 8),
    (128, 256, 8),
    (256, 64, 8),
    (256, 128, 8),
)
PIPELINES = (
    # bytes a step, steps in flight
    (32, 2),
    (32, 3),
    (32, 4),
    (64, 2),
    (64, 3),
    (64, 4),
    (128, 2),
    (128, 3),
)
FLAVOURS = (0, 1, 2, 3, 4)

_SMALLEST_WAVE = 132
_WASTE = 4


@dataclass(frozen=True)
class Configuration:
    """One way to run a convolution's kernel; plain data."""

    id: int
    pixels: int
    channels: int
    warps: int
    step_bytes: int
    stages: int
    packed_weights: bool
    persistent: bool
    integer_requantize: bool


@cache
def configurations() -> dict[int, Configuration]:
    """Every configuration by id."""
    return {configuration.id: configuration for configuration in _all()}


def _all() -> Iterator[Configuration]:
    for tile, (pixels, channels, warps) in enumerate(TILES):
        for pipeline, (step_bytes, stages) in enumerate(PIPELINES):
            for flavour in FLAVOURS:
                yield Configuration(
                    FIRST_ID + 16 * (16 * tile + pipeline) + flavour,
                    pixels,
                    channels,
                    warps,
                    step_bytes,
                    stages,
                    packed_weights=bool(flavour & 1),
                    persistent=bool(flavour & 2),
                    integer_requantize=bool(flavour & 4),
                )


def configuration(identity: int) -> Configuration:
    """The configuration of an id. Raises `InputError` for an id that is not in the table."""
    table = configurations()
    if identity not in table:
        engine = (
            "names another engine's kernel (published autoconfig files have 0 to 40)"
            if identity < FIRST_ID
            else "is not in the table"
        )
        raise InputError(
            f"a kernel configuration id must be one of ours, {FIRST_ID} to {max(table)}, but "
            f"{identity} {engine}; run `autosinian int4 tune` to make a file for this GPU"
        )
    return table[identity]


def shared_bytes(configuration: Configuration, shape: LayerShape) -> int:
    """Shared memory that the steps in flight take, an estimate from below."""
    planes = 2 if shape.bits == 4 and not configuration.packed_weights else 1
    rows = configuration.pixels + planes * configuration.channels
    step = min(configuration.step_bytes, shape.slice_bytes)
    steps = shape.kernel[0] * shape.kernel[1] * (shape.slice_bytes // step)
    return rows * step * min(configuration.stages, steps)


def refusal(configuration: Configuration, shape: LayerShape, shared_limit: int) -> str | None:
    """Why a configuration does not fit a shape, decided before compiling; None if it does."""
    if shape.out_channels % configuration.channels:
        return (
            f"tiles of {configuration.channels} channels must divide the "
            f"{shape.out_channels} output channels"
        )
    if shape.slice_bytes % configuration.step_bytes:
        return (
            f"steps of {configuration.step_bytes} bytes must divide the "
            f"{shape.slice_bytes} bytes of an input pixel"
        )
    residual = shape.residual
    if residual is not None and residual.kind == "downsample":
        branch_bytes = residual.channels * residual.bits // 8
        if branch_bytes % min(configuration.step_bytes, branch_bytes):
            return f"steps must divide the {branch_bytes} bytes of the downsample's input pixel"
    if configuration.packed_weights and not _packable(shape):
        return "only 4-bit weights of 4-bit activations can be kept packed"
    need = shared_bytes(configuration, shape)
    if need > shared_limit:
        return f"{need} bytes of shared memory are needed and {shared_limit} are there"
    return None


def _packable(shape: LayerShape) -> bool:
    parts = [(shape.bits, shape.weight_bits)]
    if shape.residual is not None and shape.residual.kind == "downsample":
        parts.append((shape.residual.bits, shape.residual.weight_bits))
    return all(part == (4, 4) for part in parts)


def require_valid(identity: int, shape: LayerShape, shared_limit: int, layer: str) -> None:
    """Raise `InputError`, in one line, if an id is unknown or does not fit the layer's shape."""
    reason = refusal(configuration(identity), shape, shared_limit)
    if reason is not None:
        raise InputError(
            f"configuration {identity} does not fit layer {layer} ({shape.text}): {reason}"
        )


def candidates(shape: LayerShape, batch: int, shared_limit: int) -> tuple[Configuration, ...]:
    """The configurations worth measuring for a shape and batch, most promising first.

    Dropped beforehand: what does not fit; more steps in flight than there are steps; tiles larger
    than `_WASTE` times the work; small tiles where large ones already fill the GPU; integer
    requantization, which is never faster (it is there for weights that float32 cannot do).
    """
    pixels = shape.out_pixels * batch
    steps_of_bytes = shape.kernel[0] * shape.kernel[1] * shape.slice_bytes
    kept = []
    for choice in configurations().values():
        if choice.integer_requantize or refusal(choice, shape, shared_limit) is not None:
            continue
        steps = steps_of_bytes // choice.step_bytes
        if choice.stages > max(2, steps):
            continue
        if choice.pixels > max(16, _WASTE * pixels):
            continue
        programs = -(-pixels // choice.pixels) * (shape.out_channels // choice.channels)
        if choice.pixels < 64 and programs > 8 * _SMALLEST_WAVE:
            continue
        if choice.persistent and programs < 4 * _SMALLEST_WAVE:
            continue
        if choice.packed_weights and choice.persistent:
            continue
        kept.append((abs(_promise(choice, programs)), choice.id, choice))
    return tuple(choice for _, _, choice in sorted(kept))


def _promise(choice: Configuration, programs: int) -> float:
    """Smaller is likelier to be fast: whole waves, middling tiles, plain flavours."""
    filled = min(1.0, programs / _SMALLEST_WAVE)
    area = choice.pixels * choice.channels / (128 * 128)
    return (
        (1 - filled) * 4
        + abs(area - 1 if area > 1 else 1 / max(area, 0.01) - 1) * 0.2
        + 0.4 * choice.packed_weights
        + 0.2 * choice.persistent
    )


def default_configuration(shape: LayerShape, batch: int, shared_limit: int) -> Configuration:
    """What runs where nothing was tuned. Raises `InputError` where nothing fits."""
    choices = candidates(shape, batch, shared_limit)
    if not choices:
        raise InputError(f"no kernel configuration fits a layer of shape {shape.text}")
    return choices[0]
