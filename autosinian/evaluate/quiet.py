"""One performance measurement at a time on a device, whatever number of searches run there.

Work that only has to get done (training, export, builds, accuracy) holds a shared lock; a
performance run holds it alone, so that it never competes with another process of ours. The
processor has one lock and each GPU its own, so searches on different GPUs never wait for each
other; what a GPU's trial does on the processor holds the processor's.

Who waits to be alone goes first: a second lock, which those hold together until they are done,
keeps back work that would begin in the meantime. Else several searches on one device would put a
measurement off by one build after another. Work of a process that works there already is not kept
back, as it is what the other waits for.
"""

import fcntl
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_lock = threading.Lock()
_at_work: Counter[Path] = Counter()
"""How often this process works on what each lock stands for."""


@contextmanager
def working(devices: Sequence[int] = ()) -> Iterator[None]:
    """Hold GPUs, by NVML's index, together with others; waits while a performance run is on.

    Without any it is the processor that is held.
    """
    with ExitStack() as held:
        for path in _paths(devices):
            held.enter_context(_at_work_on(path))
        yield


@contextmanager
def alone(devices: Sequence[int] = ()) -> Iterator[None]:
    """Hold the same alone; waits until nobody of ours works there, and keeps new work back."""
    with ExitStack() as held:
        for path in _paths(devices):
            held.enter_context(_holding(_wish(path), fcntl.LOCK_SH))
            held.enter_context(_holding(path, fcntl.LOCK_EX))
        yield


def keep_working(devices: Sequence[int] = ()) -> list[int] | None:
    """File descriptors that hold the same as `working` as long as any copy of them is open.

    For a process that is to work on after this one has closed its own. None where a performance
    run is on, or another process waits for one: it is not waited for.
    """
    held: list[int] = []
    for path in _paths(devices):
        try:
            with _beginning(path, fcntl.LOCK_NB):
                held.append(_open(path))
                fcntl.flock(held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            for handle in held:
                os.close(handle)
            return None
    return held


@contextmanager
def _at_work_on(path: Path) -> Iterator[None]:
    with ExitStack() as held:
        with _beginning(path):
            held.enter_context(_holding(path, fcntl.LOCK_SH))
        _count(path, 1)
        held.callback(_count, path, -1)
        yield


def _count(path: Path, more: int) -> None:
    with _lock:
        _at_work[path] += more


@contextmanager
def _beginning(path: Path, flags: int = 0) -> Iterator[None]:
    """Work may begin in the block: nobody waits to be alone, or this process works there already.

    Raises `BlockingIOError` where that is not so, with `LOCK_NB` among the `flags`.
    """
    with _lock:
        working_already = _at_work[path] > 0
    if working_already:
        yield
        return
    with _holding(_wish(path), fcntl.LOCK_EX | flags):
        yield


@contextmanager
def _holding(path: Path, kind: int) -> Iterator[None]:
    handle = _open(path)
    try:
        fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)


def _wish(path: Path) -> Path:
    """The lock that those hold together who wait to be alone, or are."""
    return path.with_suffix(".wish.lock")


def _paths(devices: Sequence[int]) -> list[Path]:
    # All take several in the same order, so that none waits for one who waits for it.
    names = [f"-gpu{index}" for index in sorted(set(devices))] or [""]
    folder = Path(tempfile.gettempdir())
    return [folder / f"autosinian-{os.getuid()}{name}.lock" for name in names]


def _open(path: Path) -> int:
    # No symlink is followed: the folder of temporary files belongs to everybody.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
