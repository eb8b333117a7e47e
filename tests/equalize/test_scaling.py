import pytest
import torch
import torchvision
from torch import nn

from autosinian.equalize.equalize import equalize, folded
from autosinian.equalize.fold import BatchNorm
from autosinian.equalize.graph import trace
from autosinian.equalize.pairs import Pair, find_pairs
from autosinian.equalize.scaling import equalize_pairs, layer, scale_pair
from tests.equalize.networks import detectorlike, greatest_error, images, settle


def _ranges(network: torch.fx.GraphModule, pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    given = layer(network, pair.first).weight.abs().flatten(1).amax(1)
    taken = layer(network, pair.second).weight.abs().amax(dim=(0, 2, 3))
    return given, taken


def test_factors_by_hand() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval()
    first, second = module[0], module[2]
    assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
    assert first.bias is not None
    with torch.no_grad():
        first.weight.copy_(torch.tensor([8.0, -1.0]).reshape(2, 1, 1, 1))
        first.bias.copy_(torch.tensor([4.0, 1.0]))
        second.weight.copy_(torch.tensor([2.0, -4.0]).reshape(1, 2, 1, 1))
    network = trace(module)
    pairs = find_pairs(network)
    norm = BatchNorm("bn", torch.tensor([2.0, 2.0]).double(), torch.tensor([6.0, 1.0]).double())
    factors, norms = equalize_pairs(network, pairs, {"0": norm})
    # sqrt(8 / 2) and sqrt(1 / 4)
    assert factors[pairs[0]].tolist() == [2.0, 0.5]
    assert layer(network, "0").weight.flatten().tolist() == [4.0, -2.0]
    assert layer(network, "2").weight.flatten().tolist() == [4.0, -2.0]
    bias = layer(network, "0").bias
    assert bias is not None and bias.tolist() == [2.0, 2.0]
    assert norms["0"].gamma.tolist() == [1.0, 4.0]
    assert norms["0"].beta.tolist() == [3.0, 2.0]


def test_ranges_on_both_sides_are_equal_afterwards() -> None:
    result = equalize(detectorlike())
    for pair in result.pairs:
        given, taken = _ranges(result.network, pair)
        torch.testing.assert_close(given, taken)


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"),
    [
        ("resnet18", torch.float32, 1e-5),
        # Random and 53 layers deep, it magnifies float32's rounding: in float64 the rewrite shows.
        ("mobilenet_v2", torch.float64, 1e-10),
    ],
)
def test_the_function_is_preserved(name: str, kind: torch.dtype, tolerance: float) -> None:
    module = settle(torchvision.models.get_model(name, weights=None, num_classes=10)).to(kind)
    result = equalize(module)
    inputs = images(2, 64).to(kind)
    with torch.no_grad():
        assert greatest_error(result.network(inputs), module(inputs)) < tolerance


def test_depthwise_and_grouped_layers_keep_the_function() -> None:
    module = settle(
        nn.Sequential(
            nn.Conv2d(3, 8, 1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 1, groups=4),
            nn.ReLU(),
            nn.Conv2d(12, 4, 1),
        )
    )
    result = equalize(module)
    assert len(result.pairs) == 3
    assert greatest_error(result.network(images(2)), module(images(2))) < 1e-5


def test_an_imbalance_between_a_pair_is_undone() -> None:
    network = folded(detectorlike()).network
    balanced = equalize(detectorlike()).network
    (pair,) = find_pairs(network)
    generator = torch.Generator().manual_seed(0)
    factors = torch.exp(torch.rand(8, generator=generator, dtype=torch.float64) * 8 - 4)
    scale_pair(network, pair, factors)
    equalize_pairs(network, [pair], {})
    for name in (pair.first, pair.second):
        torch.testing.assert_close(layer(network, name).weight, layer(balanced, name).weight)


def test_channels_that_are_zero_keep_their_scale() -> None:
    module = settle(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)))
    first = module.get_submodule("0")
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight[1] = 0
    result = equalize(module)
    assert result.factors[result.pairs[0]][1] == 1.0
    assert bool(torch.isfinite(result.network(images(1))).all())
