"""Small networks whose batch norms have statistics, and images for them."""

import torch
from torch import Tensor, nn


class Add(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right


class Concat(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.cat((left, right), dim=1)


class Block(nn.Module):
    """ResNet's basic block, each operation a module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.add = Add()
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu2(self.add(y, x))
        return result


class Detectorlike(nn.Module):
    """A stem, a block, and two heads joined behind a softmax: `N x 3 x 16 x 16` to `N x 8 x 64`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.block = Block(8)
        self.box = nn.Conv2d(8, 4, 3, padding=1)
        self.score = nn.Conv2d(8, 4, 3, padding=1)
        self.concat = Concat()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.block(self.relu(self.bn(self.conv(images))))
        boxes, scores = self.box(features).flatten(2), self.score(features).flatten(2)
        joined = self.concat(boxes, scores)
        return joined, self.softmax(joined)


def settle(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and batch norms in a range that trained networks have; inference mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight, generator=generator)
                if part.bias is not None:
                    part.bias.normal_(0, 0.1, generator=generator)
            elif isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None and part.running_var is not None
                part.weight.uniform_(0.5, 2, generator=generator)
                part.bias.normal_(0, 0.5, generator=generator)
                part.running_mean.normal_(0, 0.2, generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


def detectorlike() -> Detectorlike:
    """Always the same."""
    module = settle(Detectorlike())
    assert isinstance(module, Detectorlike)
    return module


def images(count: int, side: int = 16, seed: int = 1) -> Tensor:
    """Random images, `count x 3 x side x side`."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def greatest_error(given: Tensor, expected: Tensor) -> float:
    """Greatest difference over the greatest value."""
    given, expected = given.detach(), expected.detach()
    return float((given - expected).abs().max() / expected.abs().max())
