"""The one file an engine is kept in: a JSON header that says what it is, then named sections.

Layout: 8 bytes of magic, the header's length as 8 little-endian bytes, the header as UTF-8 JSON,
then the sections one after another; `header["sections"]` gives each one's offset from the end of
the header and its length, in bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.content import atomic_file
from autosinian.errors import InputError, TrialFailure
from autosinian.space.candidate import EngineConfig, Option

MAGIC = b"ASENGIN1"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class EngineHeader:
    """What an engine file holds; `input_shape` is `C x H x W`, `versions` as at build time."""

    engine: str
    device: str
    versions: dict[str, str]
    model_sha256: str
    precision: str
    batch_size: int
    options: dict[str, Option]
    input_shape: tuple[int, int, int]
    classes: int

    @property
    def config(self) -> EngineConfig:
        """The configuration the file was built with."""
        return EngineConfig.make(self.engine, self.batch_size, **self.options)


def write_engine_file(path: Path, header: EngineHeader, sections: Mapping[str, bytes]) -> None:
    """Write header and sections to `path`, whole or not at all."""
    table: dict[str, list[int]] = {}
    offset = 0
    for name, content in sections.items():
        table[name] = [offset, len(content)]
        offset += len(content)
    text = json.dumps({**header.__dict__, "sections": table}, sort_keys=True).encode()
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            stream.write(MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            for content in sections.values():
                stream.write(content)
    except OSError as error:
        raise TrialFailure(
            "build", f"engine file {path} cannot be written: {error.strerror}", transient=True
        ) from error


def read_header(path: Path) -> EngineHeader:
    """The header of an engine file. Raises `InputError` where the file is none."""
    return _parse(path)[0]


def read_engine_file(path: Path) -> tuple[EngineHeader, dict[str, bytes]]:
    """Header and sections of an engine file. Raises `InputError` where the file is none."""
    header, table, start = _parse(path)
    sections = {}
    with path.open("rb") as stream:
        for name, (offset, length) in table.items():
            stream.seek(start + offset)
            sections[name] = stream.read(length)
            if len(sections[name]) != length:
                raise InputError(f"engine file {path} is truncated; build it again")
    return header, sections


def check_versions(path: Path, header: EngineHeader, now: Mapping[str, str]) -> None:
    """Refuse an engine file that was built by other versions or for another processor.

    Raises `InputError` naming each difference: an engine that runs elsewhere than where it was
    compiled may be slower or wrong without a word.
    """
    names = sorted(set(header.versions) | set(now))
    differences = [
        f"{name} was {header.versions.get(name, 'absent')!r} and is {now.get(name, 'absent')!r}"
        for name in names
        if header.versions.get(name) != now.get(name)
    ]
    if differences:
        raise InputError(
            f"engine file {path} must be opened with what it was built with: "
            f"{'; '.join(differences)}; build it again here"
        )


def check_config(path: Path, header: EngineHeader, config: EngineConfig, free: set[str]) -> None:
    """Refuse a configuration that differs from the file's in more than the `free` options."""
    wanted = {"engine": config.engine, "batch_size": config.batch_size, **dict(config.options)}
    built = {"engine": header.engine, "batch_size": header.batch_size, **header.options}
    differences = [
        f"{name} was {built.get(name)!r} and is to be {wanted.get(name)!r}"
        for name in sorted(set(wanted) | set(built))
        if name not in free and wanted.get(name) != built.get(name)
    ]
    if differences:
        raise InputError(
            f"engine file {path} was built for another configuration: "
            f"{'; '.join(differences)}; build it for this one"
        )


def _parse(path: Path) -> tuple[EngineHeader, dict[str, tuple[int, int]], int]:
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(MAGIC))
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            text = stream.read(min(length, _LARGEST_HEADER)) if magic == MAGIC else b""
    except OSError as error:
        raise InputError(f"engine file {path} cannot be read: {error.strerror}") from error
    if magic != MAGIC:
        raise InputError(f"{path} is not an engine file: it begins with {magic!r}, not {MAGIC!r}")
    try:
        values: dict[str, Any] = json.loads(text)
        table = {name: (int(o), int(n)) for name, (o, n) in values.pop("sections").items()}
        values["input_shape"] = tuple(values["input_shape"])
        header = EngineHeader(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"engine file {path} has a damaged header ({error}); build it again"
        ) from error
    return header, table, len(MAGIC) + _LENGTH_BYTES + length
