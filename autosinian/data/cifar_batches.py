"""CIFAR-10 as its authors publish it: six files of records, a label byte and 32 x 32 RGB planes."""

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosinian.content import content_key, file_sha256
from autosinian.data.image_tree import BROKEN_ARCHIVE, ImageTree
from autosinian.errors import InputError

SIDE = 32
RECORD_BYTES = 1 + 3 * SIDE * SIDE
LARGEST_FILE_BYTES = 64 << 20
FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
FOLDER = "cifar-10-batches-bin"
PICKLED_FOLDER, PICKLED = "cifar-10-batches-py", "data_batch_1"
_ALL = tuple(file for files in FILES.values() for file in files)
_LOOKED_AT = 16
"""Members of an archive that are asked for their names; the published one has nine."""


class CifarBatches(ImageTree):
    """The published binary version, a folder or a tar archive of it, held in memory (180 MB).

    Images are named `split/class/index`, by their order among the class's in the files. Source:
    the data set's own page, www.cs.toronto.edu/~kriz/cifar.html. Raises `InputError` where a file
    is missing or is no sequence of records.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._path = path
        self._classes = tuple(classes)

    @staticmethod
    def is_at(path: Path) -> bool:
        """Whether a folder or archive is one; `InputError` for the version made of pickles."""
        names = _names(path)
        if not set(names) & set(_ALL) and PICKLED in names:
            raise InputError(
                f"`{path}` is CIFAR-10's Python version, whose pickles are not opened; take the "
                "binary version (cifar-10-binary.tar.gz) from the same page"
            )
        return bool(set(names) & set(_ALL))

    @cached_property
    def key(self) -> str:
        if self._path.is_file():
            return file_sha256(self._path)
        stats = [(file, self._file(file).stat()) for file in _ALL]
        return content_key([(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats])

    def names(self) -> tuple[str, ...]:
        return self._names

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(
            f"{split}/{label}/{index:05}"
            for (split, label), places in sorted(self._places.items())
            for index in range(len(places))
        )

    def read(self, name: str) -> Image.Image:
        split, label, index = name.split("/")
        record = self._records[split][self._places[split, label][int(index)]]
        planes = record[1:].reshape(3, SIDE, SIDE)
        return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))

    @cached_property
    def _places(self) -> dict[tuple[str, str], NDArray[np.int64]]:
        """Where the records of each class are within their split."""
        return {
            (split, label): np.flatnonzero(records[:, 0] == number)
            for split, records in self._records.items()
            for number, label in enumerate(self._classes)
        }

    @cached_property
    def _records(self) -> dict[str, NDArray[np.uint8]]:
        with self._told():
            found = self._unpacked() if self._path.is_file() else self._read_files()
        records = {}
        for split, files in FILES.items():
            arrays = [self._parsed(file, found.get(file)) for file in files]
            records[split] = np.concatenate(arrays)
        return records

    def _parsed(self, file: str, content: bytes | None) -> NDArray[np.uint8]:
        if content is None:
            raise InputError(f"`{self._path}` must hold {file}, but does not; get it again")
        values = np.frombuffer(content, np.uint8)
        if not len(values) or len(values) % RECORD_BYTES:
            raise InputError(
                f"{file} in `{self._path}` must be records of {RECORD_BYTES} bytes, but has "
                f"{len(values)} bytes; get it again"
            )
        records = values.reshape(-1, RECORD_BYTES)
        if int(records[:, 0].max()) >= len(self._classes):
            raise InputError(
                f"labels of {file} in `{self._path}` must be below {len(self._classes)}, but one "
                f"is {int(records[:, 0].max())}; it is not CIFAR-10's"
            )
        return records

    def _read_files(self) -> dict[str, bytes]:
        return {file: self._file(file).read_bytes() for file in _ALL if self._file(file).exists()}

    def _unpacked(self) -> dict[str, bytes]:
        found = {}
        with tarfile.open(self._path, "r:*") as archive:
            for member in archive:
                file = member.name.rpartition("/")[2]
                if file not in _ALL or not member.isfile():
                    continue
                if member.size > LARGEST_FILE_BYTES:
                    raise InputError(
                        f"{file} in `{self._path}` must have at most {LARGEST_FILE_BYTES} bytes, "
                        f"but has {member.size}; it is not CIFAR-10's"
                    )
                content = archive.extractfile(member)
                assert content is not None  # a plain file
                found[file] = content.read()
        return found

    def _file(self, name: str) -> Path:
        inner = self._path / FOLDER
        return (inner if inner.is_dir() else self._path) / name

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BROKEN_ARCHIVE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"`{self._path}` must be CIFAR-10's binary version, whole, but: {reason}; get it "
                "again"
            ) from error


def _names(path: Path) -> list[str]:
    """Names of the files in a folder, or of an archive's first members; none where it is broken."""
    if path.is_dir():
        folders = (path, path / FOLDER, path / PICKLED_FOLDER)
        return [file.name for folder in folders if folder.is_dir() for file in folder.iterdir()]
    names = []
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                names.append(member.name.rpartition("/")[2])
                if len(names) >= _LOOKED_AT or names[-1] in (*_ALL, PICKLED):
                    break
    except BROKEN_ARCHIVE:
        return []  # whoever reads it tells
    return names
