"""The reference on the processor against plain int64 arithmetic, bit for bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.cpu_layers import Rescale
from autosinian.int4.model_reader import read_model
from autosinian.int4.network import Network, Quantize
from tests.int4.gpu import oracle
from tests.int4.small_networks import VARIANTS, random_images, small_network
from tests.int4.test_bounds import wide_network


def check(network: Network, count: int = 7, threads: int = 2) -> None:
    images = random_images(network, count)
    executor = CpuExecutor(network, threads)
    given = executor.logits(images)
    executor.close()
    assert given.dtype == np.int32
    np.testing.assert_array_equal(given, oracle.logits(network, images))
    assert len(np.unique(given, axis=0)) > 1, "all images look alike, which proves little"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_network_is_computed_exactly(variant: str) -> None:
    options: dict[str, Any] = VARIANTS[variant]
    check(small_network(**options))


def test_maps_that_fill_the_cache_many_times_are_computed_exactly() -> None:
    check(small_network(widths=(256,), depth=1, pool_size=24), count=2)


def test_products_beyond_32_bits_are_computed_in_64() -> None:
    check(wide_network())


@pytest.mark.parametrize(("kind", "output"), [("s32", "s8"), ("s8", "s32"), ("u4", "u31")])
@pytest.mark.parametrize("shift", [0, 1, 16])
@pytest.mark.parametrize("wide", [False, True])
def test_halves_go_away_from_zero_on_both_sides(
    kind: str, output: str, shift: int, wide: bool
) -> None:
    import torch

    factor = np.array([0, 1, 3, 1 << 14], np.int32)
    quantize = Quantize("q", factor, shift, kind, output)
    low, high = {"s32": (-9000, 9000), "s8": (-127, 127), "u4": (0, 15)}[kind]
    values = np.arange(low, high + 1, dtype=np.int64)[:, None].repeat(4, 1)
    given = Rescale(quantize, None, wide=wide)(torch.from_numpy(values.astype(np.int32)))
    wanted = oracle.rescale(quantize, values[:, :, None, None])[:, :, 0, 0]
    np.testing.assert_array_equal(given.numpy(), wanted)


def test_as_many_threads_and_images_as_one_likes() -> None:
    network = small_network()
    images = random_images(network, 9)
    wanted = CpuExecutor(network, 1).logits(images)
    executor = CpuExecutor(network, 3)
    for count in (1, 2, 5, 9):
        np.testing.assert_array_equal(executor.logits(images[:count]), wanted[:count])


@pytest.mark.parametrize(
    "shape", [(0, 3, 16, 16), (3, 16, 16), (1, 3, 15, 16), (1, 4, 16, 16), (1, 3, 32, 32)]
)
def test_images_of_another_size_are_refused_in_one_line(shape: tuple[int, ...]) -> None:
    executor = CpuExecutor(small_network(), 1)
    with pytest.raises(InputError, match="images must be int8, N x 3 x 16 x 16"):
        executor.logits(np.zeros(shape, np.int8))
    with pytest.raises(InputError, match="got uint8"):
        executor.logits(np.zeros((1, 3, 16, 16), np.uint8))


@pytest.mark.shared_data
def test_the_published_model_is_computed_exactly(published: Path) -> None:
    network = read_model(published / "model")
    images = random_images(network, 1)
    given = CpuExecutor(network, 2).logits(images)
    np.testing.assert_array_equal(given, oracle.logits(network, images))


def test_a_relu_before_a_negative_sum_changes_nothing() -> None:
    network = small_network()
    stem = network.stem[0]
    negative = replace(stem.conv, bias=np.full_like(stem.conv.bias, -30000))
    dark = replace(network, stem=(replace(stem, conv=negative),))
    images = random_images(dark, 3)
    np.testing.assert_array_equal(CpuExecutor(dark, 1).logits(images), oracle.logits(dark, images))
