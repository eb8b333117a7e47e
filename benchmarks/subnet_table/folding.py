"""A subnet as a list of convolutions: its batch norm measured anew, or folded as it is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Convolution:
    """A square convolution with bias, padded by half its size, ReLU6 after it where `relu6`.

    `weight` is `out x in/groups x k x k`. Where `opens`, its input is kept and added to the output
    of the next convolution that `closes`. `packed`, on a GPU, is the weight as its path there wants
    it: `out x in` where pointwise, `k^2 x out` where depthwise.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int
    relu6: bool
    opens: bool = False
    closes: bool = False
    packed: torch.Tensor | None = None

    @property
    def size(self) -> int:
        """Kernel size."""
        return int(self.weight.shape[-1])

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.weight.shape[1] == 1 and self.weight.shape[0] > 1

    @property
    def groups(self) -> int:
        """1, or one for each channel."""
        return int(self.weight.shape[0]) if self.depthwise else 1

    def to(self, device: torch.device, dtype: torch.dtype) -> "Convolution":
        """A copy there, packed where that is a GPU."""
        weight = self.weight.to(device, dtype, memory_format=torch.channels_last)
        packed = None
        if device.type == "cuda" and self.depthwise:
            packed = weight.flatten(1).t().contiguous()
        elif device.type == "cuda" and self.size == 1:
            packed = weight.flatten(1).contiguous()
        return replace(self, weight=weight, bias=self.bias.to(device, dtype), packed=packed)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The output, `N x out x h x w`; on a GPU in channels-last layout, as `x` must be there.

        cuDNN is asked for the first layer only: it searches anew for every shape, and subnets are
        all different.
        """
        if self.packed is not None and self.depthwise:
            from subnet_table.depthwise import depthwise

            return depthwise(x, self.packed, self.bias, self.stride, self.relu6)
        if self.packed is not None:
            # A 1 x 1 convolution in channels-last layout is a matrix product of its pixels.
            y = functional.linear(x.permute(0, 2, 3, 1), self.packed, self.bias)
            x = y.permute(0, 3, 1, 2)
        else:
            x = functional.conv2d(
                x, self.weight, self.bias, self.stride, self.size // 2, 1, self.groups
            )
        return functional.hardtanh_(x, 0.0, 6.0) if self.relu6 else x


@dataclass(frozen=True)
class FoldedNetwork:
    """Convolutions, then global average pooling and the classifier, `classes x channels`."""

    convolutions: tuple[Convolution, ...]
    weight: torch.Tensor
    bias: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "FoldedNetwork":
        """A copy there."""
        return FoldedNetwork(
            tuple(c.to(device, dtype) for c in self.convolutions),
            self.weight.to(device, dtype),
            self.bias.to(device, dtype),
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, `N x classes`, of `N x 3 x r x r` images, channels last on a GPU."""
        x = kept = images
        for convolution in self.convolutions:
            if convolution.opens:
                kept = x
            x = convolution(x)
            if convolution.closes:
                x = x.add_(kept)
        return functional.linear(x.mean((2, 3)), self.weight, self.bias)


@dataclass(frozen=True)
class _Layer:
    """A convolution of the subnet and its batch norm, not folded yet."""

    convolution: Convolution
    norm: Any


def fold(module: Any) -> FoldedNetwork:
    """Fold an extracted ProxylessNAS subnet with the statistics that it has.

    Raises `TypeError` for a layer that is not known here.
    """

    def folded(layer: _Layer) -> Convolution:
        norm = layer.norm
        return _scaled(layer, torch.rsqrt(norm.running_var + norm.eps), norm.running_mean)

    return _network(module, [folded(layer) for layer in _layers(module)])


def recalibrated(module: Any, images: torch.Tensor) -> FoldedNetwork:
    """As `fold`, with the statistics of one batch of images, `N x 3 x r x r`, layer after layer.

    Each layer is fed by layers that are normalised with statistics of the same batch, as in
    once-for-all's `set_running_statistics` with one batch. The images' device and type are those
    of the convolutions; statistics and what is folded are float32.
    """
    x = kept = images
    folded: list[Convolution] = []
    for layer in _layers(module):
        bare, norm = layer.convolution, layer.norm
        scale, shift = (t.detach().to(images.device) for t in (norm.weight, norm.bias))
        if bare.opens:
            kept = x
        x = replace(bare, relu6=False).to(images.device, images.dtype)(x)
        x, mean, deviation = torch.native_batch_norm(
            x, scale, shift, None, None, True, 0.0, norm.eps
        )
        if bare.relu6:
            x = functional.hardtanh_(x, 0.0, 6.0)
        if bare.closes:
            x = x.add_(kept)
        folded.append(_scaled(layer, deviation.float(), mean.float()))
    return _network(module, folded)


def _scaled(layer: _Layer, deviation: torch.Tensor, mean: torch.Tensor) -> Convolution:
    """The convolution with its norm folded in; `deviation` is one over the standard deviation."""
    device = deviation.device
    scale = layer.norm.weight.detach().to(device) * deviation
    return replace(
        layer.convolution,
        weight=layer.convolution.weight.to(device) * scale[:, None, None, None],
        bias=layer.norm.bias.detach().to(device) - mean * scale,
    )


def _network(module: Any, convolutions: list[Convolution]) -> FoldedNetwork:
    linear = module.classifier.linear
    return FoldedNetwork(tuple(convolutions), linear.weight.detach(), linear.bias.detach())


def _layers(module: Any) -> Iterator[_Layer]:
    """The subnet's convolutions in order, with what its shortcuts open and close."""
    yield _layer(module.first_conv, relu6=True)
    for block in module.blocks:
        names = ("inverted_bottleneck", "depth_conv", "point_linear")
        inner = [name for name in names if getattr(block.conv, name, None) is not None]
        shortcut = block.shortcut is not None
        if shortcut and type(block.shortcut).__name__ != "IdentityLayer":
            raise TypeError(f"no shortcut `{type(block.shortcut).__name__}` can be folded")
        for name in inner:
            yield _layer(
                getattr(block.conv, name),
                relu6=name != "point_linear",
                opens=shortcut and name == inner[0],
                closes=shortcut and name == inner[-1],
            )
    yield _layer(module.feature_mix_layer, relu6=True)


def _layer(layer: Any, *, relu6: bool, opens: bool = False, closes: bool = False) -> _Layer:
    if (type(getattr(layer, "act", None)).__name__ == "ReLU6") != relu6:
        raise TypeError(f"the activation of `{type(layer).__name__}` can not be folded")
    conv = layer.conv
    weight = conv.weight.detach()
    bare = Convolution(weight, torch.zeros(len(weight)), int(conv.stride[0]), relu6, opens, closes)
    if conv.padding[0] != bare.size // 2 or conv.groups != bare.groups or conv.bias is not None:
        raise TypeError(f"`{conv}` can not be folded")
    return _Layer(bare, layer.bn)
