"""A drawn data set and a narrow detector, shared by the room's tests."""

from pathlib import Path

import pytest
import torch

from autosinian.detection.checkpoint import Detector
from autosinian.detection.network import SsdConfig, SsdResNet34
from tests.detection.blood import CLASSES, write_set


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOC set with 6 images to train, 4 to validate, 4 to test."""
    return write_set(tmp_path_factory.mktemp("drawn"), {"train": 6, "val": 4, "test": 4})


@pytest.fixture(scope="session")
def narrow() -> Detector:
    """An untrained detector of two classes, 1/16 wide, whose batch norms are not the identity."""
    torch.manual_seed(0)
    network = SsdResNet34(SsdConfig(classes=3, width=1 / 16, image_size=300)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return Detector(network, CLASSES)
