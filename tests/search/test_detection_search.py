"""A study of a detector from the space file to a bundle that verifies."""

import json
from pathlib import Path

import pytest
import torch

from autosinian.cli.main import main
from autosinian.detection.checkpoint import Detector, save_detector
from autosinian.detection.network import SsdConfig, SsdResNet34
from tests.detection.blood import CLASSES, write_set

SPACE = """
network: {source: detector.pt}
data: {name: voc, path: drawn}
engine: openvino
scenarios: [Offline]
objectives: [samples_per_second]
quantization:
  precision: [int8]
  equalize: [true]
  asymmetric: [1]
serving: {batch_size: 2}
measurement: {min_duration_s: 0.1, loadgen: {min_query_count: 1}}
trials: 2
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "drawn", {"train": 2, "val": 2, "test": 2})
    torch.manual_seed(0)
    network = SsdResNet34(SsdConfig(classes=3, width=1 / 16, image_size=300)).eval()
    save_detector(tmp_path / "detector.pt", Detector(network, CLASSES))
    (tmp_path / "blood.yaml").write_text(SPACE)
    return tmp_path


def test_a_detector_is_searched_exported_and_verified(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "blood.yaml"]) == 0
    assert "int8 minmax 1 asymmetric equalized" in capsys.readouterr().err
    assert main(["export-best", "blood", "--top", "1", "--rounds", "2", "--duration", "0.1"]) == 0
    result = json.loads((study / "studies/blood/best/result.json").read_text())
    assert result["candidate"]["quantization"]["options"] == {"asymmetric": 1, "equalize": True}
    assert result["jobs"]["Offline"]["task"]["name"] == "detection"
    assert 0 <= result["accuracy"] <= 1
    capsys.readouterr()
    status = main(["verify", "studies/blood/best", "--rounds", "1"])
    told = capsys.readouterr().out
    assert "ok     network" in told
    assert "ok     accuracy" in told
    assert status in (0, 1)  # figures of runs this short may differ


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("source: detector.pt", "source: detector.pt, resize: 320", "must be left out"),
        ("name: voc, path: drawn", "name: fashion_mnist", "must be of one task"),
        ("asymmetric: [1]", "asymmetric: [-1]", "greater than or equal to 0"),
    ],
)
def test_what_does_not_fit_a_detector_is_told(
    study: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    (study / "blood.yaml").write_text(SPACE.replace(old, new))
    assert main(["search", "blood.yaml"]) == 2
    assert told in capsys.readouterr().err
