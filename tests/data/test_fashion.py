import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from autosinian.data import MEASURING_ROLES, open_dataset
from autosinian.data.fashion import SHIPPED, SPLIT
from autosinian.data.idx import write_idx
from autosinian.errors import InputError

# Debian's package dataset-fashion-mnist, where it is installed.
ORIGINALS = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture
def originals() -> Path:
    if not ORIGINALS.is_dir():
        pytest.skip("the original Fashion-MNIST is absent: Debian's dataset-fashion-mnist")
    return ORIGINALS


def test_the_shipped_part_serves_every_measuring_role() -> None:
    dataset = open_dataset("fashion_mnist")
    sizes = {"batch_norm": 2000, "calibration": 500, "search": 2500, "validation": 5000}
    for role in MEASURING_ROLES:
        images, labels = dataset.images(role)
        assert images.shape == (sizes[role], 28, 28, 3)
        assert images.dtype == np.uint8
        assert (images[..., 0] == images[..., 2]).all()
        assert labels.dtype == np.int64
        assert set(labels.tolist()) == set(range(10))


def test_no_picture_is_in_two_roles_by_index_and_by_pixels() -> None:
    dataset = open_dataset("fashion_mnist")
    identities = {role: set(dataset.samples(role).identities) for role in MEASURING_ROLES}
    pixels = {
        role: {hashlib.sha256(image.tobytes()).digest() for image in dataset.images(role)[0]}
        for role in MEASURING_ROLES
    }
    for one, other in combinations(MEASURING_ROLES, 2):
        assert not identities[one] & identities[other]
        assert not pixels[one] & pixels[other]
    for role in MEASURING_ROLES:
        assert len(pixels[role]) == len(identities[role]), "a role holds a picture twice"


def test_training_indices_are_in_no_other_role() -> None:
    ranges = {
        role: set(range(first, end))
        for role, (part, first, end) in SPLIT.items()
        if part == "train"
    }
    for one, other in combinations(ranges, 2):
        assert not ranges[one] & ranges[other]
    assert set.union(*ranges.values()) == set(range(60_000))


def test_the_shipped_part_is_small_and_has_its_licence() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 8_000_000
    assert "MIT License" in (SHIPPED / "LICENSE.txt").read_text()
    assert "Zalando" in (SHIPPED / "README.md").read_text()


def test_training_pictures_are_not_shipped_and_the_message_says_where_to_find_them() -> None:
    with pytest.raises(InputError, match=r"no train pictures; give the folder of the four"):
        open_dataset("fashion_mnist").images("train")


def test_the_originals_give_the_same_pictures_keys_and_bytes(
    originals: Path, tmp_path: Path
) -> None:
    shipped, whole = open_dataset("fashion_mnist"), open_dataset("fashion_mnist", originals)
    for role in MEASURING_ROLES:
        assert whole.fingerprint(role) == shipped.fingerprint(role)
    images, labels = whole.images("calibration")
    for values, kind in ((images[..., 0], "images-idx3"), (labels.astype(np.uint8), "labels-idx1")):
        name = f"calibration-{kind}-ubyte.gz"
        write_idx(tmp_path / name, values)
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()
    assert whole.images("train")[0].shape == (55_000, 28, 28, 3)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must hold `train-images-idx3-ubyte\.gz`"):
        open_dataset("fashion_mnist", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        open_dataset("fashion_mnist", tmp_path / "absent")


def test_files_of_another_size_are_refused(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.zeros((5, 28, 28), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.zeros(5, np.uint8))
    with pytest.raises(InputError, match=r"must be \(60000, 28, 28\), but is \(5, 28, 28\)"):
        open_dataset("fashion_mnist", tmp_path).images("search")
