"""Every configuration id gives the oracle's bits; interpreted, warps and stages change nothing."""

import pytest

from autosinian.int4.configurations import TILES, configurations, refusal
from autosinian.int4.gpu.device import Device, open_device
from autosinian.int4.gpu.launch import constants
from tests.int4.gpu.single_layers import chained_pair, pointwise, run

# Interpreted, there is room for what no GPU has.
MUCH = 1 << 20


@pytest.fixture(scope="module")
def device() -> Device:
    return open_device()


@pytest.mark.parametrize("tile", range(len(TILES)))
def test_every_id_of_a_tile_is_exact(tile: int, device: Device) -> None:
    seen = set()
    for choice in configurations().values():
        if (choice.pixels, choice.channels, choice.warps) != TILES[tile]:
            continue
        after = None
        if choice.near:
            continue  # for several taps, see test_executor
        if choice.chained:
            layer, after = chained_pair(2 * choice.step_bytes, choice.channels, seed=choice.id)
        else:
            layer = pointwise(2 * choice.step_bytes, choice.channels, True, seed=choice.id)
        assert refusal(choice, layer.shape, MUCH) is None
        values = constants(layer, choice, 9, after) | {"STAGES": 0}
        key = tuple(sorted(values.items()))
        if key not in seen:
            seen.add(key)
            assert run(layer, choice, device, 1, choice.id, after), choice
    assert len(seen) >= 15


def test_ids_of_equal_programs_differ_in_warps_or_stages_alone(device: Device) -> None:
    layer = pointwise(256, 256, identity=True)
    by_program: dict[object, set[tuple[int, int]]] = {}
    fitting = [
        choice
        for choice in configurations().values()
        if refusal(choice, layer.shape, device.shared_bytes) is None
    ]
    for choice in fitting:
        values = constants(layer, choice, 9) | {"STAGES": 0}
        by_program.setdefault(tuple(sorted(values.items())), set()).add(
            (choice.warps, choice.stages)
        )
    assert sum(map(len, by_program.values())) == len(fitting) > 500
