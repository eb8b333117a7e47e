"""Kernel configurations by id: what they are, and which shapes they fit.

The ids of published autoconfig files (0 to 40) name another engine's kernels; ours start at
`FIRST_ID` and never change their meaning. An id is made of choices, each a decimal digit or two:

    id = 1000 + 16 * (16 * tile + pipeline) + flavour

* `tile` (`TILES`): output pixels x output channels of one program, and its warps. From 64 pixels
  and 4 warps on, Hopper's warp-group instructions are used; smaller tiles and 2 warps use the
  older ones, and give more programs to small batches.
* `pipeline` (`PIPELINES`): bytes of an input pixel loaded a step (4-bit channels: two a byte), and
  how many steps are in flight.
* `flavour` (`FLAVOURS`): `packed_weights` keeps weights in 4 bits in memory and unpacks them in the
  kernel (else unpacked once beforehand: twice the bytes, fewer instructions); `persistent` runs a
  fixed number of programs, each making many tiles; `integer_requantize` uses integers instead of
  exact float32; `residual_first` starts the accumulators with an identity residual instead of
  adding it last; `stationary` are other kernels for few input channels, whose persistent programs
  keep their weights and take all taps and input channels in one step; `chained` computes a block's
  last convolution and the next block's first in one launch: both lines then have the same id;
  `near` reads the input in smaller copies through the nearest cache, where taps find each other's
  pixels.

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
    (32, 128, 4),
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
    (32, 1),
    (64, 1),
    (128, 1),
    (256, 2),
    (256, 3),
)
FLAVOURS = {
    0: (),
    1: ("packed_weights",),
    2: ("persistent",),
    3: ("packed_weights", "persistent"),
    4: ("integer_requantize",),
    5: ("near",),
    6: ("near", "stationary"),
    8: ("residual_first",),
    10: ("persistent", "residual_first"),
    12: ("stationary",),
    13: ("stationary", "residual_first"),
    14: ("chained",),
    15: ("chained", "residual_first"),
}


@dataclass(frozen=True)
class Configuration:
    """One way to run a convolution's kernel; plain data."""

    id: int
    pixels: int
    channels: int
    warps: int
    step_bytes: int
    stages: int
    packed_weights: bool = False
    persistent: bool = False
    integer_requantize: bool = False
    residual_first: bool = False
    stationary: bool = False
    chained: bool = False
    near: bool = False

    def follower_channels(self, channels: int) -> int:
        """Output channels of a chained follower's tile, of `channels` in all."""
        return min(channels & -channels, self.channels)


@cache
def configurations() -> dict[int, Configuration]:
    """Every configuration by id."""
    return {configuration.id: configuration for configuration in _all()}


def _all() -> Iterator[Configuration]:
    for tile, (pixels, channels, warps) in enumerate(TILES):
        for pipeline, (step_bytes, stages) in enumerate(PIPELINES):
            for number, flavour in FLAVOURS.items():
                yield Configuration(
                    FIRST_ID + 16 * (16 * tile + pipeline) + number,
                    pixels,
                    channels,
                    warps,
                    step_bytes,
                    stages,
                    **dict.fromkeys(flavour, True),
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
    if not configuration.stationary:
        return rows * step * min(configuration.stages, steps)
    # Weights once, pixels for each step in flight but the one at work.
    taps = shape.kernel[0] * shape.kernel[1] * step
    branch = shape.residual
    if branch is not None and branch.kind == "downsample":
        taps += branch.channels * branch.bits // 8
    ahead = max(1, configuration.stages - 1) if configuration.stages > 1 else 0
    need = taps * planes * configuration.channels + ahead * taps * configuration.pixels
    if branch is not None and branch.kind == "identity":
        # A tile of it for each step in flight, and one that is spread over the threads.
        need += (ahead + 1) * configuration.pixels * configuration.channels * branch.bits // 8
    return need


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
    several = shape.kernel != (1, 1)
    if configuration.stationary and (
        (several and residual is not None)
        or (not several and (shape.stride != (1, 1) or shape.padding != (0, 0)))
        or (shape.relu_first and residual is not None)
        or (residual is not None and residual.kernel != (1, 1))
        or configuration.step_bytes != shape.slice_bytes
        or (residual is not None and residual.channels & (residual.channels - 1))
    ):
        return (
            "weights can stay only where a tap's input channels are one step, there is no residual "
            "beside several taps, and one tap has stride 1 but for a downsample's"
        )
    if configuration.near and not several:
        return "one tap finds nothing of its neighbours in the nearest cache"
    if configuration.chained and (
        shape.follower is None or shape.relu_first or shape.out_bits != 4
    ):
        return "no 1x1 convolution of 4 bits follows that could be computed in the same launch"
    if configuration.residual_first and (
        residual is None or residual.kind != "identity" or shape.relu_first
    ):
        return "only an identity residual added before the ReLU can start the accumulators"
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


def valid_configurations(shape: LayerShape, shared_limit: int) -> tuple[Configuration, ...]:
    """All that fit a shape by themselves: without chained ones, which are of two layers."""
    return tuple(
        choice
        for choice in configurations().values()
        if not choice.chained
        and not choice.integer_requantize
        and refusal(choice, shape, shared_limit) is None
    )
