"""Training learns, resumes and writes; the commands print what it wrote."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autosinian.cli.main import main
from autosinian.detection.augmentation import Augmentation
from autosinian.detection.checkpoint import Detector, load_detector, save_detector
from autosinian.detection.network import SsdConfig
from autosinian.detection.training import CHECKPOINT, LOG, Training, TrainingOptions
from autosinian.detection.voc import read_voc
from autosinian.errors import InputError

PLAIN = Augmentation(kept=1.0, horizontal_flip=False, brightness=0, contrast=0, saturation=0, hue=0)
OPTIONS = TrainingOptions(
    steps=30,
    batch_size=1,
    learning_rate=4e-3,
    warm_up=3,
    averaging=0.7,
    evaluations=2,
    augmentation=PLAIN,
)
CONFIG = SsdConfig(classes=3, width=1 / 16, image_size=300)


def _training(drawn: Path, out: Path, options: TrainingOptions) -> Training:
    images = read_voc(drawn, "train")
    images = replace(images, images=images.images[:1])
    return Training(CONFIG, images, images, options, out, torch.device("cpu"))


def test_an_image_is_learnt_by_heart(drawn: Path, tmp_path: Path) -> None:
    path = _training(drawn, tmp_path, OPTIONS).run()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines[-1]["class_loss"] < lines[0]["class_loss"] / 2
    assert lines[-1]["box_loss"] < lines[0]["box_loss"]
    assert max(line["validation_ap50"] for line in lines) > 40
    assert load_detector(path).class_names == ("large", "small")


def test_an_interrupted_run_continues_as_if_it_had_not_stopped(drawn: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=2, evaluations=2)
    _training(drawn, tmp_path / "whole", options).run()

    class Interrupted(Training):
        def _evaluate(self, *parts: Any) -> None:
            super()._evaluate(*parts)
            if self.step == 1:
                raise KeyboardInterrupt

    images = replace(read_voc(drawn, "train"), images=read_voc(drawn, "train").images[:1])
    with pytest.raises(KeyboardInterrupt):
        Interrupted(CONFIG, images, images, options, tmp_path / "parts", torch.device("cpu")).run()
    _training(drawn, tmp_path / "parts", options).run()
    whole, parts = (
        torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 2
    for name, tensor in whole["network"].items():
        assert torch.allclose(parts["network"][name], tensor, atol=1e-6), name


def test_another_run_is_not_continued(drawn: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=1, evaluations=1)
    _training(drawn, tmp_path, options).run()
    with pytest.raises(InputError, match="other options or images"):
        _training(drawn, tmp_path, replace(options, learning_rate=1.0)).run()


def test_the_commands_train_and_evaluate(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [str(drawn), "--out", str(out), "--width", "0.0625", "--device", "cpu"]
    fast = ["--steps", "2", "--batch-size", "2", "--evaluations", "1"]
    assert main(["ssd", "train", *words, *fast]) == 0
    path = capsys.readouterr().out.strip()
    assert path == str(out / "detector.pt")
    assert main(["ssd", "evaluate", path, str(drawn), "--split", "test", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 4
    assert set(figures["by_class"]) == {"large", "small"}
    assert 0 <= figures["mean"] <= 100


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", "o"], "give DATA"),
        (["DATA", "--out", "o", "--steps", "0"], "--steps must be above 0"),
        (["DATA", "--out", "o", "--crop", "2"], "--crop must be between"),
        (["DATA", "--out", "o", "--time", "-1"], "--time must be above 0"),
        (["DATA", "--out", "o"], "does not exist"),
    ],
)
def test_bad_input_of_the_command_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["ssd", "train", *words]) == 2
    assert told in capsys.readouterr().err


def test_the_export_command_writes_the_onnx(
    narrow: Detector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_detector(tmp_path / "detector.pt", narrow)
    target = tmp_path / "detector.onnx"
    assert main(["ssd", "export", str(tmp_path / "detector.pt"), str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert target.stat().st_size > 100_000
