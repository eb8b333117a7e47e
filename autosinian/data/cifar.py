"""CIFAR-10 as published, or as images `train/<class>/<image>` and `test/<class>/<image>`."""

from functools import cached_property
from pathlib import Path

import numpy as np

from autosinian.content import content_key
from autosinian.data.cifar_batches import CifarBatches
from autosinian.data.dataset import Dataset, require_folder
from autosinian.data.image_tree import ImageArchive, ImageFolder, ImageTree
from autosinian.data.roles import Role
from autosinian.data.samples import Samples
from autosinian.errors import InputError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

SPLIT_SEED = 0
HELD_OUT = 500  # of each class's training images, never trained on
# Role -> positions within the permutation of each class's sorted training images.
SPLIT: dict[Role, slice] = {
    "search": slice(0, 400),
    "calibration": slice(400, 450),
    "batch_norm": slice(HELD_OUT, HELD_OUT + 200),
    "train": slice(HELD_OUT, None),
}


class Cifar10(Dataset):
    """32 x 32 colour images in 10 classes; labels follow the sorted class names.

    The 500 held-out images of each class serve `search` and `calibration`; `batch_norm` is a part
    of `train`, as recalibration needs images that the weights have seen; `validation` is the test
    split.
    """

    name = "cifar10"
    classes = 10
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)

    def __init__(self, path: Path | None) -> None:
        self._path = require_folder(
            self.name,
            path,
            "a folder or tar archive with train/<class>/ and test/<class>/ images, or "
            "cifar-10-binary.tar.gz",
        )

    def describe(self) -> str:
        return (
            f"CIFAR-10, 32 x 32, 10 classes, from `{self._path}`. Of each class's training images "
            "in a seeded order: 0..399 search, 400..449 calibration, 450..499 unused, 500..699 "
            "batch_norm (trained on too), 500.. train; validation = the test split"
        )

    def fingerprint(self, role: Role) -> str:
        return content_key(self.name, role, SPLIT_SEED, self._tree.key)

    def samples(self, role: Role) -> Samples:
        names, labels = [], []
        for label, files in enumerate(self._files(role)):
            names.extend(files)
            labels.extend([label] * len(files))
        return Samples(
            identities=tuple(names),
            labels=np.array(labels, np.int64),
            read=lambda position: self._tree.read(names[position]),
        )

    def _files(self, role: Role) -> list[list[str]]:
        """Names of the role's images, one list for each class."""
        if role == "validation":
            return [self._class_files("test", label) for label in CLASSES]
        chosen = []
        for label in CLASSES:
            files = self._class_files("train", label)
            if len(files) <= HELD_OUT:
                raise InputError(
                    f"`{self._path}` must hold more than {HELD_OUT} images in train/{label}, "
                    f"of which {HELD_OUT} are held out, but holds {len(files)}"
                )
            # The shipped supernet was trained with this very rule: a generator for each class.
            order = np.random.default_rng(SPLIT_SEED).permutation(len(files))
            chosen.append([files[i] for i in order[SPLIT[role]]])
        return chosen

    def _class_files(self, split: str, label: str) -> list[str]:
        files = self._tree.files_of(split, label)
        if not files:
            raise InputError(
                f"`{self._path}` must hold images in {split}/{label}/, but has none; give the "
                "folder or archive that has `train` and `test` at its top"
            )
        return [f"{split}/{label}/{file}" for file in files]

    @cached_property
    def _tree(self) -> ImageTree:
        if CifarBatches.is_at(self._path):
            return CifarBatches(self._path, CLASSES)
        return ImageFolder(self._path) if self._path.is_dir() else ImageArchive(self._path)
