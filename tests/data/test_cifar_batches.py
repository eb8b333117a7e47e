"""CIFAR-10's published binary files give the images, the order and the split of an image tree."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autosinian.data import open_dataset
from autosinian.data.cifar import CLASSES
from autosinian.data.cifar_batches import FILES, FOLDER, RECORD_BYTES
from autosinian.errors import InputError

TRAIN_PER_CLASS, TEST_PER_CLASS = 720, 3
Records = dict[str, NDArray[np.uint8]]


@pytest.fixture(scope="module")
def records() -> Records:
    """Random images in the published files' form, classes in random order."""
    rng = np.random.default_rng(0)
    found = {}
    for split, count in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        values = rng.integers(0, 256, (10 * count, RECORD_BYTES), np.uint8)
        # Of one colour each, so that they pack well.
        values[:, 1:] = np.repeat(rng.integers(0, 256, (10 * count, 3), np.uint8), 32 * 32, 1)
        values[:, 0] = rng.permutation(np.repeat(np.arange(10), count))
        found[split] = values
    return found


@pytest.fixture(scope="module")
def folder(records: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As unpacked from the published archive."""
    top = tmp_path_factory.mktemp("published")
    (top / FOLDER).mkdir()
    (top / FOLDER / "batches.meta.txt").write_text("\n".join(CLASSES))
    for split, files in FILES.items():
        for file, part in zip(files, np.array_split(records[split], len(files)), strict=True):
            (top / FOLDER / file).write_bytes(part.tobytes())
    return top


@pytest.fixture(scope="module")
def archive(folder: Path) -> Path:
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder / FOLDER, FOLDER)
    return path


@pytest.fixture(scope="module")
def tree(records: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as PNG files, numbered within their class."""
    path = tmp_path_factory.mktemp("tree") / "cifar.tar"
    with tarfile.open(path, "w") as tar:
        for split, values in records.items():
            for label, name in enumerate(CLASSES):
                for index, record in enumerate(values[values[:, 0] == label]):
                    planes = record[1:].reshape(3, 32, 32).transpose(1, 2, 0)
                    stream = io.BytesIO()
                    Image.fromarray(np.ascontiguousarray(planes)).save(stream, "PNG")
                    member = tarfile.TarInfo(f"{split}/{name}/{index:04}.png")
                    member.size = len(stream.getvalue())
                    stream.seek(0)
                    tar.addfile(member, stream)
    return path


def test_roles_hold_the_images_that_a_tree_of_them_gives(
    folder: Path, archive: Path, tree: Path
) -> None:
    of_tree = open_dataset("cifar10", tree)
    for path in (archive, folder, folder / FOLDER):
        published = open_dataset("cifar10", path)
        for role in ("search", "calibration", "validation"):
            expected_images, expected_labels = of_tree.images(role)
            images, labels = published.images(role)
            assert np.array_equal(labels, expected_labels)
            assert np.array_equal(images, expected_images)
        assert len(published.samples("train")) == 10 * (TRAIN_PER_CLASS - 500)


def test_other_bytes_are_another_data_set(folder: Path, archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / archive.name
    copy.write_bytes(archive.read_bytes())
    key = open_dataset("cifar10", archive).fingerprint("search")
    assert open_dataset("cifar10", copy).fingerprint("search") == key
    copy.write_bytes(archive.read_bytes()[:-1] + b"\x7f")
    assert open_dataset("cifar10", copy).fingerprint("search") != key


def copied(folder: Path, tmp_path: Path) -> Path:
    for file in (folder / FOLDER).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_missing_a_cut_and_a_foreign_file_are_told(folder: Path, tmp_path: Path) -> None:
    path = copied(folder, tmp_path)
    whole = (path / "data_batch_3.bin").read_bytes()
    for content, told in (
        (whole[:-1], rf"data_batch_3.bin in .* must be records of {RECORD_BYTES} bytes, but has"),
        (b"", "but has 0 bytes"),
        (b"\x0a" + whole[1:], "must be below 10, but one is 10; it is not CIFAR-10's"),
    ):
        (path / "data_batch_3.bin").write_bytes(content)
        with pytest.raises(InputError, match=told):
            open_dataset("cifar10", path).samples("search")
    (path / "data_batch_3.bin").unlink()
    with pytest.raises(InputError, match=r"must hold data_batch_3.bin, but does not"):
        open_dataset("cifar10", path).samples("search")


def test_a_cut_archive_is_told(archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / archive.name
    cut.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(InputError, match="must be CIFAR-10's binary version, whole, but: "):
        open_dataset("cifar10", cut).samples("search")


@pytest.mark.parametrize("packed", [False, True])
def test_pickles_are_not_opened(tmp_path: Path, packed: bool) -> None:
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    (inner / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    path = tmp_path
    if packed:
        path = tmp_path / "cifar-10-python.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            tar.add(inner, inner.name)
    with pytest.raises(InputError, match="whose pickles are not opened; take the binary version"):
        open_dataset("cifar10", path).samples("search")
