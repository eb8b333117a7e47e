"""Trees of small images, `split/class/file`, from a folder or read out of a tar archive."""

import io
import lzma
import re
import tarfile
import zlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

from PIL import Image

from autosinian.content import content_key, file_sha256
from autosinian.data.decode import EXTENSIONS, decode
from autosinian.errors import InputError

LARGEST_MEMBER_BYTES = 1 << 20
LARGEST_TOTAL_BYTES = 1 << 30

BROKEN_ARCHIVE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
"""What reading an archive that is cut, damaged or none raises."""

_IMAGE_NAME = re.compile(r"(?:\./)?(?P<name>[^/]+/[^/]+/[^/]+)")


class ImageTree(ABC):
    """Images by their name `split/class/file`."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Content key of the tree."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of all images, sorted."""

    @abstractmethod
    def read(self, name: str) -> Image.Image:
        """One image in mode RGB; `InputError` where it cannot be read."""

    def files_of(self, split: str, label: str) -> list[str]:
        """File names of one class of one split, sorted."""
        return self._by_folder.get(f"{split}/{label}", [])

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        folders: dict[str, list[str]] = {}
        for name in self.names():
            folder, file = name.rsplit("/", 1)
            folders.setdefault(folder, []).append(file)
        return folders


class ImageFolder(ImageTree):
    """A tree unpacked in a folder; its key holds names, sizes and times of change."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def key(self) -> str:
        stats = [(name, (self._path / name).stat()) for name in self.names()]
        return content_key([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])

    def names(self) -> tuple[str, ...]:
        return self._names

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(
            sorted(
                file.relative_to(self._path).as_posix()
                for file in self._path.glob("*/*/*")
                if file.suffix.lower() in EXTENSIONS and file.is_file()
            )
        )

    def read(self, name: str) -> Image.Image:
        path = self._path / name
        return decode(path, f"image `{path}`")


class ImageArchive(ImageTree):
    """A tree in a tar archive of any compression, held in memory; nothing is unpacked to disk.

    Raises `InputError` for links, for names outside the archive, for members above 1 MiB and for
    more than 1 GiB together.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def key(self) -> str:
        return file_sha256(self._path)

    def names(self) -> tuple[str, ...]:
        return self._names

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(sorted(self._members))

    def read(self, name: str) -> Image.Image:
        return decode(io.BytesIO(self._members[name]), f"image `{name}` in `{self._path}`")

    @cached_property
    def _members(self) -> dict[str, bytes]:
        members: dict[str, bytes] = {}
        total = 0
        try:
            with tarfile.open(self._path, "r:*") as archive:
                for member in archive:
                    self._check(member)
                    total += member.size
                    if total > LARGEST_TOTAL_BYTES:
                        raise InputError(
                            f"`{self._path}` must hold at most {LARGEST_TOTAL_BYTES} bytes of "
                            "images; unpack it yourself and give the folder"
                        )
                    match = _IMAGE_NAME.fullmatch(member.name)
                    if match is None or Path(member.name).suffix.lower() not in EXTENSIONS:
                        continue
                    content = archive.extractfile(member)
                    if content is not None:
                        members[match["name"]] = content.read()
        except BROKEN_ARCHIVE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"`{self._path}` must be a whole tar archive, but: {reason}; get it again"
            ) from error
        return members

    def _check(self, member: tarfile.TarInfo) -> None:
        outside = member.name.startswith("/") or ".." in member.name.split("/")
        if outside or not (member.isfile() or member.isdir()):
            raise InputError(
                f"`{self._path}` must hold plain files and folders only, but `{member.name}` is "
                "a link, a device or outside of it; do not trust this archive"
            )
        if member.size > LARGEST_MEMBER_BYTES:
            raise InputError(
                f"images in `{self._path}` must have at most {LARGEST_MEMBER_BYTES} bytes, "
                f"but `{member.name}` has {member.size}; unpack it yourself and give the folder"
            )
