"""The bundle on disk: what is in it, written whole or not at all, and checked file by file."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.content import atomic_folder, file_sha256, write_json
from autosinian.errors import InputError

FORMAT = "autosinian bundle 1"

NET_CONFIG = "net.config"
INIT = "init"
NETWORK = "network.onnx"
MODEL = "model.onnx"
INT4_MODEL = "model.int4"
ENGINE = "model.engine"
CALIBRATOR_CACHE = "calibrator.cache"
EQUALIZED = "equalized.onnx"
ENCODINGS = "model.encodings"
SYSTEM_CONFIG = "config.json"
USER_CONF = "user.conf"
LOGS = "logs"
RESULT = "result.json"
REPORT = "report.html"
SUMS = "SHA256SUMS"

_UNLISTED = (RESULT, SUMS)
"""Files that result.json cannot hold the hash of; `SHA256SUMS` lists result.json too."""


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder and its `result.json`."""

    folder: Path
    result: dict[str, Any]

    def path(self, name: str) -> Path:
        """A file of the bundle."""
        return self.folder / name

    @property
    def model(self) -> Path:
        """What its engine file was built from: an ONNX file, or the archive of integers."""
        integers = self.path(INT4_MODEL)
        return integers if integers.exists() else self.path(MODEL)


def check_target(folder: Path, *, force: bool) -> None:
    """Refuse a target that exists, unless `force` is given and it is a bundle or empty.

    Raises `InputError`; what is not a bundle is never replaced.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not force:
        raise InputError(
            f"`{folder}` must not exist yet; choose another with `--out`, or replace it with "
            "`--force`"
        )
    if folder.is_symlink() or not folder.is_dir() or not _replaceable(folder):
        raise InputError(
            f"`--force` replaces a bundle only, but `{folder}` is none; choose another with `--out`"
        )


@contextmanager
def writing(folder: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary folder; it becomes `folder` if the block succeeds.

    With `force` an earlier bundle goes aside at that moment, and back where the rename fails.
    Raises `InputError` where the disk is full or refuses to write.
    """
    aside = folder.parent / f".{folder.name}.replaced"
    try:
        with atomic_folder(folder) as temporary:
            yield temporary
            check_target(folder, force=force)
            if folder.exists():
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
    except OSError as error:
        raise InputError(
            f"the bundle must be written to `{folder}`, but: {error.strerror or error}; free space "
            "or choose another place with `--out`"
        ) from error
    finally:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def seal(folder: Path, result: dict[str, Any]) -> None:
    """Write `result.json` with the hash of every other file, and `SHA256SUMS` with its own too."""
    hashes = {name: file_sha256(folder / name) for name in _files(folder) if name not in _UNLISTED}
    write_json(folder / RESULT, {"format": FORMAT, **result, "hashes": hashes})
    listed = hashes | {RESULT: file_sha256(folder / RESULT)}
    # The form of `sha256sum`, so that `sha256sum -c SHA256SUMS` checks it too.
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items()))
    (folder / SUMS).write_text(text)


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle's `result.json`. Raises `InputError` where `folder` is no bundle."""
    wanted = f"`{folder}` must be a bundle made by `autosinian export-best`, but"
    if not folder.is_dir():
        raise InputError(f"{wanted} there is no such folder")
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{wanted} its {RESULT} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{wanted} its {RESULT} is not JSON: {error}") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        given = result.get("format") if isinstance(result, dict) else type(result).__name__
        raise InputError(f"{wanted} its {RESULT} has format {given!r}, not {FORMAT!r}")
    if not isinstance(result.get("hashes"), dict):
        raise InputError(f"{wanted} its {RESULT} lists no hashes")
    return Bundle(folder, result)


def differences(bundle: Bundle) -> list[str]:
    """What is not as it was sealed, one line each: changed, missing, extra or outside files."""
    found = []
    listed: dict[str, str] = dict(bundle.result["hashes"])
    sums = _read_sums(bundle.folder)
    if sums is None:
        found.append(f"`{SUMS}` is missing or damaged")
    else:
        listed[RESULT] = sums.pop(RESULT, "")
        found += [
            f"`{name}` has one hash in {RESULT} and another in {SUMS}"
            for name in sorted(set(listed) | set(sums))
            if name != RESULT and listed.get(name) != sums.get(name)
        ]
    present = set(_files(bundle.folder))
    root = bundle.folder.resolve()
    for name, digest in sorted(listed.items()):
        path = bundle.folder / name
        if path.is_symlink() or not path.resolve().is_relative_to(root):
            found.append(f"`{name}` lies outside the folder")
        elif not path.is_file():
            found.append(f"`{name}` is missing")
        elif file_sha256(path) != digest:
            found.append(f"`{name}` has changed since it was exported")
    for name in sorted(present - set(listed) - {SUMS, RESULT}):
        found.append(f"`{name}` is not of the bundle")
    return found


def _files(folder: Path) -> list[str]:
    """Relative names of everything below `folder` that is not a plain folder, links included."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def _read_sums(folder: Path) -> dict[str, str] | None:
    path = folder / SUMS
    if path.is_symlink():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    pairs = [line.partition("  ") for line in lines]
    if not all(digest and separator and name for digest, separator, name in pairs):
        return None
    return {name: digest for digest, _, name in pairs}


def _replaceable(folder: Path) -> bool:
    if not any(folder.iterdir()):
        return True
    try:
        open_bundle(folder)
    except InputError:
        return False
    return True
