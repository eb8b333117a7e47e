"""What TensorRT timed at earlier builds, kept for one GPU and library version, shared by all.

A file is 8 bytes of magic, the SHA-256 of the rest, and the rest: TensorRT's own serialized cache.
It is replaced whole, under a lock that makes builders add to each other's findings.
"""

import contextlib
import fcntl
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from autosinian.content import atomic_file

_MAGIC = b"ASTIMNG1"
_DIGEST = 32


def timing_cache_path(folder: Path, gpu: str, library: str) -> Path:
    """`timing-<gpu>-<library>.cache` in `folder`, in characters that every file system takes."""
    words = (re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in (gpu, library))
    return folder / f"timing-{'-'.join(words)}.cache"


def read_timing_cache(path: Path) -> bytes:
    """The serialized cache in `path`; empty where there is none.

    One that is broken is no reason not to build: it is left aside with a line on stderr.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        return _ignored(path, error.strerror or str(error))
    start = len(_MAGIC) + _DIGEST
    if content[: len(_MAGIC)] != _MAGIC:
        return _ignored(path, "it is none")
    if hashlib.sha256(content[start:]).digest() != content[len(_MAGIC) : start]:
        return _ignored(path, "it is damaged")
    return content[start:]


def update_timing_cache(path: Path, combined: Callable[[bytes], bytes]) -> None:
    """Replace the cache by `combined(what is there by now)`, no other builder in between.

    A cache that cannot be written costs time and nothing else: it is told on stderr.
    """
    try:
        with _locked(path):
            payload = combined(read_timing_cache(path))
            with atomic_file(path) as temporary:
                temporary.write_bytes(_MAGIC + hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        print(f"timing cache {path} cannot be written: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ignored(path: Path, reason: str) -> bytes:
    print(f"timing cache {path} is not used: {reason}", file=sys.stderr)
    return b""
