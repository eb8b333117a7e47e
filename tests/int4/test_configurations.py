"""Ids keep their meaning; what does not fit is refused before compiling, in one line."""

from dataclasses import replace

import pytest

from autosinian.errors import InputError
from autosinian.int4.configurations import (
    Configuration,
    configuration,
    configurations,
    refusal,
    require_valid,
    shared_bytes,
)
from autosinian.int4.layer_shape import LayerShape, ResidualShape
from autosinian.int4.promising import candidates, default_configuration, first_round, next_round
from tests.int4.recorded_times import BATCH, SHAPES, SHARED_BYTES

EXPANSION = LayerShape(
    56, 56, 64, 4, 56, 56, 256, 4, residual=ResidualShape("identity", 56, 56, 256, 4)
)


def test_known_ids_have_their_meaning() -> None:
    assert configuration(1000) == Configuration(1000, 16, 64, 4, 32, 2)
    assert configuration(3314) == Configuration(
        3314, 128, 128, 4, 32, 2, persistent=True, residual_first=True
    )
    assert configuration(2821).stationary and configuration(2823).chained


def test_ids_are_unique_and_none_is_of_a_published_file() -> None:
    table = configurations()
    assert all(identity == choice.id >= 1000 for identity, choice in table.items())
    assert len({replace(choice, id=0) for choice in table.values()}) == len(table)


@pytest.mark.parametrize("identity", [0, 40, 999, 1007, 10**9])
def test_an_unknown_id_is_refused(identity: int) -> None:
    with pytest.raises(InputError, match=str(identity)) as error:
        configuration(identity)
    assert ("another engine" in str(error.value)) == (identity < 1000)


@pytest.mark.parametrize(
    ("identity", "shape", "reason"),
    [
        (1256 + 4 * 256, SHAPES[0], "divide the 64 output channels"),
        (1096, SHAPES[0], "divide the 32 bytes"),
        (1002 + 10, SHAPES[3], "weights can stay only"),
        (1008, SHAPES[0], "only an identity residual"),
        (1014, SHAPES[0], "follows"),
        (1001, replace(SHAPES[0], weight_bits=8), "only 4-bit weights"),
    ],
)
def test_what_does_not_fit_a_shape_is_told(identity: int, shape: LayerShape, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        require_valid(identity, shape, SHARED_BYTES, "layer1_residual1_conv1")
    assert "\n" not in str(error.value)
    assert "layer1_residual1_conv1" in str(error.value)


def test_shared_memory_is_checked_before_compiling() -> None:
    largest = max(configurations().values(), key=lambda choice: choice.pixels * choice.channels)
    wide = LayerShape(14, 14, 1024, 4, 14, 14, 1024, 4)
    assert "shared memory" in (refusal(largest, wide, 16 << 10) or "")


@pytest.mark.parametrize(
    ("identity", "needed", "fits"), [(4532, 245760, False), (4516, 163840, True)]
)
def test_shared_memory_of_weights_that_stay_counts_the_residual(
    identity: int, needed: int, fits: bool
) -> None:
    # As triton 3.6 compiled them for an H100, whose programs have 232,448 bytes.
    last = LayerShape(
        7, 7, 512, 4, 7, 7, 2048, 4, residual=ResidualShape("identity", 7, 7, 2048, 4)
    )
    assert shared_bytes(configuration(identity), last) == needed
    assert (refusal(configuration(identity), last, SHARED_BYTES) is None) == fits
    assert (configuration(identity) in candidates(last, 1024, SHARED_BYTES)) == fits


@pytest.mark.parametrize("shape", [*SHAPES, EXPANSION], ids=lambda shape: shape.text)
@pytest.mark.parametrize("batch", [1, 8, BATCH])
def test_candidates_fit_and_rounds_choose_from_them(shape: LayerShape, batch: int) -> None:
    legal = candidates(shape, batch, SHARED_BYTES)
    assert all(refusal(choice, shape, SHARED_BYTES) is None for choice in legal)
    assert not any(choice.integer_requantize for choice in legal)
    first = first_round(legal, shape)
    second = next_round(legal, first, 3)
    assert set(first) <= set(legal) and set(second) <= set(legal)
    assert 0 < len(first) < len(legal)
    assert default_configuration(shape, batch, SHARED_BYTES) in first


def test_long_steps_are_tried_for_small_tiles_alone() -> None:
    deep = LayerShape(7, 7, 512, 4, 7, 7, 512, 4, (3, 3), (1, 1), (1, 1))
    long = [c for c in candidates(deep, 1, SHARED_BYTES) if c.step_bytes == 256]
    assert {choice.pixels for choice in long if not choice.stationary} == {16, 32}


def test_small_batches_get_small_tiles() -> None:
    small = default_configuration(SHAPES[3], 1, SHARED_BYTES)
    large = default_configuration(SHAPES[3], BATCH, SHARED_BYTES)
    assert small.pixels * small.channels < large.pixels * large.channels
