"""Worker processes started early: they have ready what takes long, then wait for a job on stdin."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autosinian.engine.gpu import cuda_environment


@dataclass(frozen=True)
class _Kind:
    """What a spare was started with; a job of the same may take it."""

    python: tuple[str, ...]
    devices: tuple[int, ...]
    folder: str

    @classmethod
    def of(cls, python: Sequence[str] | None, devices: Sequence[int]) -> "_Kind":
        return cls(tuple(python or ()), tuple(devices), str(Path.cwd()))


class Spares:
    """The worker processes of one parent that wait for a job.

    They die with the parent's thread that started them, and at `close`.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[_Kind, subprocess.Popen[bytes]]] = []

    def prepare(
        self,
        modules: Sequence[str],
        *,
        engine: str = "",
        count: int = 1,
        least: int | None = None,
        python: Sequence[str] | None = None,
        devices: Sequence[int] = (),
        held: Sequence[int] = (),
    ) -> None:
        """Have `count` processes wait for jobs of these devices, where fewer than `least` do; it
        is `count` if not given. They import `modules`, then warm `engine` where one is named.

        Returns at once; others that wait are ended. `held` are file descriptors, of locks, which
        each process keeps open until it has everything ready; the caller closes its own.
        """
        kind = _Kind.of(python, devices)
        for other, process in self._waiting:
            if other != kind or process.poll() is not None:
                _end(process)
        self._waiting = [(k, p) for k, p in self._waiting if p.returncode is None]
        enough = len(self._waiting) >= (count if least is None else least)
        while not enough and len(self._waiting) < count:
            self._waiting.append((kind, _start(kind, engine, modules, held)))

    def take(
        self,
        python: Sequence[str] | None,
        devices: Sequence[int],
        *,
        job_file: Path,
        result_file: Path,
        stderr_file: Path,
    ) -> subprocess.Popen[bytes] | None:
        """Hand a job to a process that waits for one of its kind; None where there is none."""
        kind = _Kind.of(python, devices)
        for entry in [entry for entry in self._waiting if entry[0] == kind]:
            self._waiting.remove(entry)
            process = entry[1]
            if process.poll() is None and _hand_over(process, job_file, result_file, stderr_file):
                return process
            _end(process)
        return None

    def settle(self) -> None:
        """Return when every process that waits has everything ready, or has ended."""
        for _, process in self._waiting:
            assert process.stdout is not None
            if not process.stdout.closed:
                # One byte, or none at its end.
                process.stdout.read(1)
                process.stdout.close()

    def close(self) -> None:
        """End every process that waits."""
        while self._waiting:
            _end(self._waiting.pop()[1])


def _start(
    kind: _Kind, engine: str, modules: Sequence[str], held: Sequence[int]
) -> subprocess.Popen[bytes]:
    command = [
        *(kind.python or (sys.executable,)),
        *("-m", "autosinian.measure.worker", "--spare", str(os.getpid())),
        *(",".join(map(str, held)), engine, *modules),
    ]
    return subprocess.Popen(
        command,
        env={**os.environ, **cuda_environment(kind.devices)} if kind.devices else None,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=held,
    )


def _hand_over(
    process: subprocess.Popen[bytes], job_file: Path, result_file: Path, stderr_file: Path
) -> bool:
    paths = {"job": job_file, "result": result_file, "stderr": stderr_file}
    line = json.dumps({name: str(path.absolute()) for name, path in paths.items()})
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    try:
        with process.stdin as pipe:
            pipe.write(line.encode() + b"\n")
    except BrokenPipeError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    process.wait()
