"""High-bias fold: what a channel always exceeds moves to the next layer's bias.

M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019,
section 4.1.3: `c = max(0, beta - 3 |gamma|)`. A normal value is above `c` with 99.865 %, so that
`relu(x - c) = relu(x) - c`, and the layer behind takes `W c` into its bias.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from autosinian.equalize.fold import BatchNorm
from autosinian.equalize.pairs import Pair
from autosinian.equalize.scaling import input_sums, layer

DEVIATIONS = 3.0


def fold_high_biases(
    network: fx.GraphModule,
    pairs: Sequence[Pair],
    norms: Mapping[str, BatchNorm],
    *,
    across_padding: bool = False,
) -> dict[Pair, Tensor]:
    """Move high biases of each pair with a folded batch norm and a ReLU between, in place.

    Gives the constants that moved, by pair, `channels`. A second layer that pads with zeros would
    see them where there was no value: it is left alone unless `across_padding`, which is what
    AIMET does and changes the outermost pixels.
    """
    moved = {}
    for pair in pairs:
        norm = norms.get(pair.first)
        if norm is None or [found for found in pair.between if found != "Identity"] != ["Relu"]:
            continue
        first, second = layer(network, pair.first), layer(network, pair.second)
        if _pads(second) and not across_padding:
            continue
        high = (norm.beta - DEVIATIONS * norm.gamma.abs()).clamp(min=0.0)
        if not bool(high.any()) or first.bias is None:
            continue
        with torch.no_grad():
            kind = first.bias.dtype
            first.bias.copy_((first.bias.double() - high).to(kind))
            before = torch.zeros(len(second.weight), dtype=torch.float64, device=high.device)
            if second.bias is not None:
                before = second.bias.double()
            second.bias = nn.Parameter((before + input_sums(second, high)).to(kind), False)
        moved[pair] = high.cpu()
    return moved


def _pads(module: nn.Conv2d | nn.Linear) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    if isinstance(module.padding, str):
        return module.padding != "valid"
    return any(size > 0 for size in module.padding)
