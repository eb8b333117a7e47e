import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autosinian.cli.main import main
from autosinian.supernet import SupernetConfig, open_supernet
from autosinian.supernet.training.augmentation import Augmentation, augment, normalise
from autosinian.supernet.training.images import TrainingImages
from autosinian.supernet.training.options import TrainingOptions
from autosinian.supernet.training.run import CHECKPOINT, FIGURES, LOG, Training

CPU = torch.device("cpu")
OPTIONS = TrainingOptions((28, 32), epochs=1, batch_size=8, warm_fraction=0.0)


@pytest.fixture(scope="module")
def images() -> TrainingImages:
    rng = np.random.default_rng(0)

    def some(count: int) -> np.ndarray:
        return rng.integers(0, 256, (count, 3, 28, 28)).astype(np.uint8)

    def labels(count: int) -> np.ndarray:
        return rng.integers(0, 5, count)

    return TrainingImages(
        name="made up",
        classes=5,
        train_images=some(32),
        train_labels=labels(32),
        batch_norm_images=some(8),
        held_images=some(8),
        held_labels=labels(8),
        test_images=some(8),
        test_labels=labels(8),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )


def training(images: TrainingImages, out: Path, options: TrainingOptions = OPTIONS) -> Training:
    torch.set_num_threads(1)
    config = SupernetConfig.make("proxyless", width_mult=0.35, classes=5)
    return Training(config, images, replace(options, figures_of=1), out, CPU)


def test_a_resumed_training_equals_an_uninterrupted_one(
    images: TrainingImages, tmp_path: Path
) -> None:
    whole = training(images, tmp_path / "whole")
    whole.run()
    assert whole.step == 4

    first = training(images, tmp_path / "parts")
    first.out.mkdir()
    for _ in range(2):
        first.advance()
    first.save()
    second = training(images, tmp_path / "parts")
    second.run()
    assert second.step == 4
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name]), name
    for a, b in zip(whole.ema, second.ema, strict=True):
        assert torch.equal(a, b)


def test_a_training_writes_what_a_search_opens(images: TrainingImages, tmp_path: Path) -> None:
    weights = training(images, tmp_path).run()
    opened = open_supernet(weights, classes=5)
    assert opened.resolutions == (28, 32)
    assert opened.preprocessing.mean == (0.5, 0.5, 0.5)
    rows = json.loads((tmp_path / FIGURES).read_text())
    assert [row["subnet"] for row in rows] == ["largest", "smallest"] * 2 + ["random"]
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines[-1]["progress"] == 1.0 and lines[-1]["step"] == 4
    assert (tmp_path / CHECKPOINT).exists()


def test_the_time_limit_ends_a_training(images: TrainingImages, tmp_path: Path) -> None:
    run = training(images, tmp_path, replace(OPTIONS, epochs=10_000, time_limit=0.5))
    run.run()
    assert 0 < run.step < 40_000 and run.progress == 1


def test_augmented_images_keep_their_range_and_follow_the_generator() -> None:
    batch = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    first, second = (augment(batch, Augmentation(), torch.Generator().manual_seed(3)) for _ in "ab")
    assert torch.equal(first, second)
    assert first.shape == batch.shape and first.min() >= 0 and first.max() <= 255


def test_grey_images_are_repeated_and_enlarged() -> None:
    batch = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
    x = normalise(batch, 40, torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
    assert x.shape == (2, 3, 40, 40)
    torch.testing.assert_close(x, torch.ones_like(x))


def test_bad_resolutions_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train-supernet", "--data", "fashion_mnist", "--out", str(tmp_path)]
    assert main([*common, "--resolutions", "big"]) == 2
    assert main([*common, "--resolutions", "4"]) == 2
    # The shipped part has no pictures to train on.
    assert main([*common, "--resolutions", "28"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) <= 4
