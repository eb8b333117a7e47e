"""Preprocessed images beside a map: one array, or a file an image."""

from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.int4.tensors import tensor_arrays

SHAPE = (3, 4, 4)
IMAGES = np.arange(3 * 48, dtype=np.int8).reshape(3, *SHAPE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "map").write_text("a.JPEG 2\nb.JPEG 0\nc.JPEG 1\n")
    np.save(tmp_path / "inputs.npy", IMAGES)
    folder = tmp_path / "tensors"
    folder.mkdir()
    np.save(folder / "a.JPEG.npy", IMAGES[0])
    np.save(folder / "b.npy", IMAGES[1])
    np.save(folder / "c.npy", IMAGES[2])
    return tmp_path


@pytest.mark.parametrize("where", ["inputs.npy", ".", "tensors"])
def test_images_and_labels_follow_the_map(place: Path, where: str) -> None:
    arrays = tensor_arrays(place / where, place / "map", SHAPE, 3, place / "cache")
    np.testing.assert_array_equal(arrays.open_inputs(), IMAGES)
    assert arrays.read_labels().tolist() == [2, 0, 1]
    assert arrays.samples == 3


def test_a_folder_is_gathered_once_and_again_when_it_changes(place: Path) -> None:
    first = tensor_arrays(place / "tensors", place / "map", SHAPE, 3, place / "cache")
    made = first.inputs.stat().st_mtime_ns
    again = tensor_arrays(place / "tensors", place / "map", SHAPE, 3, place / "cache")
    assert (again, again.inputs.stat().st_mtime_ns) == (first, made)
    (place / "map").write_text("b.JPEG 0\na.JPEG 2\n")
    other = tensor_arrays(place / "tensors", place / "map", SHAPE, 3, place / "cache")
    assert other.key != first.key
    np.testing.assert_array_equal(other.open_inputs(), IMAGES[[1, 0]])


@pytest.mark.parametrize(
    ("where", "text", "told"),
    [
        ("inputs.npy", "a 0\n", "a row of 3 x 4 x 4 for each of the 1 lines"),
        ("inputs.npy", "a 3\n", "a label must be 0..2"),
        ("inputs.npy", "", "must name images, but is empty"),
        ("absent.npy", "a 0\n", "must be a .npy file of int8 images"),
        ("tensors", "d.JPEG 0\n", "must be there, but neither is"),
        ("tensors", "../a 0\n", "names stay inside the image folder"),
        ("tensors", "wrong.JPEG 0\n", "must be int8, 3 x 4 x 4, got int8, 3 x 4"),
        ("tensors", "float.JPEG 0\n", "must be int8, 3 x 4 x 4, got float64, 3 x 4 x 4"),
        ("tensors", "text.JPEG 0\n", "must be a .npy file, but"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(
    place: Path, where: str, text: str, told: str
) -> None:
    np.save(place / "tensors" / "wrong.npy", IMAGES[0, 0:3, 0])
    np.save(place / "tensors" / "float.npy", IMAGES[0].astype(np.float64))
    (place / "tensors" / "text.npy").write_text("no array")
    (place / "map").write_text(text)
    with pytest.raises(InputError) as caught:
        tensor_arrays(place / where, place / "map", SHAPE, 3, place / "cache")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
