"""A worker process under its parent's eyes: time, memory, GPUs, and its end."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from autosinian.errors import TrialFailure
from autosinian.measure.forks import WorkerProcess
from autosinian.measure.gpu_watch import GpuWatch

# Often enough to stop a leak, seldom enough not to disturb a measurement on few cores.
_LOOK_EVERY_S = 0.2
# A worker's next stage is to begin soon, and only a build is watched so closely.
_LOOK_FOR_STAGE_S = 0.02


@dataclass(frozen=True)
class Ended:
    """How a worker ended: exit code (negative: signal), why we killed it, and what it used."""

    code: int
    killed: str
    worker_s: float
    peak_memory_bytes: int


class Supervision:
    """Watches one worker: `follow` until it ends or does what is awaited, then `end`.

    It is killed where a stage takes longer than `time_limit_s` or it grows beyond
    `memory_limit_bytes`.
    """

    def __init__(
        self,
        process: WorkerProcess,
        time_limit_s: float,
        memory_limit_bytes: int,
        gpus: GpuWatch | None = None,
    ) -> None:
        self._process = process
        self._time_limit_s, self._memory_limit_bytes = time_limit_s, memory_limit_bytes
        self._gpus = gpus
        self._start = time.monotonic()
        self._handle = os.pidfd_open(process.pid)
        self._killed, self._peak = "", 0
        self._ended: Ended | None = None

    def follow(self, until: Callable[[], bool] | None = None) -> bool:
        """Watch until the worker ends or has to (true), or `until` holds (false).

        The time limit counts from the call. Where anything is raised, the worker is ended.
        """
        try:
            return self._follow(until)
        except BaseException:
            self.end()
            raise

    def so_far(self) -> Ended:
        """What the worker has used by now, while it runs."""
        return Ended(0, "", time.monotonic() - self._start, self._peak)

    def end(self) -> Ended:
        """Kill what is left of the worker and its children; how it ended."""
        if self._ended is None:
            os.close(self._handle)
            # The whole session, also after the worker's own end: it may have left children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
            took = time.monotonic() - self._start
            self._ended = Ended(code, self._killed, took, self._peak)
        return self._ended

    def _follow(self, until: Callable[[], bool] | None) -> bool:
        start = time.monotonic()
        poller = select.poll()
        poller.register(self._handle, select.POLLIN)
        every, due = (_LOOK_EVERY_S if until is None else _LOOK_FOR_STAGE_S), start
        while True:
            left = self._time_limit_s - (time.monotonic() - start)
            if poller.poll(1000 * max(0.0, min(every, left))):
                return True
            if until is not None and until():
                return False
            now = time.monotonic()
            if now >= due:
                due = now + _LOOK_EVERY_S
                self._look()
            if not self._killed and now - start >= self._time_limit_s:
                self._killed = f"took longer than the limit of {self._time_limit_s:g} s"
            if self._killed:
                return True

    def _look(self) -> None:
        if self._gpus is not None:
            self._gpus.sample(descendants(self._process.pid))
        used = _resident(self._process.pid)
        self._peak = max(self._peak, used)
        if used > self._memory_limit_bytes:
            limit = _mib(self._memory_limit_bytes)
            self._killed = f"used {_mib(used)} of memory, more than the limit {limit}"


def failure(stage: str, ended: Ended, stderr_file: Path) -> TrialFailure:
    """What the end of a worker that left no result means."""
    if ended.killed:
        return TrialFailure(stage, f"the worker {ended.killed} and was killed")
    lines = stderr_file.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        outside = ended.code in (-signal.SIGKILL, -signal.SIGTERM)
        how = f"was killed by {name} from outside" if outside else f"crashed with {name}"
        return TrialFailure(stage, f"the worker {how}; last line: {last}", transient=outside)
    return TrialFailure(stage, f"the worker ended with exit code {ended.code}; last line: {last}")


def descendants(process: int) -> list[int]:
    """Ids of a process and all its descendants.

    From the kernel's list, as psutil reads every process there is.
    """
    found = [process]
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
    except OSError:
        pass
    return found


def _resident(process: int) -> int:
    """Resident bytes of a process and its descendants."""
    total = 0
    for one in descendants(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += psutil.Process(one).memory_info().rss
    return total


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
