"""What a network costs on paper: multiply-adds and parameters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one sample's convolutions and linear layers, and parameters."""

    macs: int
    parameters: int


def cost(module: "torch.nn.Module", resolution: int) -> Cost:
    """Count a classifier of `3 x resolution x resolution` inputs by running it once."""
    import torch

    macs = 0

    def count(layer: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(layer, torch.nn.Conv2d):
            taps = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
            macs += output.numel() * taps
        elif isinstance(layer, torch.nn.Linear):
            macs += output.numel() * layer.in_features

    handles = [layer.register_forward_hook(count) for layer in module.modules()]
    was_training = module.training
    try:
        module.eval()
        with torch.no_grad():
            module(torch.zeros(1, 3, resolution, resolution))
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    return Cost(macs, sum(p.numel() for p in module.parameters()))
