"""SSD-ResNet34 as MLPerf defines it, of any width and class count, traceable by `torch.fx`.

Parameters carry the names of the published checkpoint (`model.layer1...`, `additional_blocks...`,
`loc...`, `conf...`). Every ReLU, addition and concatenation is a module of its own, so that what
quantization records about it has a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autosinian.detection.layout import BOXES_PER_CELL, Layout, layout_for
from autosinian.errors import InputError

STAGES = ((64, 3), (128, 4), (256, 6))
"""Channels and basic blocks of ResNet-34's first three layers."""

HIDDEN = (256, 256, 128, 128, 128)
"""Channels of the 1x1 convolution of each additional block."""

OUTPUTS = (512, 512, 256, 256, 256)
"""Channels of the feature map that each additional block gives."""


class Add(nn.Module):
    """The sum of two tensors, as a module with a name."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """`left + right`."""
        return left + right


class Concat(nn.Module):
    """Tensors joined along one dimension, as a module with a name."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        """`tensors` joined."""
        return torch.cat(tuple(tensors), dim=self.dim)


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """`batch x inputs x h x w` to `batch x outputs x h/stride x w/stride`."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu2(self.add(y, shortcut))
        return result


class ResNet34Trunk(nn.Module):
    """ResNet-34's stem and first three layers; the third keeps its input's size (stride 1)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, second, third = channels
        self.layer1 = nn.Sequential(
            nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            _layer(first, first, STAGES[0][1], 1),
            _layer(first, second, STAGES[1][1], 2),
        )
        self.layer2 = nn.Sequential(_layer(second, third, STAGES[2][1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """`batch x 3 x s x s` to `batch x channels x s/8 x s/8`."""
        result: Tensor = self.layer2(self.layer1(x))
        return result


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


@dataclass(frozen=True)
class SsdConfig:
    """What an SSD-ResNet34 is built from.

    `classes` counts the background, class 0 (81 for COCO); `width` multiplies every channel count,
    rounded to a multiple of 4, at least 4; `image_size` is 300 or 1200 pixels.
    """

    classes: int = 81
    width: float = 1.0
    image_size: int = 1200

    def __post_init__(self) -> None:
        layout_for(self.image_size)
        if self.classes < 2:
            raise InputError(
                f"a detector needs the background and at least one class, but got {self.classes} "
                "classes in all"
            )
        if not 0 < self.width <= 4:
            raise InputError(f"the width must be above 0 and at most 4, but got {self.width}")

    @property
    def layout(self) -> Layout:
        """Strides and grids of the image size."""
        return layout_for(self.image_size)

    def channels(self, full: int) -> int:
        """Channels where the published network has `full`."""
        return max(4, round(full * self.width / 4) * 4)


class SsdResNet34(nn.Module):
    """The detector: six feature maps, a box and a score convolution on each.

    `forward` takes normalized images `batch x 3 x s x s` and gives box offsets
    `batch x 4 x boxes` (x, y, width, height relative to the default boxes) and class scores
    `batch x classes x boxes` that sum to 1 over the classes.
    """

    def __init__(self, config: SsdConfig) -> None:
        super().__init__()
        self.config = config
        layout = config.layout
        stages = [config.channels(full) for full, _ in STAGES]
        outputs = [stages[-1], *(config.channels(full) for full in OUTPUTS)]
        hidden = [config.channels(full) for full in HIDDEN]
        self.model = ResNet34Trunk(stages)
        self.additional_blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(outputs[i], hidden[i], 1),
                nn.ReLU(),
                nn.Conv2d(hidden[i], outputs[i + 1], 3, stride=stride, padding=1 if i < 3 else 0),
                nn.ReLU(),
            )
            for i, stride in enumerate((*layout.block_strides, 1))
        )
        self.loc = nn.ModuleList(
            nn.Conv2d(channels, 4 * count, 3, stride=layout.head_stride, padding=1)
            for channels, count in zip(outputs, BOXES_PER_CELL, strict=True)
        )
        self.conf = nn.ModuleList(
            nn.Conv2d(channels, config.classes * count, 3, stride=layout.head_stride, padding=1)
            for channels, count in zip(outputs, BOXES_PER_CELL, strict=True)
        )
        self.concat_boxes = Concat(2)
        self.concat_scores = Concat(2)
        self.softmax = nn.Softmax(dim=1)
        self._initialize()

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Box offsets and class scores before the softmax, which is what training needs."""
        features = [self.model(images)]
        for block in self.additional_blocks:
            features.append(block(features[-1]))
        # The published heads put coordinates (or classes) before the cell's boxes in their
        # channels, so a feature map's boxes are numbered shape first, then row, then column. All
        # sizes but the batch are constants, which gives one Reshape node each in ONNX.
        boxes, scores = [], []
        for feature, place, score, count, side in zip(
            features, self.loc, self.conf, BOXES_PER_CELL, self.config.layout.grids, strict=True
        ):
            boxes.append(place(feature).reshape(-1, 4, count * side * side))
            scores.append(score(feature).reshape(-1, self.config.classes, count * side * side))
        return self.concat_boxes(boxes), self.concat_scores(scores)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Box offsets and class scores of `images`."""
        boxes, scores = self.logits(images)
        return boxes, self.softmax(scores)

    def _initialize(self) -> None:
        for module in self.model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for part in (self.additional_blocks, self.loc, self.conf):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.xavier_uniform_(module.weight)
                    assert module.bias is not None
                    nn.init.zeros_(module.bias)
