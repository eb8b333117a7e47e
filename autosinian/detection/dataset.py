"""Annotated images as a data set of a study: a split each for calibration, search, validation."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from PIL import Image

from autosinian.content import content_key, file_sha256
from autosinian.data.dataset import Dataset, require_folder
from autosinian.data.roles import Role
from autosinian.data.samples import Samples
from autosinian.detection.annotations import AnnotatedImages, truth_of
from autosinian.detection.inputs import DEVIATION, MEAN
from autosinian.detection.source import open_annotated
from autosinian.errors import InputError

SPLITS: dict[Role, str] = {"calibration": "train", "search": "val", "validation": "test"}
"""The split that each role is: the test split is for final figures alone."""


class DetectionDataset(Dataset):
    """A Pascal VOC data set (`voc`), or COCO files (`coco`): `train.json`, `val.json` and
    `test.json` beside a folder `images`.

    Labels are boxes, float64 `images x most x 6` (see `truth_of`).
    """

    task: ClassVar[str] = "detection"
    mean = MEAN
    std = DEVIATION

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self._path = require_folder(name, path, "its folder or, of `voc`, its tar archive")
        self._known: dict[Role, AnnotatedImages] = {}
        self.classes = self._split("calibration").classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, from class 1 on."""
        return self._split("calibration").class_names

    def describe(self) -> str:
        parts = ", ".join(f"{role} = split `{split}`" for role, split in SPLITS.items())
        return f"`{self.name}`, {self.classes - 1} classes of objects in `{self._path}`: {parts}"

    def fingerprint(self, role: Role) -> str:
        images = self._split(role)
        boxes = hashlib.sha256(truth_of(images.images).tobytes()).hexdigest()
        files = [image.file for image in images.images]
        return content_key(self.name, images.class_names, files, boxes, self._content)

    @cached_property
    def _content(self) -> str:
        if self._path.is_file():
            return file_sha256(self._path)
        stats = [
            (file.relative_to(self._path).as_posix(), file.stat())
            for file in sorted(self._path.rglob("*"))
            if file.is_file()
        ]
        return content_key([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])

    def samples(self, role: Role) -> Samples:
        images = self._split(role)

        def read(position: int) -> Image.Image:
            return images.pixels(images.images[position])

        return Samples(
            identities=tuple(image.file for image in images.images),
            labels=truth_of(images.images),
            read=read,
        )

    def _split(self, role: Role) -> AnnotatedImages:
        if role not in SPLITS:
            raise InputError(f"data set `{self.name}` has no samples for {role}")
        if role not in self._known:
            self._known[role] = self._read(role)
        return self._known[role]

    def _read(self, role: Role) -> AnnotatedImages:
        first = self._known.get("calibration")
        names = first.class_names if first else None
        if self.name == "coco":
            file = self._path / f"{SPLITS[role]}.json"
            return open_annotated(file, self._path / "images", class_names=names)
        return open_annotated(self._path, split=SPLITS[role], class_names=names)
