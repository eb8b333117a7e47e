"""A network of integers run by torch in float64, exactly, on any device.

Matrix products in float64 are exact below 2^53 whatever the order of their sums; all else is int64.
It gives what the CPU reference gives, fast where a GPU is at hand.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autosinian.int4.network import (
    ACTIVATION_RANGES,
    Bottleneck,
    Conv,
    Downsample,
    Network,
    Quantize,
)


class Emulation:
    """`network` on `device`; call it with int8 images."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network, self._device = network, device

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits before scaling, int32 `N x classes`, of int8 images `N x 3 x H x W`."""
        x = images.to(self._device).long()
        for unit in self._network.stem:
            y = self._conv(unit.conv, x)
            if unit.residual is not None:
                y = y.clamp(min=0) + self._quantize(unit.residual, x)
            x = self._quantize(unit.quantize, y)
        pool = self._network.max_pool
        x = F.max_pool2d(x.double(), pool.kernel_size, pool.stride, pool.padding).long()
        for block in self._network.blocks():
            x = self._block(block, x)
        count = x.shape[2] * x.shape[3]
        mean = (x.sum((2, 3)) + count // 2) // count
        weight = self._tensor(self._network.linear.weight).double()
        bias = self._tensor(self._network.linear.bias).double()
        return F.linear(mean.double(), weight, bias).round().int()

    def _block(self, block: Bottleneck, x: torch.Tensor) -> torch.Tensor:
        y = self._quantize(block.quantize1, self._conv(block.conv1, x))
        y = self._quantize(block.quantize2, self._conv(block.conv2, y))
        y = self._conv(block.conv3, y)
        if isinstance(block.residual, Downsample):
            small = self._quantize(block.residual.to_s8, self._conv(block.residual.conv, x))
            y = y + self._quantize(block.residual.to_s32, small)
        else:
            y = y + self._quantize(block.residual, x)
        return self._quantize(block.quantize3, y)

    def _conv(self, conv: Conv, x: torch.Tensor) -> torch.Tensor:
        # Patches times a matrix: the libraries' own convolutions are slow in float64.
        height, width = conv.output_size(x.shape[2], x.shape[3])
        weight = self._tensor(conv.weight).double().flatten(1)
        if conv.kernel_size == (1, 1) and conv.padding == (0, 0):
            patches = x[:, :, :: conv.stride[0], :: conv.stride[1]].double().flatten(2)
        else:
            patches = F.unfold(
                x.double(), conv.kernel_size, padding=conv.padding, stride=conv.stride
            )
        sums = (weight @ patches).round().long() + self._tensor(conv.bias).view(-1, 1)
        return sums.view(len(x), -1, height, width)

    def _quantize(self, layer: Quantize, x: torch.Tensor) -> torch.Tensor:
        factor = self._tensor(layer.factor).long().view(1, -1, 1, 1)
        half = (1 << layer.shift) >> 1
        if not layer.signed:
            x = x.clamp(min=0)
        scaled = x.sign() * ((x.abs() * factor + half) >> layer.shift)
        if layer.output_type in ACTIVATION_RANGES:
            scaled = scaled.clamp(*ACTIVATION_RANGES[layer.output_type])
        return scaled

    def _tensor(self, values: NDArray[np.int8] | NDArray[np.int32]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)


def emulated_logits(
    network: Network, images: NDArray[np.int8], device: torch.device, batch_size: int = 250
) -> NDArray[np.int32]:
    """Logits before scaling, `N x classes`, of int8 images `N x 3 x H x W`, batch by batch."""
    run = Emulation(network, device)
    found = []
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
            found.append(run(batch).cpu().numpy())
    return np.concatenate(found)


def correct_share(network: Network, logits: NDArray[np.int32], labels: NDArray[np.int64]) -> float:
    """Part of the images whose greatest scaled logit is their label's, 0 to 1."""
    scaled = logits.astype(np.float32) / network.out_scale
    return float((scaled.argmax(1) == labels).mean())
