"""Images with boxes around what is in them: plain data, and the files they come from."""

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from autosinian.errors import InputError


class FileTree(Protocol):
    """Files under relative names, in a folder or in an archive."""

    @property
    def label(self) -> str:
        """What messages call it."""
        ...

    def names(self) -> list[str]:
        """All files, sorted, with `/` between folders."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises `KeyError` where there is none of that name."""
        ...


@dataclass(frozen=True)
class Folder:
    """The files under a folder."""

    path: Path

    @property
    def label(self) -> str:
        """The folder's path."""
        return str(self.path)

    @cached_property
    def _files(self) -> dict[str, Path]:
        files = (file for file in self.path.rglob("*") if file.is_file())
        return {file.relative_to(self.path).as_posix(): file for file in files}

    def names(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """The bytes of a file of `names()`; raises `KeyError` for any other."""
        return self._files[name].read_bytes()


class Archive:
    """The files of a tar archive, read into memory, never written to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path) as archive:
                self._files = {
                    member.name.removeprefix("./"): stream.read()
                    for member in archive
                    if member.isfile() and (stream := archive.extractfile(member)) is not None
                }
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(f"{path} must be a folder or a tar archive: {error}") from error

    @property
    def label(self) -> str:
        """The archive's path."""
        return str(self.path)

    def names(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises `KeyError` where there is none of that name."""
        return self._files[name]


def open_tree(path: Path) -> FileTree:
    """The files of a folder or of a tar archive.

    Raises `InputError` where `path` is neither.
    """
    if not path.exists():
        raise InputError(f"{path} must be a folder or a tar archive, but does not exist")
    return Folder(path) if path.is_dir() else Archive(path)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its boxes.

    `file` names it in its tree; `boxes` is float64 `n x 4` (left, top, right, bottom; pixels),
    `labels` int64 `n` (from 1), `areas` float64 `n` (square pixels, of the object where the source
    knows it) and `crowd` bool `n`, true for a box around many objects, which is neither learned
    nor counted.
    """

    identity: int
    file: str
    width: int
    height: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True)
class AnnotatedImages:
    """A split of a data set: the files, class names (class 1 first), images, and what was left out.

    `dropped` tells each annotation that was left out, and why, in a line.
    """

    tree: FileTree
    class_names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    dropped: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """The number of classes with the background."""
        return len(self.class_names) + 1

    def pixels(self, image: AnnotatedImage) -> Image.Image:
        """One image in RGB, of the annotated size.

        Raises `InputError` where it is no image or of another size.
        """
        label = f"image {self.tree.label}/{image.file}"
        try:
            with Image.open(io.BytesIO(self.tree.read(image.file))) as opened:
                converted = opened.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{label} cannot be decoded: {error}") from error
        if converted.size != (image.width, image.height):
            found = " x ".join(map(str, converted.size))
            raise InputError(
                f"{label} must be {image.width} x {image.height} pixels, as its annotation says, "
                f"but is {found}"
            )
        return converted


def truth_of(images: Sequence[AnnotatedImage]) -> NDArray[np.float64]:
    """All boxes, `images x most x 6`: left, top, right, bottom (parts of the image), class, crowd.

    Rows of class 0 are padding.
    """
    most = max(1, max((len(image.labels) for image in images), default=1))
    truth = np.zeros((len(images), most, 6))
    for row, image in zip(truth, images, strict=True):
        count = len(image.labels)
        row[:count, :4] = image.boxes / np.tile([image.width, image.height], 2)
        row[:count, 4] = image.labels
        row[:count, 5] = image.crowd
    return truth


def check_box(
    where: str, box: tuple[float, float, float, float], width: int, height: int
) -> str | None:
    """None for a box (left, top, right, bottom; pixels) that can be used, else why it is left out.

    Raises `InputError`, which begins with `where`, for one outside its image or with ends swapped;
    a box without area is an annotator's slip that published sets have, and is left out.
    """
    left, top, right, bottom = box
    told = f"({left:g}, {top:g}, {right:g}, {bottom:g})"
    if not all(np.isfinite(box)):
        raise InputError(f"{where}: the box must have finite sides, but is {told}")
    if right < left or bottom < top:
        raise InputError(f"{where}: the box must end after it begins, but is {told}")
    # One pixel of room: sources count from 0 or from 1, and round.
    if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
        raise InputError(f"{where}: the box {told} must lie in its image of {width} x {height}")
    if right == left or bottom == top:
        return f"{where}: the box {told} has no area"
    return None
