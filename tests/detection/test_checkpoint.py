"""Detectors on disk: ours, and the published checkpoint's names."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from autosinian.detection.checkpoint import Detector, load_detector, save_detector
from autosinian.detection.network import SsdConfig, SsdResNet34
from autosinian.errors import InputError

PUBLISHED = {
    "model.layer1.0.weight": (64, 3, 7, 7),
    "model.layer1.1.running_mean": (64,),
    "model.layer1.4.2.conv2.weight": (64, 64, 3, 3),
    "model.layer1.5.0.downsample.0.weight": (128, 64, 1, 1),
    "model.layer1.5.3.bn1.bias": (128,),
    "model.layer2.0.0.conv1.weight": (256, 128, 3, 3),
    "model.layer2.0.0.downsample.1.running_var": (256,),
    "model.layer2.0.5.bn2.weight": (256,),
    "additional_blocks.0.0.weight": (256, 256, 1, 1),
    "additional_blocks.0.2.weight": (512, 256, 3, 3),
    "additional_blocks.2.0.weight": (128, 512, 1, 1),
    "additional_blocks.4.2.bias": (256,),
    "loc.1.weight": (24, 512, 3, 3),
    "conf.0.weight": (324, 256, 3, 3),
    "conf.5.bias": (324,),
}
"""Some names and shapes of the checkpoint for 81 classes."""


def test_the_published_names_and_shapes_are_ours() -> None:
    with torch.device("meta"):
        state = SsdResNet34(SsdConfig()).state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED} == PUBLISHED


def test_what_was_saved_is_read_back(narrow: Detector, tmp_path: Path) -> None:
    path = tmp_path / "detector.pt"
    save_detector(path, narrow)
    found = load_detector(path)
    assert found.class_names == narrow.class_names
    assert found.network.config == narrow.network.config
    for name, tensor in narrow.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], tensor)
    assert not found.network.training


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_a_checkpoint_of_published_names_loads_wherever_it_keeps_them(
    narrow: Detector, tmp_path: Path, key: str | None
) -> None:
    state = {
        f"module.{name}": tensor
        for name, tensor in narrow.network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "published.pth"
    torch.save({key: state, "epoch": 3} if key else state, path)
    found = load_detector(path, image_size=300)
    assert found.network.config == narrow.network.config
    assert found.class_names == ()
    assert load_detector(path).network.config.image_size == 1200


def _changed(narrow: Detector, tmp_path: Path, **changes: Tensor | None) -> Path:
    state = dict(narrow.network.state_dict())
    for name, tensor in changes.items():
        state.pop(name.replace("__", "."), None)
        if tensor is not None:
            state[name.replace("__", ".")] = tensor
    path = tmp_path / "changed.pth"
    torch.save(state, path)
    return path


def test_what_does_not_fit_is_told_by_name(narrow: Detector, tmp_path: Path) -> None:
    for changes, told in (
        ({"loc__0__weight": None}, "lacks `loc.0.weight`"),
        ({"head__bias": torch.zeros(1)}, "has unknown `head.bias`"),
        ({"loc__0__bias": torch.zeros(3)}, "has another shape of `loc.0.bias`"),
        ({"conf__0__weight": None}, "must have SSD-ResNet34's names"),
    ):
        with pytest.raises(InputError, match=told):
            load_detector(_changed(narrow, tmp_path, **changes))


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"format": Path("x")}, path)
    with pytest.raises(InputError, match="must be a file of plain tensors"):
        load_detector(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_detector(tmp_path / "missing.pt")


def test_a_detector_of_one_size_is_not_opened_for_another(narrow: Detector, tmp_path: Path) -> None:
    save_detector(tmp_path / "detector.pt", narrow)
    with pytest.raises(InputError, match="takes images of 300 pixels, not 1200"):
        load_detector(tmp_path / "detector.pt", image_size=1200)
