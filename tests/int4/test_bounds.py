"""The largest value of any layer, from the weights alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.int4.bounds import bounds
from autosinian.int4.model_reader import read_model
from autosinian.int4.network import Network
from tests.int4.small_networks import small_network


@pytest.mark.shared_data
def test_32_bits_suffice_for_the_published_model(published: Path) -> None:
    found = bounds(read_model(published / "model"))
    assert found.wide() == ()
    # Seen in images: accumulators up to 430,709 and products up to 84,898,682.
    assert 430_709 <= max(bound for name, bound in found.sums.items() if name != "fc") < 1 << 22
    assert 84_898_682 <= max(found.products.values()) < 1 << 27


def test_a_stem_of_all_ones_is_bounded_by_its_taps() -> None:
    network = small_network()
    stem = network.stem[0]
    weight = np.ones_like(stem.conv.weight)
    conv = replace(stem.conv, weight=weight, bias=np.full_like(stem.conv.bias, -5))
    found = bounds(replace(network, stem=(replace(stem, conv=conv),)))
    assert found.sums["conv1"] == 27 * 127 + 5


def wide_network() -> Network:
    """A network whose first Quantize needs 64 bits: factors at their largest."""
    network = small_network(eight_bit=True, seed=3)
    stem = network.stem[0]
    quantize = replace(stem.quantize, factor=np.full_like(stem.quantize.factor, 65535), shift=27)
    return replace(network, stem=(replace(stem, quantize=quantize),))


def test_a_product_beyond_32_bits_is_named() -> None:
    assert bounds(wide_network()).wide() == ("quantize1",)


def test_a_sum_beyond_32_bits_is_refused_with_its_layer() -> None:
    network = small_network()
    stem = network.stem[0]
    bias = np.full_like(stem.conv.bias, (1 << 31) - 1)
    conv = replace(stem.conv, bias=bias, bias_type="s32")
    with pytest.raises(InputError, match="conv1 must keep its sums within 32 bits"):
        bounds(replace(network, stem=(replace(stem, conv=conv),)))
