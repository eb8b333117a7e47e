"""One performance measurement at a time on a machine, whatever number of searches run there.

Work that only has to get done (training, export, builds, accuracy) holds a shared lock; a
performance run holds it alone, so that it never competes with another process of ours.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working() -> Iterator[None]:
    """Hold the machine together with others; waits while a performance run is on."""
    with _locked(fcntl.LOCK_SH):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Hold the machine alone; waits until nobody of ours works."""
    with _locked(fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / f"autosinian-{os.getuid()}.lock"
    # No symlink is followed: the folder of temporary files belongs to everybody.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)
