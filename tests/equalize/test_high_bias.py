import torch
from torch import nn

from autosinian.equalize.equalize import equalize, folded
from autosinian.equalize.high_bias import fold_high_biases
from autosinian.equalize.pairs import find_pairs
from autosinian.equalize.scaling import layer


def _high_bias_pair(padding: int = 0) -> nn.Sequential:
    """Channel 0 has `beta > 3 |gamma|`, channel 1 has not; batch norm's mean is 0, variance 1."""
    module = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False),
        nn.BatchNorm2d(2, eps=0.0),
        nn.ReLU(),
        nn.Conv2d(2, 1, 3, padding=padding),
    ).eval()
    first, norm, second = module[0], module[1], module[3]
    assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d) and second.bias is not None
    with torch.no_grad():
        first.weight.fill_(1.0)
        norm.weight.copy_(torch.tensor([-1.0, 1.0]))
        norm.bias.copy_(torch.tensor([5.0, 2.0]))
        second.weight.copy_(torch.arange(18, dtype=torch.float32).reshape(1, 2, 3, 3))
        second.bias.fill_(0.5)
    return module


def test_biases_by_hand() -> None:
    result = folded(_high_bias_pair())
    pairs = find_pairs(result.network)
    moved = fold_high_biases(result.network, pairs, result.norms)
    # c = 5 - 3 * |-1| = 2 of channel 0; channel 1 has 2 - 3 < 0. The taps of channel 0 sum to 36.
    assert moved[pairs[0]].tolist() == [2.0, 0.0]
    first, second = layer(result.network, "0").bias, layer(result.network, "3").bias
    assert first is not None and first.tolist() == [3.0, 2.0]
    assert second is not None and second.tolist() == [0.5 + 2.0 * 36]


def test_scaled_pairs_fold_scaled_biases() -> None:
    module = _high_bias_pair()
    result = equalize(module)
    (pair,) = result.pairs
    # What moves is divided by the factor, what arrives is not.
    high = result.high_biases[pair] * result.factors[pair]
    torch.testing.assert_close(high, torch.tensor([2.0, 0.0]).double())
    bias = layer(result.network, "3").bias
    assert bias is not None
    torch.testing.assert_close(bias, torch.tensor([72.5]))


def test_values_above_the_constant_keep_the_function() -> None:
    module = _high_bias_pair()
    result = equalize(module)
    # Channel 0 is 5 - x, above 2 for x < 3.
    inputs = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.9
    torch.testing.assert_close(result.network(inputs), module(inputs), rtol=1e-5, atol=1e-4)


def test_layers_that_pad_are_left_alone_unless_asked_for() -> None:
    module = _high_bias_pair(padding=1)
    assert equalize(module).high_biases == {}
    assert equalize(module, high_bias=False).high_biases == {}
    result = equalize(module, across_padding=True)
    assert len(result.high_biases) == 1
    inputs = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.9
    given, expected = result.network(inputs), module(inputs)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(given[inner], expected[inner], rtol=1e-5, atol=1e-4)
    assert float((given - expected).detach().abs().max()) > 1.0
