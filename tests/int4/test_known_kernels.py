"""What was tuned before runs without an autoconfig, on that GPU model and near that batch alone."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from autosinian.int4.configurations import configuration, refusal
from autosinian.int4.gpu.plan import plan
from autosinian.int4.known_kernels import (
    FIELDS,
    KNOWN,
    known_configuration,
    known_rows,
    shape_key,
)
from autosinian.int4.layer_shape import LayerShape
from autosinian.int4.model_reader import read_model
from tests.int4.recorded_times import SHAPES, SHARED_BYTES

H100 = "NVIDIA H100 80GB HBM3"


def rows() -> list[dict[str, str]]:
    with KNOWN.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_names_each_shape_once_for_a_batch_and_ids_of_ours() -> None:
    found = rows()
    assert tuple(found[0]) == FIELDS
    assert len({(row["device"], row["batch"], row["key"]) for row in found}) == len(found)
    for row in found:
        configuration(int(row["id"]))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.text)
def test_a_known_shape_gets_the_tables_kernel_at_the_nearest_batch(shape: LayerShape) -> None:
    tuned = {
        int(row["batch"]): int(row["id"])
        for row in rows()
        if row["device"] == H100 and row["key"] == shape_key(shape)
    }
    for batch, identity in tuned.items():
        for near in (batch, batch + 1):
            found = known_configuration(shape, near, H100, SHARED_BYTES)
            assert found is not None
            assert found.id == identity
    assert 1024 in tuned


def test_another_gpu_shape_or_far_batch_is_unknown() -> None:
    shape = SHAPES[3]
    largest = max(int(row["batch"]) for row in rows())
    assert known_configuration(shape, largest, H100, SHARED_BYTES) is not None
    assert known_configuration(shape, 17 * largest, H100, SHARED_BYTES) is None
    assert known_configuration(shape, largest, "NVIDIA A100-SXM4-80GB", SHARED_BYTES) is None
    wider = replace(shape, weight_bits=8)
    assert wider.text == shape.text
    assert known_configuration(wider, largest, H100, SHARED_BYTES) is None
    assert known_configuration(shape, largest, H100, 1 << 10) is None


def test_a_tuned_network_makes_a_line_for_each_distinct_shape() -> None:
    layers = {"a": SHAPES[0], "b": SHAPES[1], "c": SHAPES[0], "untuned": SHAPES[2]}
    choices = {"a": configuration(1780), "b": configuration(1781), "c": configuration(1780)}
    assert [(row["shape"], row["id"]) for row in known_rows(layers, choices, 8, "GPU")] == [
        (SHAPES[0].text, 1780),
        (SHAPES[1].text, 1781),
    ]


@pytest.mark.shared_data
def test_every_launch_of_the_published_network_is_known_for_an_h100(published: Path) -> None:
    for layer in plan(read_model(published / "model")).convolutions():
        found = known_configuration(layer.shape, 1024, H100, SHARED_BYTES)
        assert found is not None
        assert refusal(found, layer.shape, SHARED_BYTES) is None
