"""A float ResNet of bottlenecks with its batch norms folded, as plain data, and how it is run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

Observe = Callable[[str, torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class FoldedConv:
    """A convolution with bias: `weight` `K x C x R x S`, `bias` `K`; named as its layer file."""

    name: str
    weight: torch.Tensor
    bias: torch.Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


@dataclass(frozen=True, eq=False)
class FoldedStemStep:
    """`relu(conv(x))`, plus `x` itself where `residual`."""

    conv: FoldedConv
    quantize: str
    residual: bool = False


@dataclass(frozen=True, eq=False)
class FoldedBlock:
    """`relu(conv3(relu(conv2(relu(conv1 x)))) + r)`, `r` being `x` or `downsample(x)`."""

    name: str
    conv1: FoldedConv
    conv2: FoldedConv
    conv3: FoldedConv
    downsample: FoldedConv | None


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """Stem, 3 x 3 max pool of stride 2, layers of bottlenecks, average pool, linear layer."""

    stem: tuple[FoldedStemStep, ...]
    layers: tuple[tuple[FoldedBlock, ...], ...]
    linear_weight: torch.Tensor
    linear_bias: torch.Tensor

    def blocks(self) -> Iterator[FoldedBlock]:
        """All bottlenecks in order."""
        for layer in self.layers:
            yield from layer

    def convs(self) -> Iterator[FoldedConv]:
        """All convolutions in order of execution."""
        for step in self.stem:
            yield step.conv
        for block in self.blocks():
            yield from (block.conv1, block.conv2)
            if block.downsample is not None:
                yield block.downsample
            yield block.conv3

    def to(self, kind: torch.dtype) -> "FoldedNetwork":
        """The same with numbers of another kind, its weights channels last."""

        def conv(one: FoldedConv) -> FoldedConv:
            weight = one.weight.to(kind).contiguous(memory_format=torch.channels_last)
            return replace(one, weight=weight, bias=one.bias.to(kind))

        def block(one: FoldedBlock) -> FoldedBlock:
            beside = None if one.downsample is None else conv(one.downsample)
            convs = (conv(one.conv1), conv(one.conv2), conv(one.conv3))
            return FoldedBlock(one.name, *convs, beside)

        return FoldedNetwork(
            tuple(replace(step, conv=conv(step.conv)) for step in self.stem),
            tuple(tuple(block(one) for one in layer) for layer in self.layers),
            self.linear_weight.to(kind),
            self.linear_bias.to(kind),
        )

    def __call__(self, x: torch.Tensor, observe: Observe | None = None) -> torch.Tensor:
        """Logits, `N x classes`, of normalised images, `N x 3 x H x W`.

        `observe` is told every tensor that is quantized, under the name of its Quantize layer:
        those after a ReLU, and the residual of a downsample (`layer1_0_downsample_1`).
        """
        tell = observe or (lambda name, values: None)
        for step in self.stem:
            y = F.relu(step.conv(x))
            x = y + x if step.residual else y
            tell(step.quantize, x)
        x = F.max_pool2d(x, 3, 2, 1)
        for block in self.blocks():
            residual = x
            if block.downsample is not None:
                residual = block.downsample(x)
                tell(f"{block.name}_downsample_1", residual)
            y = F.relu(block.conv1(x))
            tell(f"{block.name}_quantize1", y)
            y = F.relu(block.conv2(y))
            tell(f"{block.name}_quantize2", y)
            x = F.relu(block.conv3(y) + residual)
            tell(f"{block.name}_quantize3", x)
        return F.linear(x.mean((2, 3)), self.linear_weight, self.linear_bias)


def fold(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, name: str) -> FoldedConv:
    """A convolution that does what `norm(conv(x))` does in eval mode.

    `w' = w g / sqrt(v + eps)`, `b' = (b - m) g / sqrt(v + eps) + beta` with running mean m and
    variance v (Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2).
    """
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = conv.weight.double() * factor.view(-1, 1, 1, 1)
        bias = 0.0 if conv.bias is None else conv.bias.double()
        shifted = (bias - norm.running_mean.double()) * factor + norm.bias.double()
    vertical, horizontal = conv.stride[0], conv.stride[1]
    assert not isinstance(conv.padding, str)
    return FoldedConv(
        name,
        weight.float().contiguous(),
        shifted.float(),
        (vertical, horizontal),
        (conv.padding[0], conv.padding[1]),
    )
