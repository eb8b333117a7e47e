"""Small OFA subnets with random weights whose signal survives to the logits; images for them."""

import numpy as np
import torch
from numpy.typing import NDArray
from ofa.imagenet_classification.elastic_nn.networks import (
    OFAMobileNetV3,
    OFAProxylessNASNets,
    OFAResNets,
)

CLASSES = 10
RESOLUTIONS = {"proxyless": 32, "mobilenet_v3": 32, "resnet": 48}  # 48 gives ResNet odd pools


def images(count: int, seed: int, resolution: int) -> NDArray[np.float32]:
    """Random colours with patches and noise, `count x 3 x resolution x resolution`."""
    generator = np.random.default_rng(seed)
    size = resolution // 4
    colours = generator.standard_normal((count, 3, 1, 1), np.float32)
    patches = generator.standard_normal((count, 3, 4, 4), np.float32)
    noise = generator.standard_normal((count, 3, resolution, resolution), np.float32)
    patches = patches.repeat(size, axis=2).repeat(size, axis=3)
    return np.asarray(colours + 0.5 * patches + 0.1 * noise, np.float32)


def subnet(family: str) -> torch.nn.Module:
    """The subnet of a family that serves the tests, in inference mode, always the same."""
    torch.manual_seed(0)
    if family == "resnet":
        supernet = OFAResNets(
            n_classes=CLASSES,
            depth_list=[0, 1],
            expand_ratio_list=[0.2, 0.25],
            width_mult_list=[0.25, 0.5],
        )
        supernet.set_active_subnet(d=0, e=0.2, w=0)
    else:
        kind = OFAMobileNetV3 if family == "mobilenet_v3" else OFAProxylessNASNets
        supernet = kind(
            n_classes=CLASSES,
            width_mult=0.5,
            ks_list=[3, 5],
            expand_ratio_list=[3, 4],
            depth_list=[2, 3],
        )
        supernet.set_active_subnet(ks=5, e=3, d=2)
    module: torch.nn.Module = supernet.get_active_subnet(preserve_weight=True)
    _settle(module, RESOLUTIONS[family])
    return module


def plain_network() -> torch.nn.Module:
    """Two convolutions, global average pooling and a fully connected layer; 16 px."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, CLASSES),
    ).eval()


def _settle(module: torch.nn.Module, resolution: int) -> None:
    """Statistics from images, and offsets that keep most values in the linear part of ReLU.

    Fully random deep networks with batch norm are chaotic: any rounding ends in other logits.
    """
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, generator=generator)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.8, 1.2, generator=generator)
            layer.bias.data.uniform_(0.5, 1.5, generator=generator)
            layer.momentum = None
            layer.reset_running_stats()
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(images(64, 7, resolution)))
    module.eval()


def relative_error(values: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Error of logits relative to how much they differ between images: 1 is pure noise."""
    spread = reference - reference.mean(axis=0)
    return float(np.sqrt(np.square(values - reference).sum() / np.square(spread).sum()))
