"""Batch norm folded into the convolution before it."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from autosinian.equalize.graph import calls


@dataclass(frozen=True)
class BatchNorm:
    """What a folded batch norm tells of its output: for each channel mean and deviation.

    They are `beta` and `|gamma|`, float64, `channels`, of the values before the activation.
    """

    name: str
    gamma: Tensor
    beta: Tensor


def fold_batch_norms(network: fx.GraphModule) -> dict[str, BatchNorm]:
    """Fold, in place, each batch norm that reads a convolution nobody else reads.

    Gives the statistics by the convolution's name. `w' = w g / sqrt(v + e)`,
    `b' = (b - m) g / sqrt(v + e) + beta`, in float64 (Jacob et al., 2018, section 3.2).
    """
    folded = {}
    called = calls(network)
    for name, nodes in called.items():
        norm = network.get_submodule(name)
        if not isinstance(norm, nn.BatchNorm2d) or len(nodes) != 1:
            continue
        node = nodes[0]
        source = node.args[0]
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        convolution_name = str(source.target)
        convolution = network.get_submodule(convolution_name)
        if not isinstance(convolution, nn.Conv2d) or len(called[convolution_name]) != 1:
            continue
        if norm.running_mean is None or norm.running_var is None:
            continue  # normalizes by the batch itself: nothing is fixed to fold
        folded[convolution_name] = _fold(convolution, norm, name)
        node.replace_all_uses_with(source)
        network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return folded


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d, name: str) -> BatchNorm:
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        mean, variance = norm.running_mean.double(), norm.running_var.double()
        gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.double()
        beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.double()
        factor = gamma / torch.sqrt(variance + norm.eps)
        weight = convolution.weight
        bias = torch.zeros_like(mean)
        if convolution.bias is not None:
            bias = convolution.bias.double()
        kind = weight.dtype
        convolution.weight = nn.Parameter(
            (weight.double() * factor[:, None, None, None]).to(kind), requires_grad=False
        )
        convolution.bias = nn.Parameter(((bias - mean) * factor + beta).to(kind), False)
        return BatchNorm(name, gamma.detach().clone(), beta.detach().clone())
