"""Cross-layer scaling: equal ranges of the channels between two layers.

M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019,
section 4.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from autosinian.equalize.fold import BatchNorm
from autosinian.equalize.pairs import Pair

ROUNDS = 20
"""Chains of pairs are gone through so often at most; pairs that share no layer need one round."""

_SETTLED = 1e-3  # greatest change of a factor's logarithm at which a chain is equal


def scale_pair(network: fx.GraphModule, pair: Pair, factors: Tensor) -> None:
    """Divide what `pair.first` gives by `factors`, `channels`, and undo it in `pair.second`.

    The function stays: `factors` must be positive. In place.
    """
    first, second = layer(network, pair.first), layer(network, pair.second)
    with torch.no_grad():
        kind = first.weight.dtype
        divisor = factors.double()
        shape = (-1, *[1] * (first.weight.ndim - 1))
        first.weight.copy_((first.weight.double() / divisor.reshape(shape)).to(kind))
        if first.bias is not None:
            first.bias.copy_((first.bias.double() / divisor).to(kind))
        grouped = _by_input(second)
        factor = divisor.reshape(grouped.shape[0], 1, grouped.shape[2], 1)
        second.weight.copy_((grouped.double() * factor).reshape(second.weight.shape).to(kind))


def equalize_pairs(
    network: fx.GraphModule, pairs: Sequence[Pair], norms: Mapping[str, BatchNorm]
) -> tuple[dict[Pair, Tensor], dict[str, BatchNorm]]:
    """Scale every pair, in place, until the ranges of its channels are equal.

    Gives the factors by pair, `channels`, and `norms` as they are behind the scaling. The factor
    is `sqrt(r1 / r2)` with the channel's greatest `|w|` on either side; a channel that is all zero
    on a side keeps its scale.
    """
    total = {
        pair: torch.ones(len(layer(network, pair.first).weight), dtype=torch.float64)
        for pair in pairs
    }
    for _ in range(ROUNDS):
        change = 0.0
        for pair in pairs:
            factors = _factors(network, pair)
            scale_pair(network, pair, factors)
            total[pair] = total[pair] * factors.cpu()
            change = max(change, float(factors.log().abs().max()))
        if change < _SETTLED:
            break
    scaled = dict(norms)
    for pair, factors in total.items():
        norm = norms.get(pair.first)
        if norm is not None:
            device = norm.gamma.device
            scaled[pair.first] = replace(
                norm, gamma=norm.gamma / factors.to(device), beta=norm.beta / factors.to(device)
            )
    return total, scaled


def layer(network: fx.GraphModule, name: str) -> nn.Conv2d | nn.Linear:
    """The convolution or fully connected layer of this name."""
    module = network.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def input_sums(module: nn.Conv2d | nn.Linear, values: Tensor) -> Tensor:
    """What `values`, one constant per input channel, add to each output: `outputs`, float64."""
    grouped = _by_input(module).double()
    constants = values.double().reshape(grouped.shape[0], 1, grouped.shape[2], 1)
    return (grouped * constants).sum(dim=(2, 3)).reshape(-1)


def _factors(network: fx.GraphModule, pair: Pair) -> Tensor:
    first, second = layer(network, pair.first), layer(network, pair.second)
    with torch.no_grad():
        given = first.weight.double().abs().flatten(1).amax(dim=1)
        taken = _by_input(second).double().abs().amax(dim=(1, 3)).reshape(-1)
        factors = torch.sqrt(given / taken)
        return torch.where((given > 0) & (taken > 0), factors, torch.ones_like(factors))


def _by_input(module: nn.Conv2d | nn.Linear) -> Tensor:
    """Weights as `groups x outputs of a group x inputs of a group x taps`."""
    weight = module.weight.detach()
    groups = module.groups if isinstance(module, nn.Conv2d) else 1
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    return weight.reshape(groups, outputs, inputs, -1)
