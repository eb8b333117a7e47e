"""Worker processes that wait: for a job, or with an open engine file for leave to measure."""

import contextlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autosinian.measure.forks import WorkerProcess
from autosinian.measure.job_files import BUILT, GO, OPENED, READY, JobFiles
from autosinian.measure.measurement import Job


@dataclass(frozen=True)
class Kind:
    """What a spare was started with; a job of the same may take it."""

    python: tuple[str, ...]
    devices: tuple[int, ...]
    folder: str

    @classmethod
    def of(cls, python: Sequence[str] | None, devices: Sequence[int]) -> "Kind":
        return cls(tuple(python or ()), tuple(devices), str(Path.cwd()))


@dataclass
class Spare:
    """A process that waits for a job; `ready` once it is known to do nothing else."""

    kind: Kind
    process: WorkerProcess
    ready: bool = False

    def settle(self) -> None:
        assert self.process.stdout is not None
        if not self.ready:
            # One byte, or none at its end.
            self.process.stdout.read(1)
            self.ready = True


class Early:
    """A process that opens its job's engine file and then waits for leave to measure.

    One that `rehearses` begins while that file is built, and needs to be told when it is there.
    """

    def __init__(self, job: Job, process: WorkerProcess, *, rehearses: bool = False) -> None:
        self.job, self.process = job, process
        self._rehearses = rehearses
        self._opened: bool | None = None

    def built(self) -> None:
        """Tell it, once, that the engine file is there."""
        if self._rehearses:
            self._rehearses = False
            self._tell(BUILT)

    def settle(self) -> bool:
        """Wait until the file is open; false where the process has ended instead.

        A process whose file was not built is ended.
        """
        assert self.process.stdout is not None
        if self._rehearses:
            self.end()
            self._rehearses, self._opened = False, False
        while self._opened is None:
            byte = self.process.stdout.read(1)
            if byte != READY:
                self._opened = byte == OPENED
        return self._opened

    def go(self) -> bool:
        """Give leave to measure, once; false where the process has ended, which is waited for."""
        # Its pipe may outlive a killed process by the time its threads take to end.
        if self.settle() and self.process.poll() is None and self._tell(GO):
            close_pipes(self.process)
            return True
        self.end()
        return False

    def end(self) -> None:
        """Kill the process."""
        end_process(self.process)

    def _tell(self, word: bytes) -> bool:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(word)
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True


def hand_over(process: WorkerProcess, files: JobFiles, stderr: Path, *, hold: bool) -> bool:
    paths = {"job": files.job, "result": files.result, "stderr": stderr}
    given: dict[str, object] = {name: str(path.absolute()) for name, path in paths.items()}
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps({**given, "hold": hold}).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return False
    if not hold:
        close_pipes(process)
    return True


def end_process(process: WorkerProcess) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    close_pipes(process)
    process.wait()


def close_pipes(process: WorkerProcess) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
