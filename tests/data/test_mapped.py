import tarfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosinian.data import MEASURING_ROLES, ROLES, MapFiles, Role, open_dataset
from autosinian.data.mapped import BATCH_NORM_SAMPLES, SEARCH_SAMPLES
from autosinian.errors import InputError
from tests.data.conftest import MakeImages, listed


def test_roles_never_overlap_even_where_the_maps_do(make_images: MakeImages) -> None:
    # As in MLPerf: the calibration images are validation images too.
    folder = make_images(
        20, val=listed(0, 20), cal=listed(3, 9), train=listed(0, 4), search=listed(2, 14)
    )
    dataset = open_dataset("imagenet", folder)
    seen = [set(dataset._lines[role]) for role in ROLES]  # type: ignore[attr-defined]
    names = [{line.name for line in lines} for lines in seen]
    for one, other in combinations(names, 2):
        assert not one & other
    assert set.union(*names) == {f"{index}.jpg" for index in range(20)}
    assert "listed twice, used once" in dataset.describe()


def test_roles_of_imagenets_size_never_overlap(make_images: MakeImages) -> None:
    folder = make_images(
        0, val=listed(0, 50_000), cal=listed(1000, 1500), train=listed(60_000, 70_000)
    )
    dataset = open_dataset("imagenet", folder)
    names = {role: set(dataset.samples(role).identities) for role in ROLES}
    assert {role: len(set_) for role, set_ in names.items()} == {
        "train": 10_000 - BATCH_NORM_SAMPLES,
        "batch_norm": BATCH_NORM_SAMPLES,
        "calibration": 500,
        "search": SEARCH_SAMPLES,
        "validation": 44_500,
    }
    for one, other in combinations(ROLES, 2):
        assert not names[one] & names[other]


def test_without_other_maps_a_fifth_of_val_is_searched_on_and_half_of_cal_recalibrates(
    make_images: MakeImages,
) -> None:
    dataset = open_dataset("imagenet", make_images(30, val=listed(0, 20), cal=listed(20, 30)))
    sizes = {role: len(dataset.samples(role)) for role in MEASURING_ROLES}
    assert sizes == {"batch_norm": 5, "calibration": 5, "search": 4, "validation": 16}


def test_a_val_map_alone_gives_a_tenth_to_calibration(make_images: MakeImages) -> None:
    dataset = open_dataset("imagenet", make_images(40, val=listed(0, 40)))
    roles: tuple[Role, ...] = ("calibration", "search", "validation")
    names = [set(dataset.samples(role).identities) for role in roles]
    assert [len(found) for found in names] == [4, 7, 29]
    assert len(set.union(*names)) == 40
    with pytest.raises(InputError, match="batch_norm must have at least one image"):
        dataset.samples("batch_norm")


def test_a_search_map_leaves_all_of_val_for_the_final_figure(make_images: MakeImages) -> None:
    dataset = open_dataset("imagenet", make_images(30, val=listed(0, 20), search=listed(20, 30)))
    assert len(dataset.samples("validation")) == 20
    assert len(dataset.samples("search")) == 10


def test_samples_keep_the_order_of_the_map(make_images: MakeImages) -> None:
    dataset = open_dataset("imagenet", make_images(20, val=listed(0, 20)))
    identities = dataset.samples("validation").identities
    assert list(identities) == sorted(identities, key=lambda name: int(name[:-4]))


def test_arrays_are_made_of_a_map_in_a_place_of_its_own(
    make_images: MakeImages, tmp_path: Path
) -> None:
    folder = make_images(10)
    (tmp_path / "mine.txt").write_text("".join(f"{i}.jpg\n" for i in range(10)))
    dataset = open_dataset("imagenet", folder, maps=MapFiles(cal=tmp_path / "mine.txt"))
    arrays = dataset.arrays("calibration", 16, tmp_path / "cache")
    assert arrays.open_inputs().shape == (5, 3, 16, 16)
    assert arrays.labels is None
    with pytest.raises(InputError, match="labels are needed"):
        arrays.read_labels()


def test_an_image_that_changes_is_processed_again(make_images: MakeImages, tmp_path: Path) -> None:
    folder = make_images(10, cal=listed(0, 10))
    before = open_dataset("imagenet", folder).arrays("calibration", 16, tmp_path / "cache")
    name = open_dataset("imagenet", folder).samples("calibration").identities[0]
    other = next(file for file in folder.glob("*.jpg") if file.name != name)
    (folder / name).write_bytes(other.read_bytes())
    after = open_dataset("imagenet", folder).arrays("calibration", 16, tmp_path / "cache")
    assert after.key != before.key
    assert not np.array_equal(after.open_inputs(), before.open_inputs())


def test_a_missing_image_is_named_with_its_line(make_images: MakeImages, tmp_path: Path) -> None:
    dataset = open_dataset("imagenet", make_images(4, val="0.jpg 0\n1.jpg 1\nx.jpg 2\n"))
    with pytest.raises(InputError, match=r"val_map\.txt` line 3: image `.*x\.jpg` cannot be read"):
        dataset.arrays("validation", 16, tmp_path / "cache")


@pytest.mark.parametrize("keep", [0, 20, 700])
def test_a_truncated_image_is_named_with_its_line_and_leaves_nothing(
    make_images: MakeImages, tmp_path: Path, keep: int
) -> None:
    folder = make_images(4, val=listed(0, 4))
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:keep])
    with pytest.raises(
        InputError, match=r"line 3: image `.*2\.jpg` must be a whole image"
    ) as raised:
        open_dataset("imagenet", folder).arrays("validation", 16, tmp_path / "cache")
    assert "\n" not in str(raised.value)
    assert [file for file in (tmp_path / "cache").iterdir() if file.is_dir()] == []


def test_a_label_out_of_range_is_named_with_its_line(make_images: MakeImages) -> None:
    with pytest.raises(InputError, match=r"line 2: a label must be 0\.\.999, but got 1000"):
        open_dataset("imagenet", make_images(2, val="0.jpg 0\n1.jpg 1000\n")).samples("validation")


def test_a_validation_line_without_a_label_is_named(make_images: MakeImages) -> None:
    with pytest.raises(InputError, match=r"line 2: a label is needed, but `1\.jpg` has none"):
        open_dataset("imagenet", make_images(2, val="0.jpg 0\n1.jpg\n")).samples("validation")


def test_training_needs_labels_where_recalibration_does_not(make_images: MakeImages) -> None:
    folder = make_images(0, train="".join(f"{i}.jpg\n" for i in range(BATCH_NORM_SAMPLES + 1)))
    dataset = open_dataset("imagenet", folder)
    assert dataset.samples("batch_norm").labels is None
    with pytest.raises(InputError, match="a label is needed for train"):
        dataset.samples("train")


def test_a_calibration_map_of_no_images_is_told(make_images: MakeImages) -> None:
    dataset = open_dataset("imagenet", make_images(2, val=listed(0, 2), cal="\n"))
    with pytest.raises(InputError, match=r"calibration must have at least one image, but map `.*"):
        dataset.samples("calibration")
    with pytest.raises(InputError, match="batch_norm must have at least one image"):
        dataset.samples("batch_norm")


def test_a_wrong_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the path of the folder of its images"):
        open_dataset("imagenet")
    with pytest.raises(InputError, match="does not exist"):
        open_dataset("imagenet", tmp_path / "absent")
    with pytest.raises(InputError, match=r"needs `val_map\.txt` or `cal_map\.txt`"):
        open_dataset("imagenet", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="needs a folder of images"):
        open_dataset("imagenet", tmp_path / "file")


def test_a_folder_counts_its_classes_from_the_labels(make_images: MakeImages) -> None:
    folder = make_images(7, val=listed(0, 7))
    assert open_dataset("folder", folder).classes == 7
    assert open_dataset("folder", folder, classes=9).classes == 9
    with pytest.raises(InputError, match=r"a label must be 0\.\.4, but got 5"):
        open_dataset("folder", folder, classes=5).samples("validation")


def test_images_of_one_size_are_given_in_memory_and_others_are_refused(
    make_images: MakeImages,
) -> None:
    folder = make_images(4, val=listed(0, 4))
    assert open_dataset("folder", folder).images("validation")[0].shape == (4, 30, 40, 3)
    (folder / "1.jpg").unlink()
    Image.new("RGB", (20, 20)).save(folder / "1.jpg")
    with pytest.raises(InputError, match=r"`1\.jpg` is 20 x 20 and the first is 40 x 30"):
        open_dataset("folder", folder).images("validation")


@pytest.mark.shared_data
def test_the_shared_imagenet_samples_are_preprocessed(shared_data: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    with tarfile.open(shared_data / "imagenet_samples_1000.tar") as tar:
        tar.extractall(images, filter="data")
    lines = (images / "val_map.txt").read_text().splitlines(keepends=True)
    (images / "cal_map.txt").write_text("".join(lines[::10]))
    dataset = open_dataset("imagenet", images)
    assert [len(dataset.samples(role)) for role in MEASURING_ROLES] == [50, 50, 180, 720]
    arrays = dataset.arrays("search", 176, tmp_path / "cache")
    assert arrays.open_inputs().shape == (180, 3, 176, 176)
    names = dataset.samples("search").identities
    assert arrays.read_labels().tolist() == [int(name[7:11]) for name in names]
