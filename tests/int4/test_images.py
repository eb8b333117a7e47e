"""Image files to int8 arrays, by the published rule."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autosinian.errors import InputError
from autosinian.int4.images import make_arrays, preprocessing, read_array, read_labels


def rule_in_words(image: Image.Image) -> NDArray[np.int8]:
    """The rule as it is published, step by step."""
    width, height = image.size
    short = min(width, height)
    resized = image.resize(
        (int(256 * width / short), int(256 * height / short)), Image.Resampling.BILINEAR
    )
    left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
    pixels = np.asarray(resized, np.float32)[top : top + 224, left : left + 224] / np.float32(255)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    steps = (pixels - mean) / deviation * np.float32(127 / 2.64)
    result: NDArray[np.int8] = np.rint(steps).clip(-127, 127).astype(np.int8)
    return result.transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(300, 257), (224, 500), (256, 256)])
def test_an_image_becomes_what_the_rule_says(size: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(sum(size))
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))
    image.save(tmp_path / "a.png")
    (tmp_path / "val_map.txt").write_text("a.png 7\n")
    assert make_arrays(tmp_path, tmp_path / "val_map.txt", 224, tmp_path / "out") == 1
    images = read_array(tmp_path / "out" / "inputs.npy")
    np.testing.assert_array_equal(images[0], rule_in_words(image))
    assert read_labels(tmp_path / "out" / "labels.npy").tolist() == [7]


def test_every_value_of_a_pixel_becomes_what_the_rule_says() -> None:
    column = np.arange(256, dtype=np.uint8)[:, None, None].repeat(256, 1).repeat(3, 2)
    given = preprocessing(224).apply(Image.fromarray(column))
    np.testing.assert_array_equal(given, rule_in_words(Image.fromarray(column)))


def test_what_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("absent.png 0\n")
    with pytest.raises(InputError, match="does not exist"):
        make_arrays(tmp_path, tmp_path / "map", 224, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").write_text("")
    with pytest.raises(InputError, match="must name images, but is empty"):
        make_arrays(tmp_path, tmp_path / "empty", 224, tmp_path / "out")
    with pytest.raises(InputError, match="must not exist yet"):
        make_arrays(tmp_path, tmp_path / "map", 224, tmp_path)


def test_arrays_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "float.npy", np.zeros((1, 3, 4, 4)))
    np.save(tmp_path / "flat.npy", np.zeros(4, np.int8))
    (tmp_path / "text.npy").write_text("no array")
    for name in ("float", "flat"):
        with pytest.raises(InputError, match="must be int8, N x C x H x W"):
            read_array(tmp_path / f"{name}.npy")
    for name in ("text", "absent"):
        with pytest.raises(InputError, match=r"must be a \.npy file of int8 images"):
            read_array(tmp_path / f"{name}.npy")
    with pytest.raises(InputError, match="must be whole numbers, one an image"):
        read_labels(tmp_path / "float.npy")
