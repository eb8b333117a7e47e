"""Fashion-MNIST: a part is shipped, the rest comes from a folder of the four idx files."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosinian.content import content_key
from autosinian.data.dataset import Dataset, require_folder
from autosinian.data.idx import read_idx
from autosinian.data.roles import MEASURING_ROLES, Role
from autosinian.data.samples import Samples
from autosinian.errors import InputError

SHIPPED = Path(__file__).parent / "fashion_mnist"

# Role -> (file prefix of the original, first index, one past the last).
SPLIT: dict[Role, tuple[str, int, int]] = {
    "train": ("train", 0, 55_000),
    "batch_norm": ("train", 55_000, 57_000),
    "calibration": ("train", 57_000, 57_500),
    "search": ("train", 57_500, 60_000),
    "validation": ("t10k", 0, 5_000),
}
ORIGINAL_TOTALS = {"train": 60_000, "t10k": 10_000}


class FashionMnist(Dataset):
    """28 x 28 grey pictures of clothes in 10 classes; grey is repeated in three channels.

    Without a path the shipped 10,000 pictures serve every role but `train`.
    """

    name = "fashion_mnist"
    classes = 10
    mean = (0.2860, 0.2860, 0.2860)
    std = (0.3530, 0.3530, 0.3530)

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        if path is not None:
            require_folder(self.name, path, "the folder of the four idx files")
            for prefix in ("train", "t10k"):
                self._original(f"{prefix}-images-idx3-ubyte")
                self._original(f"{prefix}-labels-idx1-ubyte")

    def describe(self) -> str:
        source = "the shipped part" if self._path is None else f"`{self._path}`"
        roles = "; ".join(
            f"{role} = {prefix} {first}..{end - 1}"
            for role, (prefix, first, end) in SPLIT.items()
            if self._path is not None or role in MEASURING_ROLES
        )
        return (
            f"Fashion-MNIST, 28 x 28 grey, 10 classes, from {source}. {roles}. "
            "No picture occurs in two roles, by index and by pixels"
        )

    def fingerprint(self, role: Role) -> str:
        # Of pixels, not of files: the shipped part and the originals are the same pictures.
        return content_key(
            self.name, *(hashlib.sha256(part.tobytes()).hexdigest() for part in self.pictures(role))
        )

    def samples(self, role: Role) -> Samples:
        prefix, first, end = SPLIT[role]
        images, labels = self.pictures(role)
        return Samples(
            identities=tuple(f"{prefix}/{index}" for index in range(first, end)),
            labels=labels.astype(np.int64),
            read=lambda position: Image.fromarray(images[position]).convert("RGB"),
        )

    def pictures(self, role: Role) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The role's pictures, `N x 28 x 28`, and labels, `N`."""
        prefix, first, end = SPLIT[role]
        images_file, labels_file = self._files(role)
        images, labels = read_idx(images_file), read_idx(labels_file)
        total = end - first
        if self._path is not None:
            total = ORIGINAL_TOTALS[prefix]
        for file, values, shape in (
            (images_file, images, (total, 28, 28)),
            (labels_file, labels, (total,)),
        ):
            if values.shape != shape:
                raise InputError(f"`{file}` must be {shape}, but is {values.shape}")
        if int(labels.max()) >= self.classes:
            raise InputError(f"labels in `{labels_file}` must be 0..9, but one is {labels.max()}")
        if self._path is not None:
            images, labels = images[first:end], labels[first:end]
        return images, labels

    def _files(self, role: Role) -> tuple[Path, Path]:
        if self._path is not None:
            prefix = SPLIT[role][0]
            return (
                self._original(f"{prefix}-images-idx3-ubyte"),
                self._original(f"{prefix}-labels-idx1-ubyte"),
            )
        if role not in MEASURING_ROLES:
            raise InputError(
                f"the shipped part of Fashion-MNIST has no {role} pictures; give the folder of "
                "the four original files (Debian package `dataset-fashion-mnist`)"
            )
        return shipped_files(SHIPPED, role)

    def _original(self, stem: str) -> Path:
        assert self._path is not None
        for name in (f"{stem}.gz", stem):
            if (self._path / name).is_file():
                return self._path / name
        raise InputError(f"`{self._path}` must hold `{stem}.gz` of Fashion-MNIST, but does not")


def shipped_files(folder: Path, role: Role) -> tuple[Path, Path]:
    """The images file and the labels file of one role of the shipped part."""
    return folder / f"{role}-images-idx3-ubyte.gz", folder / f"{role}-labels-idx1-ubyte.gz"
