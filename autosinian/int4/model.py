"""A network with its autoconfig, wherever both lie: in folders as published, or in one file.

The one file is a zip archive, stored, of `model/...` and perhaps `autoconfig`, always the same
bytes for the same model: engines, caches and bundles know it by its hash.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autosinian.errors import InputError
from autosinian.int4.autoconfig import (
    Autoconfig,
    check_autoconfig,
    parse_autoconfig,
    read_autoconfig,
    write_autoconfig,
)
from autosinian.int4.model_files import ArchiveFiles
from autosinian.int4.model_reader import read_model, read_network
from autosinian.int4.model_writer import model_files, write_model
from autosinian.int4.network import Network

MODEL, AUTOCONFIG = "model", "autoconfig"

_TIME = (1980, 1, 1, 0, 0, 0)
_LARGEST_AUTOCONFIG = 1 << 20


@dataclass(frozen=True, eq=False)
class Model:
    """A network and the kernels that were chosen for it, if any."""

    network: Network
    autoconfig: Autoconfig | None = None

    @cached_property
    def archive(self) -> bytes:
        """Both as the bytes of one file."""
        files = {f"{MODEL}/{name}": content for name, content in model_files(self.network).items()}
        if self.autoconfig is not None:
            files[AUTOCONFIG] = self.autoconfig.text().encode("ascii")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, _TIME), content)
        return buffer.getvalue()

    @property
    def sha256(self) -> str:
        """SHA-256 of `archive`, 64 hex digits."""
        return hashlib.sha256(self.archive).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `model/` and, where there is one, `autoconfig` into an existing folder."""
        write_model(self.network, folder / MODEL)
        if self.autoconfig is not None:
            write_autoconfig(folder / AUTOCONFIG, self.autoconfig)


def is_model(path: Path) -> bool:
    """Whether `path` is a folder that `open_model` may open."""
    return (path / MODEL).is_file() or (path / MODEL / MODEL).is_file()


def open_model(path: Path, autoconfig: Path | None = None) -> Model:
    """A model folder, a folder with `model/` and perhaps `autoconfig` in it, or an archive.

    `autoconfig` takes the place of what lies there. Raises `InputError` for what is none of these,
    and for an autoconfig that is not of this network and of ours.
    """
    if path.is_dir():
        own = path / AUTOCONFIG if (path / MODEL).is_dir() else None
        network = read_model(path / MODEL if own is not None else path)
        if autoconfig is None and own is not None and own.is_file():
            autoconfig = own
        if autoconfig is None:
            return Model(network)
        ids = read_autoconfig(autoconfig)
        check_autoconfig(ids, network, f"`{autoconfig}`")
        return Model(network, ids)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"model `{path}` cannot be read: {error.strerror}") from error
    model = read_archive(content, f"model `{path}`")
    if autoconfig is None:
        return model
    ids = read_autoconfig(autoconfig)
    check_autoconfig(ids, model.network, f"`{autoconfig}`")
    return Model(model.network, ids)


def read_archive(content: bytes, told: str) -> Model:
    """The model of an archive's bytes. Raises `InputError` naming it as `told`."""
    network = read_network(ArchiveFiles(content, told, f"{MODEL}/"))
    beside = ArchiveFiles(content, told, "")
    others = {name for name in beside.names() if not name.startswith(f"{MODEL}/")}
    if others - {AUTOCONFIG}:
        strange = min(others - {AUTOCONFIG})
        raise InputError(f"{told} must hold {MODEL}/ and {AUTOCONFIG} alone, got {strange}")
    if not others:
        return Model(network)
    text = beside.read(AUTOCONFIG, _LARGEST_AUTOCONFIG)
    if not text.isascii():
        raise InputError(f"{told}: its {AUTOCONFIG} must be ASCII text")
    ids = parse_autoconfig(text.decode("ascii"), f"of {told}")
    check_autoconfig(ids, network, f"of {told}")
    return Model(network, ids)
