"""Which kernel configurations are worth trying for a shape, in which order, and what runs first."""

import math
from collections.abc import Sequence

from autosinian.errors import InputError
from autosinian.int4.configurations import (
    FIRST_ID,
    Configuration,
    configuration,
    configurations,
    refusal,
)
from autosinian.int4.layer_shape import LayerShape

_WAVE = 132
_MEASURED_TO_STAY = 128
_MIDDLE_TILE = 16 * 16 * 7
_WASTE = 4
_LONG_STEPS = 32
"""Pixels of the tiles, of small batches, whose time is that of their steps one after another."""
_PLAIN = (False,) * 7
_STATIONARY = (*_PLAIN[:4], True, False, False)
_CHAINED = (*_PLAIN[:5], True, False)
_FIRST_FLAVOURS = (_PLAIN, _STATIONARY, _CHAINED, (*_PLAIN[:6], True), (*_STATIONARY[:6], True))


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
