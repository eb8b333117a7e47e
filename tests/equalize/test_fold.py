import pytest
import torch
from torch import nn

from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.equalize.fold import fold_batch_norms
from autosinian.equalize.graph import kind, trace
from tests.equalize.networks import detectorlike, greatest_error, images, settle


def test_folding_keeps_the_function_and_leaves_no_batch_norm() -> None:
    module = detectorlike()
    network = trace(module)
    folded = fold_batch_norms(network)
    assert sorted(folded) == ["block.conv1", "block.conv2", "conv"]
    assert not any(kind(network, node) == "BatchNormalization" for node in network.graph.nodes)
    for given, expected in zip(network(images(4)), module(images(4)), strict=True):
        assert greatest_error(given, expected) < 1e-5


def test_one_channel_by_hand() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)).eval()
    convolution, norm = module[0], module[1]
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert convolution.bias is not None
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        convolution.weight.fill_(3.0)
        convolution.bias.fill_(5.0)
        norm.weight.fill_(2.0)
        norm.bias.fill_(7.0)
        norm.running_mean.fill_(1.0)
        norm.running_var.fill_(4.0)
    network = trace(module)
    norms = fold_batch_norms(network)
    folded = network.get_submodule("0")
    assert isinstance(folded, nn.Conv2d) and folded.bias is not None
    # Factor 2 / sqrt(4) = 1; bias (5 - 1) * 1 + 7.
    assert folded.weight.item() == pytest.approx(3.0)
    assert folded.bias.item() == pytest.approx(11.0)
    assert (norms["0"].gamma.item(), norms["0"].beta.item()) == (2.0, 7.0)


def test_a_convolution_that_others_read_keeps_its_batch_norm() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.bn = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            result: torch.Tensor = self.bn(y) + y
            return result

    assert fold_batch_norms(trace(settle(Shared()))) == {}


def test_ssd_resnet34_has_29_batch_norms_to_fold() -> None:
    network = trace(SsdResNet34(SsdConfig(classes=4, width=0.25, image_size=300)))
    assert len(fold_batch_norms(network)) == 29
