"""Networks whose parts do not fit together are refused with the layer's name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.int4.network import Bottleneck, Conv, Downsample, MaxPool, Network, Quantize
from tests.int4.small_networks import small_network


def with_block(network: Network, change: Callable[[Bottleneck], Bottleneck]) -> Network:
    """`network` with its first block changed."""
    (first, *others), *layers = network.layers
    return replace(network, layers=((change(first), *others), *layers))


def with_conv1(change: Callable[[Conv], Conv]) -> Callable[[Network], Network]:
    return lambda network: with_block(network, lambda b: replace(b, conv1=change(b.conv1)))


def with_quantize1(change: Callable[[Quantize], Quantize]) -> Callable[[Network], Network]:
    return lambda network: with_block(network, lambda b: replace(b, quantize1=change(b.quantize1)))


def downsample_in_place_of_identity(network: Network) -> Network:
    def change(block: Bottleneck) -> Bottleneck:
        assert isinstance(block.residual, Downsample)
        return replace(block, residual=replace(block.residual.to_s8, name="layer1_0_downsample"))

    return with_block(network, change)


WRONG: dict[str, tuple[Callable[[Network], Network], str]] = {
    "name": (with_conv1(lambda c: replace(c, name="conv9")), "conv9 must be named layer1_0_conv1"),
    "weights": (
        with_conv1(lambda c: replace(c, weight=np.full_like(c.weight, 8))),
        "layer1_0_conv1 must have 4-bit weights from -8 to 7, got (8, 8)",
    ),
    "weight type": (
        with_conv1(lambda c: replace(c, weight=c.weight.astype(np.int16))),
        "must have int8 weights, K x C x R x S, got int16",
    ),
    "bits": (with_conv1(lambda c: replace(c, weight_bits=5)), "must have weight_bits 4 or 8"),
    "bias": (
        with_conv1(lambda c: replace(c, bias=np.full_like(c.bias, 1 << 15))),
        "must have biases that fit s16, got (32768, 32768)",
    ),
    "bias length": (with_conv1(lambda c: replace(c, bias=c.bias[:-1])), "must have 8 int32 biases"),
    "strides": (with_conv1(lambda c: replace(c, stride=(1, 2))), "must have one stride >= 1"),
    "input": (
        with_conv1(lambda c: replace(c, input_type="u7")),
        "layer1_0_conv1 must read u4, what is before it, got u7",
    ),
    "factor": (
        with_quantize1(lambda q: replace(q, factor=q.factor - 70000)),
        "layer1_0_quantize1 must have factors from 0 to 65535",
    ),
    "factors": (with_quantize1(lambda q: replace(q, factor=q.factor[1:])), "must have 8 int32 fac"),
    "shift": (with_quantize1(lambda q: replace(q, shift=32)), "must have a shift from 0 to 31"),
    "output": (
        with_quantize1(lambda q: replace(q, output_type="s8")),
        "layer1_0_quantize1 must write u4 or u7, got s8",
    ),
    "identity": (downsample_in_place_of_identity, "layer1_0_downsample must read u4, got s32"),
    "pool": (
        lambda network: replace(network, max_pool=MaxPool(5, 2, 0)),
        "avgpool must span the last map, 1 x 1, got 2",
    ),
    "head": (
        lambda network: replace(
            network, linear=replace(network.linear, weight=network.linear.weight[:, 1:])
        ),
        "fc must have 24 in_features",
    ),
    "scale": (
        lambda network: replace(network, out_scale=np.zeros_like(network.out_scale)),
        "scale must have finite output scales that are not 0",
    ),
    "empty": (lambda network: replace(network, layers=()), "layers of at least one block"),
    "line end": (lambda network: replace(network, line_end="\r"), "line_end must be LF or CR LF"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_one_line(name: str) -> None:
    change, told = WRONG[name]
    with pytest.raises(InputError) as caught:
        change(small_network())
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_image_follows_from_pool_and_strides() -> None:
    assert small_network(pool_size=3).input_shape == (3, 24, 24)
    assert small_network(stem=3, pooled_downsample=True).input_shape == (3, 16, 16)
