"""Small float networks with trained-looking batch norms, folded, and images for them."""

import torch

from autosinian.int4.finetune.folded import (
    FoldedBlock,
    FoldedConv,
    FoldedNetwork,
    FoldedStemStep,
)
from autosinian.int4.finetune.precision import Layer, layers_of
from autosinian.int4.finetune.quantized import QuantizedNetwork

RESOLUTION = 32
CLASSES = 5
INPUT_SCALE = 3 / 127


def conv(name: str, k: int, c: int, size: int = 1, stride: int = 1) -> FoldedConv:
    """A convolution with channels of very different sizes, as folding leaves them."""
    weight = torch.randn(k, c, size, size) * (2 / (c * size * size)) ** 0.5
    weight *= torch.empty(k, 1, 1, 1).uniform_(0.1, 2)
    padding = size // 2 if size % 2 else 0
    bias = torch.randn(k) * 0.2
    return FoldedConv(name, weight, bias, (stride, stride), (padding, padding))


def block(name: str, inputs: int, middle: int, outputs: int, stride: int = 1) -> FoldedBlock:
    """A bottleneck, with a downsample where its shape changes."""
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = conv(f"{name}_downsample_0", outputs, inputs, 1, stride)
    return FoldedBlock(
        name,
        conv(f"{name}_conv1", middle, inputs),
        conv(f"{name}_conv2", middle, middle, 3, stride),
        conv(f"{name}_conv3", outputs, middle),
        downsample,
    )


def resnet(seed: int = 0) -> FoldedNetwork:
    """Four blocks: with and without downsample, with and without stride; a stem of one step."""
    torch.manual_seed(seed)
    stem = (FoldedStemStep(conv("conv1", 8, 3, 7, 2), "quantize1"),)
    layers = (
        (block("layer1_0", 8, 8, 16), block("layer1_1", 16, 8, 16)),
        (block("layer2_0", 16, 12, 24, 2), block("layer2_1", 24, 12, 24)),
    )
    return FoldedNetwork(stem, layers, torch.randn(CLASSES, 24) * 0.3, torch.randn(CLASSES) * 0.1)


def ofa_like(seed: int = 0) -> FoldedNetwork:
    """A stem of three steps, the second with a residual, as OFA-ResNet has it."""
    torch.manual_seed(seed)
    stem = (
        FoldedStemStep(conv("conv1_0_conv", 8, 3, 3, 2), "conv1_0_quantize"),
        FoldedStemStep(conv("conv1_1_conv", 8, 8, 3), "conv1_1_quantize", residual=True),
        FoldedStemStep(conv("conv1_2_conv", 8, 8, 3), "conv1_2_quantize"),
    )
    layers = ((block("layer1_0", 8, 8, 16),), (block("layer2_0", 16, 8, 16, 2),))
    return FoldedNetwork(stem, layers, torch.randn(CLASSES, 16) * 0.3, torch.zeros(CLASSES))


def images(count: int = 6, seed: int = 1) -> torch.Tensor:
    """int8 images as floats, `count x 3 x 32 x 32`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, RESOLUTION, RESOLUTION)
    return torch.randint(-127, 128, shape, generator=generator).float()


def ranges(network: FoldedNetwork) -> dict[str, float]:
    """The greatest value of every quantized tensor over `images`, a third of it cut off."""
    found: dict[str, float] = {}
    with torch.no_grad():
        network(
            images() * INPUT_SCALE,
            lambda name, values: found.update({name: float(values.abs().max()) / 1.5}),
        )
    return found


def layers(network: FoldedNetwork) -> tuple[Layer, ...]:
    """What may be in 4 bits."""
    return layers_of(network, RESOLUTION)


def quantized(network: FoldedNetwork, int8: tuple[str, ...] = ()) -> QuantizedNetwork:
    """`network` as it is fine-tuned."""
    return QuantizedNetwork(network, layers(network), ranges(network), INPUT_SCALE, int8)
