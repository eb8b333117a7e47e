"""Which layers stay in 8 bits, and which of several networks is chosen."""

from pathlib import Path

import pytest

from autosinian.errors import InputError
from autosinian.int4.finetune.choice import Variant, choose
from autosinian.int4.finetune.precision import Layer, bits_of, layers_of
from autosinian.int4.finetune.sensitivity import (
    Sensitivity,
    checked_counts,
    most_harmed,
    weight_bytes,
)
from autosinian.int4.finetune.sources import build_resnet, folded_network
from tests.int4.finetune.small_network import RESOLUTION, layers, ofa_like, resnet


def test_a_layer_holds_all_convolutions_that_read_one_tensor() -> None:
    found = {layer.name: layer for layer in layers(resnet())}
    assert list(found) == [
        f"layer{i}_{j}_conv{k}" for i in (1, 2) for j in (0, 1) for k in (1, 2, 3)
    ]
    assert found["layer2_0_conv1"].convs == ("layer2_0_conv1", "layer2_0_downsample_0")
    assert found["layer2_0_conv1"].reads == "layer1_1_quantize3"
    assert found["layer1_0_conv1"].reads == "quantize1"
    assert found["layer2_0_conv3"].reads == "layer2_0_quantize2"


def test_every_stem_step_but_the_first_may_be_in_4_bits() -> None:
    found = layers_of(ofa_like(), RESOLUTION)
    assert [layer.name for layer in found[:3]] == ["conv1_1_conv", "conv1_2_conv", "layer1_0_conv1"]
    assert [layer.reads for layer in found[:3]] == [
        "conv1_0_quantize",
        "conv1_1_quantize",
        "conv1_2_quantize",
    ]


def test_multiply_adds_of_resnet50_are_those_of_the_published_network() -> None:
    found = layers_of(folded_network(build_resnet("resnet50", 1000)), 224)
    # 52 convolutions of the published INT4 ResNet-50 at 224 pixels.
    assert sum(layer.macs for layer in found) == 3_969_122_304
    assert sum(len(layer.convs) for layer in found) == 52


def test_a_kept_layer_has_8_bits_with_what_it_reads() -> None:
    bits = bits_of(("layer2_0_conv1",), layers(resnet()))
    assert {name for name, value in bits.items() if value == 8} == {
        "layer2_0_conv1",
        "layer2_0_downsample_0",
        "layer1_1_quantize3",
    }


def sensitivity(name: str, harm: float, weights: int = 10) -> Sensitivity:
    return Sensitivity(Layer(name, (name,), "", 1, weights), harm)


def test_the_most_harmed_layers_are_kept() -> None:
    found = [sensitivity("a", 0.1), sensitivity("b", 0.5), sensitivity("c", -0.1)]
    assert most_harmed(found, 2) == ("b", "a")
    with pytest.raises(InputError, match="must be 1 to 3"):
        most_harmed(found, 4)
    with pytest.raises(InputError, match="must be 1 to 3"):
        checked_counts((2, 0), [one.layer for one in found])


def test_a_layer_in_8_bits_takes_twice_the_bytes() -> None:
    both = [sensitivity("a", 0, 10).layer, sensitivity("b", 0, 100).layer]
    assert weight_bytes(both, ()) == 55
    assert weight_bytes(both, ("b",)) == 105


def variant(int8: int, accuracy: float) -> Variant:
    return Variant(str(int8), tuple(map(str, range(int8))), accuracy, 0.0, Path("model"))


def test_the_fewest_8_bit_layers_that_are_good_enough_are_chosen() -> None:
    variants = [variant(0, 0.930), variant(12, 0.949), variant(4, 0.940)]
    chosen = choose(variants, 0.95, 1.0)
    assert chosen is not None and len(chosen.int8) == 4
    chosen = choose(variants, 0.95, 0.5)
    assert chosen is not None and len(chosen.int8) == 12
    assert choose(variants, 0.95, 0.0) is None
