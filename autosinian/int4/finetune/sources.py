"""Float networks that can become integers: torchvision's bottleneck ResNets, OFA-ResNet subnets."""

from pathlib import Path
from typing import Any

import torch

from autosinian.errors import InputError
from autosinian.int4.finetune.folded import (
    FoldedBlock,
    FoldedConv,
    FoldedNetwork,
    FoldedStemStep,
    fold,
)

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}


def build_resnet(
    network: str, classes: int, *, depths: tuple[int, ...] | None = None, width_per_group: int = 64
) -> torch.nn.Module:
    """A torchvision ResNet with random weights; residual branches start at zero.

    `depths` (four of them) overrides those of `network`; `width_per_group` is the width of the
    first layer's middle. Raises `InputError` for what is no bottleneck ResNet.
    """
    from torchvision.models.resnet import Bottleneck, ResNet

    if network not in DEPTHS:
        raise InputError(f"a network is one of {', '.join(DEPTHS)}, but got `{network}`")
    chosen = depths if depths is not None else DEPTHS[network]
    if len(chosen) != 4 or min(chosen) < 1 or width_per_group < 1:
        raise InputError(
            f"a ResNet needs four depths and a width of at least 1, got {chosen}, {width_per_group}"
        )
    module: torch.nn.Module = ResNet(
        Bottleneck,
        list(chosen),
        num_classes=classes,
        width_per_group=width_per_group,
        zero_init_residual=True,
    )
    return module


def load_float_weights(module: torch.nn.Module, path: Path) -> None:
    """Load a state dict, bare or as `{"state_dict": ...}`; `InputError` where it is another's."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make it raise anything
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"`{path}` must be a file of weights, but: {cause[:200]}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    own = module.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or sorted(
        key for key in own if getattr(state[key], "shape", None) != own[key].shape
    )
    if wrong:
        raise InputError(
            f"`{path}` must hold this network's weights, but {len(wrong)} differ, "
            f"first `{wrong[0]}`"
        )
    module.load_state_dict(state)


def folded_network(module: torch.nn.Module) -> FoldedNetwork:
    """`module` in eval mode with its batch norms folded, on its own device.

    Raises `InputError` for a network that is no torchvision ResNet of bottlenecks and no
    OFA-ResNet, or has groups or dilation.
    """
    net: Any = module
    if hasattr(module, "input_stem") and hasattr(module, "blocks"):
        folded = _of_ofa(net)
    elif hasattr(module, "conv1") and hasattr(module, "layer4"):
        folded = _of_torchvision(net)
    else:
        raise InputError(
            "a network must be a torchvision ResNet of bottlenecks or an OFA-ResNet, "
            f"but is a {type(module).__name__}"
        )
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d) and (layer.groups != 1 or layer.dilation != (1, 1)):
            raise InputError("INT4 convolutions must have one group and no dilation")
    return folded


def _of_torchvision(net: Any) -> FoldedNetwork:
    stem = (FoldedStemStep(fold(net.conv1, net.bn1, "conv1"), "quantize1"),)
    layers = []
    for number in range(1, 5):
        blocks = []
        for index, block in enumerate(getattr(net, f"layer{number}")):
            name = f"layer{number}_{index}"
            if not hasattr(block, "conv3"):
                raise InputError("a ResNet must be made of bottlenecks: 50 layers or more")
            downsample = None
            if block.downsample is not None:
                conv, norm = block.downsample
                downsample = fold(conv, norm, f"{name}_downsample_0")
            blocks.append(
                FoldedBlock(
                    name,
                    fold(block.conv1, block.bn1, f"{name}_conv1"),
                    fold(block.conv2, block.bn2, f"{name}_conv2"),
                    fold(block.conv3, block.bn3, f"{name}_conv3"),
                    downsample,
                )
            )
        layers.append(tuple(blocks))
    return FoldedNetwork(stem, tuple(layers), *_linear(net.fc))


def _of_ofa(net: Any) -> FoldedNetwork:
    stem = []
    for index, step in enumerate(net.input_stem):
        # ofa's ConvLayer holds a Conv2d as `conv`, its ResidualBlock holds a ConvLayer there.
        residual = not isinstance(step.conv, torch.nn.Conv2d)
        layer = step.conv if residual else step
        name, quantize = f"conv1_{index}_conv", f"conv1_{index}_quantize"
        if len(net.input_stem) == 1:
            name, quantize = "conv1", "quantize1"
        stem.append(FoldedStemStep(fold(layer.conv, layer.bn, name), quantize, residual))
    layers: list[list[FoldedBlock]] = []
    for block in net.blocks:
        changes = isinstance(block.downsample, torch.nn.Sequential)
        if changes or not layers:
            layers.append([])
        name = f"layer{len(layers)}_{len(layers[-1])}"
        layers[-1].append(
            FoldedBlock(
                name,
                fold(block.conv1.conv, block.conv1.bn, f"{name}_conv1"),
                fold(block.conv2.conv, block.conv2.bn, f"{name}_conv2"),
                fold(block.conv3.conv, block.conv3.bn, f"{name}_conv3"),
                _pooled(block.downsample, f"{name}_downsample_0") if changes else None,
            )
        )
    linear = _linear(net.classifier.linear)
    return FoldedNetwork(tuple(stem), tuple(tuple(blocks) for blocks in layers), *linear)


def _pooled(downsample: Any, name: str) -> FoldedConv:
    """An average pool `s x s` and a 1 x 1 convolution as one `s x s` convolution of stride `s`."""
    conv = fold(downsample.conv, downsample.bn, name)
    pool = getattr(downsample, "avg_pool", None)
    if pool is None or pool.kernel_size == 1:
        return conv
    side = int(pool.kernel_size)
    weight = conv.weight.expand(-1, -1, side, side) / side**2
    return FoldedConv(name, weight.contiguous(), conv.bias, (side, side), (0, 0))


def _linear(layer: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.weight.detach().float().clone(), layer.bias.detach().float().clone()
