"""Kernel configurations by id: what they are, which shapes they fit, which are worth trying.

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

import math
from collections.abc import Iterator, Sequence
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

_WAVE = 132
_MEASURED_TO_STAY = 128
_MIDDLE_TILE = 16 * 16 * 7
_WASTE = 4
_LONG_STEPS = 32
"""Pixels of the tiles, of small batches, whose time is that of their steps one after another."""


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


def candidates(shape: LayerShape, batch: int, shared_limit: int) -> tuple[Configuration, ...]:
    """The configurations worth measuring for a shape and batch, in order of id.

    Dropped beforehand: what does not fit; long steps of large tiles; more steps in flight than
    there are steps; tiles larger than `_WASTE` times the work; small tiles where large ones
    already fill the GPU; persistent programs that would make only a few tiles each; integer
    requantization, which is never faster (it is there for weights that float32 cannot do).
    """
    pixels = shape.out_pixels * batch
    steps_of_bytes = shape.kernel[0] * shape.kernel[1] * shape.slice_bytes
    kept = []
    for choice in configurations().values():
        if choice.step_bytes == 256 and not choice.stationary and choice.pixels > _LONG_STEPS:
            continue
        if choice.integer_requantize or refusal(choice, shape, shared_limit) is not None:
            continue
        if not choice.stationary and choice.stages > max(2, steps_of_bytes // choice.step_bytes):
            continue
        if choice.pixels > max(16, _WASTE * pixels):
            continue
        programs = _programs(choice, shape, batch)
        if _dominated(choice, shape, batch, shared_limit):
            continue
        if choice.pixels < 64 and programs > 8 * _WAVE:
            continue
        if choice.chained and programs < 2 * _WAVE * (shape.out_channels // choice.channels):
            continue
        if choice.stationary and programs < 2 * _WAVE:
            continue
        if choice.persistent and (programs < 4 * _WAVE or choice.packed_weights):
            continue
        kept.append(choice)
    return tuple(kept)


def _dominated(choice: Configuration, shape: LayerShape, batch: int, shared_limit: int) -> bool:
    """What lost clearly wherever it was measured, for batches that fill the GPU many times."""
    if _programs(configuration(FIRST_ID + _MIDDLE_TILE), shape, batch) < 8 * _WAVE:
        return False
    if choice.warps == 2 or choice.pixels < 64 or choice.channels == 256:
        return True
    if shape.residual is not None and shape.residual.kind == "downsample":
        return False
    if shape.kernel != (1, 1):
        return choice.chained
    if choice.chained:
        return True
    stays = Configuration(
        0, 64, 64, 4, shape.slice_bytes, 2, stationary=True, residual_first=choice.residual_first
    )
    can_stay = shape.slice_bytes <= _MEASURED_TO_STAY and (
        refusal(stays, shape, shared_limit) is None
    )
    return can_stay and not choice.stationary and not choice.chained


def first_round(choices: Sequence[Configuration], shape: LayerShape) -> tuple[Configuration, ...]:
    """Of `candidates`, one of each tile: plain flavour, the middle pipeline that fits."""
    best: dict[tuple[int, ...], Configuration] = {}
    for choice in choices:
        if _flavour(choice) not in _FIRST_FLAVOURS:
            continue
        tile = _kind(choice)
        if tile not in best or _plainness(choice, shape) < _plainness(best[tile], shape):
            best[tile] = choice
    return tuple(best.values())


def next_round(
    choices: Sequence[Configuration], ranking: Sequence[Configuration], tiles: int
) -> tuple[Configuration, ...]:
    """Of `candidates`, what is one step away from the best of the first `tiles` tiles in `ranking`.

    A step is another pipeline, or another flavour.
    """
    leaders: dict[tuple[int, ...], Configuration] = {}
    for choice in ranking:
        leaders.setdefault(_kind(choice), choice)
    near = []
    for leader in list(leaders.values())[:tiles]:
        for choice in choices:
            if _tile(choice) != _tile(leader):
                continue
            same_pipeline = (choice.step_bytes, choice.stages) == (
                leader.step_bytes,
                leader.stages,
            )
            if same_pipeline != (_flavour(choice) == _flavour(leader)):
                near.append(choice)
    return tuple(near)


def default_configuration(shape: LayerShape, batch: int, shared_limit: int) -> Configuration:
    """What runs where nothing was tuned. Raises `InputError` where nothing fits."""
    choices = [
        choice
        for choice in first_round(candidates(shape, batch, shared_limit), shape)
        if _flavour(choice) in (_PLAIN, _STATIONARY)
    ]
    if not choices:
        raise InputError(f"no kernel configuration fits a layer of shape {shape.text}")
    return min(choices, key=lambda choice: rough_cost(choice, shape, batch))


def valid_configurations(shape: LayerShape, shared_limit: int) -> tuple[Configuration, ...]:
    """All that fit a shape by themselves: without chained ones, which are of two layers."""
    return tuple(
        choice
        for choice in configurations().values()
        if not choice.chained
        and not choice.integer_requantize
        and refusal(choice, shape, shared_limit) is None
    )


def nearest_configuration(choice: Configuration, fitting: Sequence[Configuration]) -> Configuration:
    """The one of `fitting` that differs least from `choice`: in flavour, tile, step, stages, warps.

    `choice` itself where it is there.
    """
    if choice in fitting:
        return choice
    return min(fitting, key=lambda other: (*_distance(choice, other), other.id))


def _distance(choice: Configuration, other: Configuration) -> tuple[float, ...]:
    """How far two configurations are from each other, what matters most first."""
    flavours = zip(_flavour(choice), _flavour(other), strict=True)
    pairs = ((choice.pixels, other.pixels), (choice.channels, other.channels))
    return (
        sum(a != b for a, b in flavours),
        sum(abs(math.log2(a / b)) for a, b in pairs),
        abs(math.log2(choice.step_bytes / other.step_bytes)),
        abs(choice.stages - other.stages),
        abs(choice.warps - other.warps),
    )


def _tile(choice: Configuration) -> tuple[int, int, int]:
    return choice.pixels, choice.channels, choice.warps


def _kind(choice: Configuration) -> tuple[int, ...]:
    return (*_tile(choice), choice.stationary, choice.chained, choice.near)


def _flavour(choice: Configuration) -> tuple[bool, ...]:
    return (
        choice.packed_weights,
        choice.persistent,
        choice.integer_requantize,
        choice.residual_first,
        choice.stationary,
        choice.chained,
        choice.near,
    )


_PLAIN = (False,) * 7
_STATIONARY = (*_PLAIN[:4], True, False, False)
_CHAINED = (*_PLAIN[:5], True, False)
_FIRST_FLAVOURS = (_PLAIN, _STATIONARY, _CHAINED, (*_PLAIN[:6], True), (*_STATIONARY[:6], True))


def _plainness(choice: Configuration, shape: LayerShape) -> tuple[int, int]:
    wanted = min(64, shape.slice_bytes)
    stages = 2 if choice.stationary and shape.kernel != (1, 1) else 3
    return abs(choice.step_bytes - wanted), abs(choice.stages - stages)


def _programs(choice: Configuration, shape: LayerShape, batch: int) -> int:
    pixels = shape.out_pixels * batch
    return -(-pixels // choice.pixels) * (shape.out_channels // choice.channels)


def rough_cost(choice: Configuration, shape: LayerShape, batch: int) -> tuple[float, int]:
    """A rough time, then the id: whole waves of tiles, each costing its area and a fixed start."""
    waves = -(-_programs(choice, shape, batch) // (2 * _WAVE))
    pressure = choice.pixels * choice.channels / (32 * choice.warps)
    return waves * (choice.pixels * choice.channels + 2048) * (1.5 if pressure > 64 else 1.0) * (
        0.7 if choice.stationary else 1.0
    ), (choice.id)
