import io
import tarfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosinian.data import MEASURING_ROLES, open_dataset
from autosinian.data.cifar import CLASSES
from autosinian.errors import InputError


def colour(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10's shape with 720 training images and 3 test images of each class."""
    path = tmp_path_factory.mktemp("cifar") / "cifar.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for label, name in enumerate(CLASSES):
            content = colour(label * 20)
            for split, count in (("train", 720), ("test", 3)):
                for index in range(count):
                    member = tarfile.TarInfo(f"{split}/{name}/{index:04}.png")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return path


def test_roles_have_the_sizes_of_the_rule(archive: Path) -> None:
    dataset = open_dataset("cifar10", archive)
    sizes = {role: len(dataset.samples(role)) for role in MEASURING_ROLES}
    assert sizes == {"batch_norm": 2000, "calibration": 500, "search": 4000, "validation": 30}
    assert len(dataset.samples("train")) == 2200


def test_no_image_is_in_two_measuring_roles_and_held_out_ones_are_not_trained_on(
    archive: Path,
) -> None:
    dataset = open_dataset("cifar10", archive)
    names = {role: set(dataset.samples(role).identities) for role in MEASURING_ROLES}
    for one, other in combinations(MEASURING_ROLES, 2):
        assert not names[one] & names[other]
    train = set(dataset.samples("train").identities)
    for role in ("search", "calibration", "validation"):
        assert not train & names[role]
    assert names["batch_norm"] <= train


def test_the_split_is_the_first_of_one_seeded_permutation_for_each_class(archive: Path) -> None:
    order = np.random.default_rng(0).permutation(720)
    search = open_dataset("cifar10", archive).samples("search").identities
    assert search[:400] == tuple(f"train/airplane/{i:04}.png" for i in order[:400])
    assert search[-400:] == tuple(f"train/truck/{i:04}.png" for i in order[:400])


def test_labels_follow_the_sorted_classes(archive: Path) -> None:
    images, labels = open_dataset("cifar10", archive).images("validation")
    assert images.shape == (30, 32, 32, 3)
    assert (images[:, 0, 0, 0] == labels * 20).all()


def test_a_folder_gives_what_the_archive_gives(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    folder, packed = open_dataset("cifar10", tmp_path), open_dataset("cifar10", archive)
    assert folder.samples("search").identities == packed.samples("search").identities
    assert np.array_equal(folder.images("validation")[0], packed.images("validation")[0])


def test_a_wrong_folder_and_no_path_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the path of a folder or tar archive"):
        open_dataset("cifar10")
    with pytest.raises(InputError, match="must hold images in test/airplane/, but has none"):
        open_dataset("cifar10", tmp_path).samples("validation")


def test_too_few_training_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "train" / "airplane").mkdir(parents=True)
    (tmp_path / "train" / "airplane" / "0.png").write_bytes(colour(0))
    with pytest.raises(InputError, match=r"more than 500 images in train/airplane, .* but holds 1"):
        open_dataset("cifar10", tmp_path).samples("search")


@pytest.mark.shared_data
def test_the_shared_archive_divides_as_its_readme_says(shared_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset("cifar10", shared_data / "cifar10_jpeg_q75.tar.xz")
    names = {role: set(dataset.samples(role).identities) for role in MEASURING_ROLES}
    assert {role: len(set_) for role, set_ in names.items()} == {
        "batch_norm": 2000,
        "calibration": 500,
        "search": 4000,
        "validation": 10_000,
    }
    assert len(dataset.samples("train")) == 45_000
    for one, other in combinations(MEASURING_ROLES, 2):
        assert not names[one] & names[other]
    arrays = dataset.arrays("calibration", 48, tmp_path)
    assert arrays.open_inputs().shape == (500, 3, 48, 48)
    assert np.bincount(arrays.read_labels()).tolist() == [50] * 10
