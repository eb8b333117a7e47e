"""One performance measurement at a time on a device, whatever number of searches run there.

Work that only has to get done (training, export, builds, accuracy) holds a shared lock; a
performance run holds it alone, so that it never competes with another process of ours. The
processor has one lock and each GPU its own, so searches on different GPUs never wait for each
other; what a GPU's trial does on the processor holds the processor's.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def working(devices: Sequence[int] = ()) -> Iterator[None]:
    """Hold GPUs, by NVML's index, together with others; waits while a performance run is on.

    Without any it is the processor that is held.
    """
    with _locked(devices, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(devices: Sequence[int] = ()) -> Iterator[None]:
    """Hold the same alone; waits until nobody of ours works there."""
    with _locked(devices, fcntl.LOCK_EX):
        yield


def keep_working(devices: Sequence[int] = ()) -> list[int] | None:
    """File descriptors that hold the same as `working` as long as any copy of them is open.

    For a process that is to work on after this one has closed its own. None where a performance
    run is on: it is not waited for.
    """
    held: list[int] = []
    for path in _paths(devices):
        held.append(_open(path))
        try:
            fcntl.flock(held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            for handle in held:
                os.close(handle)
            return None
    return held


@contextmanager
def _locked(devices: Sequence[int], kind: int) -> Iterator[None]:
    with ExitStack() as held:
        for path in _paths(devices):
            handle = _open(path)
            held.callback(os.close, handle)
            fcntl.flock(handle, kind)
        yield


def _paths(devices: Sequence[int]) -> list[Path]:
    # All take several in the same order, so that none waits for one who waits for it.
    names = [f"-gpu{index}" for index in sorted(set(devices))] or [""]
    folder = Path(tempfile.gettempdir())
    return [folder / f"autosinian-{os.getuid()}{name}.lock" for name in names]


def _open(path: Path) -> int:
    # No symlink is followed: the folder of temporary files belongs to everybody.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
