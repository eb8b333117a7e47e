"""Where the files of a network lie: in a folder, or in one archive with its autoconfig."""

import io
import os
import zipfile
from pathlib import Path
from typing import Protocol

from autosinian.errors import InputError

BLOBS = "npdata"


class ModelFiles(Protocol):
    """The files of one model folder, by their names in it (`conv1`, `npdata/conv1.weight`)."""

    @property
    def told(self) -> str:
        """What they are called in messages."""
        ...

    def names(self) -> set[str]:
        """All names; what is not a plain file is among them and cannot be read."""
        ...

    def read(self, name: str, most: int) -> bytes:
        """At most the first `most` bytes of a file that `names` gives. Raises `InputError`."""
        ...

    def size(self, name: str) -> int:
        """How many bytes a file has that was read."""
        ...


class FolderFiles:
    """A model folder. Links are not followed: no file outside it is read."""

    def __init__(self, folder: Path) -> None:
        self.told = f"model folder `{folder}`"
        self._folder = folder
        if not (folder / "model").is_file() or not (folder / BLOBS).is_dir():
            raise InputError(
                f"{self.told} must hold the file `model` and the folder `{BLOBS}`, but does not"
            )

    def names(self) -> set[str]:
        """Names of everything below the folder but the folder of blobs itself."""
        found = set()
        for parent, folders, files in os.walk(self._folder):
            for name in (*folders, *files):
                found.add((Path(parent) / name).relative_to(self._folder).as_posix())
        return found - {BLOBS}

    def read(self, name: str, most: int) -> bytes:
        """At most the first `most` bytes of a file."""
        path = self._folder / name
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{self.told} must hold {name} as a plain file, but it is none")
        try:
            with path.open("rb") as stream:
                return stream.read(most)
        except OSError as error:
            raise InputError(f"`{path}` cannot be read: {error.strerror}") from error

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return (self._folder / name).stat().st_size


class ArchiveFiles:
    """The part below `prefix` of a zip archive in memory; nothing is unpacked to disk."""

    def __init__(self, content: bytes, told: str, prefix: str) -> None:
        self.told = told
        self._prefix = prefix
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except zipfile.BadZipFile as error:
            raise InputError(f"{told} must be an archive of an INT4 model, but is none") from error

    def names(self) -> set[str]:
        """Names below the prefix."""
        found = {name for name in self._archive.namelist() if name.startswith(self._prefix)}
        return {name.removeprefix(self._prefix) for name in found}

    def read(self, name: str, most: int) -> bytes:
        """At most the first `most` bytes of a file."""
        try:
            with self._archive.open(self._prefix + name) as stream:
                return stream.read(most)
        except (KeyError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise InputError(f"{self.told} has a damaged {name}: {error}") from error

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return self._archive.getinfo(self._prefix + name).file_size
