import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosinian.cli import preprocess
from autosinian.errors import InputError


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    preprocess.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["preprocess", *map(str, arguments)])
    code: int = args.run(args)
    return code


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """20 images, ten in a validation map and ten in a calibration map without labels."""
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(20):
        pixels = generator.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")
    (folder / "val_map.txt").write_text("".join(f"{i}.jpg\t{i}\n" for i in range(10)))
    (folder / "cal_map.txt").write_text("".join(f"{i}.jpg\n" for i in range(10, 20)))
    return folder


def test_every_role_gets_a_folder_and_a_second_run_says_unchanged(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("imagenet", "--data", images, "--out", tmp_path / "out", "--resolution", "16")
    assert run(*arguments) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        f"batch_norm: 5 x 3 x 16 x 16 float32 in `{tmp_path / 'out' / 'batch_norm'}` (made)"
    )
    inode = (tmp_path / "out" / "validation" / "inputs.npy").stat().st_ino
    assert run(*arguments) == 0
    assert capsys.readouterr().out.count("(unchanged, not made again)") == 4
    assert (tmp_path / "out" / "validation" / "inputs.npy").stat().st_ino == inode


def test_int8_in_chw4_with_r2s_resize_is_made_for_validation_only(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        *("imagenet", "--data", images, "--out", tmp_path / "out", "--resolution", "16"),
        *("--val-only", "--dtype", "int8", "--layout", "chw4", "--scale", "0.02", "--json"),
    )
    assert code == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary["roles"]) == ["search", "validation"]
    assert summary["roles"]["validation"]["shape"] == [8, 16, 16, 4]
    assert summary["rule"]["resize"] == 19
    values = np.load(summary["roles"]["validation"]["inputs"], mmap_mode="r", allow_pickle=False)
    assert (values.dtype, values.shape) == (np.int8, (8, 16, 16, 4))


def test_calibration_only_needs_no_labels(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("imagenet", "--data", images, "--out", out, "--resolution", "16", "--cal-only")
    assert sorted(folder.name for folder in out.iterdir() if folder.is_dir()) == [
        "batch_norm",
        "calibration",
    ]
    assert not (out / "calibration" / "labels.npy").exists()


def test_maps_resize_and_normalisation_can_be_given(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("3.jpg 1\n4.jpg 0\n5.jpg 1\n")
    run(
        *("folder", "--data", images, "--out", tmp_path / "out", "--resolution", "16", "--json"),
        *("--val-map", other, "--cal-only", "--limit", "2"),
        *("--resize", "direct", "--interpolation", "bicubic"),
        *("--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25"),
    )
    summary = json.loads(capsys.readouterr().out)
    assert summary["roles"]["calibration"]["samples"] == 2
    assert summary["rule"]["resize"] is None
    assert summary["rule"]["interpolation"] == "bicubic"
    assert summary["rule"]["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist", "--resolution", "16"), "a data set is one of cifar10"),
        (("fashion_mnist", "--resolution", "0"), r"resolution must be 1\.\.4096, but got 0"),
        (("fashion_mnist", "--resolution", "16", "--resize", "big"), "pixels or `direct`"),
        (("fashion_mnist", "--resolution", "16", "--dtype", "int8"), "int8 needs a scale"),
        (("fashion_mnist", "--resolution", "16", "--limit", "0"), "at least 1 sample"),
    ],
)
def test_bad_input_is_told_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_image_of_a_later_role_is_told_before_anything_is_made(
    images: Path, tmp_path: Path
) -> None:
    (images / "0.jpg").unlink()
    with pytest.raises(InputError, match=r"val_map\.txt` line 1"):
        run("imagenet", "--data", images, "--out", tmp_path / "out", "--resolution", "16")
    assert not (tmp_path / "out").exists()
