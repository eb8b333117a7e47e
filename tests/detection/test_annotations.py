"""VOC and COCO read alike; what is wrong is told with file and box."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.detection.annotations import truth_of
from autosinian.detection.coco import read_coco
from autosinian.detection.source import open_annotated
from autosinian.detection.voc import read_voc
from autosinian.errors import InputError
from tests.detection.blood import CLASSES, SIZE, write_image, write_split

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd.tar"


def test_a_folder_and_its_archive_give_the_same(drawn: Path, tmp_path: Path) -> None:
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as stream:
        stream.add(drawn, arcname="./nested")
    for split, count in (("train", 6), ("test", 4)):
        left, right = read_voc(drawn, split), read_voc(archive, split)
        assert left.class_names == right.class_names == CLASSES
        assert len(left.images) == len(right.images) == count
        assert np.array_equal(truth_of(left.images), truth_of(right.images))
        first = np.asarray(left.pixels(left.images[0]))
        assert np.array_equal(first, np.asarray(right.pixels(right.images[0])))


def _coco(folder: Path, **changes: Any) -> Path:
    document: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png", "width": 160, "height": 120}],
        "categories": [{"id": 9, "name": "small"}, {"id": 3, "name": "large"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [10, 20, 30, 40], "area": 600},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 160, 120], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 3, "bbox": [5, 5, 0, 10]},
        ],
    }
    write_image(folder, "a", [])
    path = folder / "annotations.json"
    path.write_text(json.dumps(document | changes))
    return path


def test_coco_categories_become_classes_in_order_of_their_ids(tmp_path: Path) -> None:
    found = read_coco(_coco(tmp_path), tmp_path / "JPEGImages")
    assert found.class_names == ("large", "small")
    (image,) = found.images
    assert image.boxes.tolist() == [[10, 20, 40, 60], [0, 0, 160, 120]]
    assert image.labels.tolist() == [2, 1]
    assert image.areas.tolist() == [600, 19200]
    assert image.crowd.tolist() == [False, True]
    assert len(found.dropped) == 1
    assert "annotation 3" in found.dropped[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"images": [{"id": 7, "file_name": "b.png", "width": 160, "height": 120}]},
            r"image 7: its file `b.png` is not there",
        ),
        (
            {"annotations": [{"id": 4, "image_id": 8, "category_id": 9, "bbox": [0, 0, 1, 1]}]},
            r"annotation 4: its image 8 is not in `images`",
        ),
        (
            {"annotations": [{"id": 4, "image_id": 7, "category_id": 9, "bbox": [150, 0, 20, 5]}]},
            r"annotation 4: the box \(150, 0, 170, 5\) must lie in its image of 160 x 120",
        ),
        ({"images": []}, "annotation 1: its image 7"),
        ({"categories": [{"id": 9}]}, "annotation 2: its category 3 is not there"),
        ({"annotations": [{"id": 4, "image_id": 7, "category_id": 9}]}, "must be x, y, width"),
    ],
)
def test_what_is_wrong_in_coco_is_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_coco(_coco(tmp_path, **changes), tmp_path / "JPEGImages")


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((10, 10, 200, 50), r"image.xml, object 1 \(small\): the box .* must lie in its image"),
        ((50, 10, 40, 50), r"object 1 \(small\): the box must end after it begins"),
        ((float("nan"), 10, 40, 50), r"object 1 \(small\): the box must have finite sides"),
    ],
)
def test_a_wrong_voc_box_is_told(
    tmp_path: Path, box: tuple[float, float, float, float], told: str
) -> None:
    write_image(tmp_path, "image", [("small", box)])
    write_split(tmp_path, "val", ["image"])
    with pytest.raises(InputError, match=told):
        read_voc(tmp_path, "val")


def test_a_voc_box_without_area_is_left_out_and_told(tmp_path: Path) -> None:
    write_image(tmp_path, "image", [("small", (5, 5, 5, 5)), ("small", (5, 5, 9, 9))])
    write_split(tmp_path, "val", ["image"])
    found = read_voc(tmp_path, "val")
    assert len(found.images[0].labels) == 1
    assert len(found.dropped) == 1
    assert "image.xml, object 1 (small)" in found.dropped[0]


def test_missing_files_of_a_voc_set_are_told(tmp_path: Path) -> None:
    write_image(tmp_path, "there", [("small", (5, 5, 9, 9))])
    write_split(tmp_path, "val", ["there", "gone"])
    with pytest.raises(InputError, match=r"names `gone`, but Annotations/gone.xml is not there"):
        read_voc(tmp_path, "val")
    write_split(tmp_path, "val", ["there"])
    with pytest.raises(InputError, match="has only the splits val"):
        read_voc(tmp_path, "test")
    (tmp_path / "JPEGImages" / "there.png").unlink()
    with pytest.raises(InputError, match=r"there.xml: its image is not in JPEGImages"):
        read_voc(tmp_path, "val")


def test_entities_and_broken_xml_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path, "image", [("small", (5, 5, 9, 9))])
    write_split(tmp_path, "val", ["image"])
    file = tmp_path / "Annotations" / "image.xml"
    good = file.read_text()
    file.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + good)
    with pytest.raises(InputError, match="must not declare"):
        read_voc(tmp_path, "val")
    file.write_text(good[:-5])
    with pytest.raises(InputError, match="must be XML"):
        read_voc(tmp_path, "val")


def test_an_image_of_another_size_than_annotated_is_told(tmp_path: Path) -> None:
    write_image(tmp_path, "image", [("small", (5, 5, 9, 9))])
    write_split(tmp_path, "val", ["image"])
    file = tmp_path / "Annotations" / "image.xml"
    file.write_text(file.read_text().replace(f"<width>{SIZE[0]}", "<width>200"))
    found = read_voc(tmp_path, "val")
    with pytest.raises(InputError, match="must be 200 x 120 pixels"):
        found.pixels(found.images[0])


def test_coco_and_voc_are_told_apart_by_the_name(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="need the folder of their images"):
        open_annotated(tmp_path / "a.json")
    with pytest.raises(InputError, match="holds its images"):
        open_annotated(drawn, tmp_path)
    assert len(open_annotated(drawn, split="val").images) == 4


@pytest.mark.shared_data
@pytest.mark.skipif(not BCCD.exists(), reason="the shared data set bccd.tar is not there")
def test_the_blood_cells_have_their_splits_and_two_boxes_without_area() -> None:
    splits = [read_voc(BCCD, split) for split in ("train", "val", "test")]
    assert [len(split.images) for split in splits] == [205, 87, 72]
    assert sum(len(i.labels) for split in splits for i in split.images) == 4888 - 2
    left_out = [line for split in splits for line in split.dropped]
    assert ["343.xml" in left_out[0], "338.xml" in left_out[1]] == [True, True]
    assert splits[0].class_names == ("Platelets", "RBC", "WBC")
