"""`autosinian int4 predict` and `preprocess`, as a user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosinian.cli.main import main
from autosinian.int4.model import Model
from tests.int4.gpu import oracle
from tests.int4.small_networks import random_images, small_network

NETWORK = small_network()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Model(NETWORK).write(tmp_path)
    np.save(tmp_path / "x.npy", random_images(NETWORK, 70))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_logits_are_the_exact_ones_and_accuracy_is_counted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = oracle.logits(NETWORK, np.load("x.npy"))
    labels = (wanted / NETWORK.out_scale).argmax(1)
    labels[:7] = (labels[:7] + 1) % 10
    np.save("y.npy", labels)
    asked = ["--inputs", "x.npy", "--logits", "out.npy", "--labels", "y.npy", "--json"]
    assert main(["int4", "predict", "model", *asked]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["images"], figures["correct"], figures["top1"]) == (70, 63, 0.9)
    logits = np.load("out.npy")
    assert logits.dtype == np.int32
    np.testing.assert_array_equal(logits, wanted)


def test_images_become_arrays_that_can_be_predicted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "images").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (80 * number, 10, 99)).save(f"images/{number}.png")
    Path("images/val_map.txt").write_text("".join(f"{n}.png\t{n}\n" for n in range(3)))
    assert main(["int4", "preprocess", "images", "--side", "16", "--out", "arrays"]) == 0
    assert "3 x 3 x 16 x 16 int8 in `arrays`" in capsys.readouterr().out
    asked = ["--inputs", "arrays/inputs.npy", "--labels", "arrays/labels.npy"]
    assert main(["int4", "predict", "model", *asked]) == 0
    assert "(" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--inputs", "x.npy"], "`--logits` or `--labels` must be given"),
        (["--inputs", "absent.npy", "--logits", "o.npy"], "must be a .npy file of int8 images"),
        (["--inputs", "small.npy", "--logits", "o.npy"], "N x 3 x 16 x 16 with N >= 1"),
        (["--inputs", "x.npy", "--logits", "o.npy", "--device", "tpu"], "must be one of cpu, cuda"),
        (
            ["--inputs", "x.npy", "--logits", "o.npy", "--autoconfig", "a"],
            "chooses kernels of a GPU, but the device is cpu",
        ),
        (
            ["--inputs", "x.npy", "--logits", "o.npy", "--device", "cuda", "--autoconfig", "a"],
            "layer1_residual1_ds_conv is missing",
        ),
        (["--inputs", "x.npy", "--labels", "few.npy"], "labels must be one an image (70), got (2"),
    ],
)
def test_bad_input_ends_in_one_line(
    place: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("small.npy", np.zeros((2, 3, 15, 15), np.int8))
    np.save("few.npy", np.zeros(2, np.int64))
    Path("a").write_text("layer1_residual1_conv1=1000\n")
    assert main(["int4", "predict", "model", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not Path("o.npy").exists()
