"""The parent's side of a zygote, a process that forks workers with everything imported."""

import contextlib
import json
import logging
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from autosinian.engine.gpu import cuda_environment

PARENT, HELD = "PARENT", "HELD"
"""Arguments of a worker that its zygote knows: its own id, and the descriptors held."""

_LARGEST_MESSAGE = 1 << 16
# One that dies again and again is not worth its imports.
_STARTS = 3

_LIMITS = sorted(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))

_log = logging.getLogger(__name__)


class WorkerProcess(Protocol):
    """A worker process, a child's or a zygote's; as `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Its id, which is that of its session too."""
        ...

    @property
    def stdin(self) -> IO[bytes] | None:
        """The pipe to it, where there is one."""
        ...

    @property
    def stdout(self) -> IO[bytes] | None:
        """The pipe from it, where there is one."""
        ...

    def poll(self) -> int | None:
        """Its exit code once it has ended, negative for a signal; else None."""
        ...

    def wait(self) -> int:
        """Its exit code, waited for."""
        ...


class ZygoteLostError(Exception):
    """A zygote that cannot fork, and why: the parent starts workers by itself then."""


class Zygote:
    """One zygote: `ready` once it has imported everything, then `fork`.

    It dies with the parent's thread that started it, and its workers with it.
    """

    def __init__(
        self,
        python: Sequence[str],
        environment: Mapping[str, str],
        modules: Sequence[str],
        held: Sequence[int],
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = ours
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        self._lock = threading.Lock()
        self._is_ready = False
        command = [
            *(python or (sys.executable,)),
            *("-m", "autosinian.measure.zygote", str(theirs.fileno()), str(os.getpid())),
            *(",".join(map(str, held)), *modules),
        ]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                start_new_session=True,
                pass_fds=(theirs.fileno(), *held),
            )

    def ready(self, *, wait: bool) -> bool:
        """Whether everything is imported; waits for it on demand. Raises `ZygoteLostError`."""
        if not self._is_ready:
            if not wait and not select.select([self._link], [], [], 0)[0]:
                return False
            told = self._receive()
            if told["threads"] != 1:
                self.close()
                raise ZygoteLostError(f"what it imports runs {told['threads']} threads")
            self._is_ready = True
        return True

    def fork(
        self,
        arguments: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        held: Sequence[int] = (),
    ) -> int:
        """Fork a worker with these arguments and descriptors; its id. The caller closes its own.

        Raises `ZygoteLostError`, and `OSError` where the kernel has no room for one more process.
        """
        self.ready(wait=True)
        descriptors = [stdin, stdout, stderr, *held]
        answer = self._ask({"arguments": list(arguments)}, descriptors)
        if "failed" in answer:
            raise OSError(answer["failed"])
        return int(answer["pid"])

    def wait(self, pid: int) -> int:
        """The exit code of a worker that it forked, waited for; negative for a signal.

        Until then the id stays the worker's own. Raises `ZygoteLostError`; the worker is dead then.
        """
        return int(self._ask({"wait": pid}, [])["code"])

    def close(self) -> None:
        """End it; workers that it forked are killed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._link.close()
        self._words.close()

    def _ask(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        with self._lock:
            try:
                socket.send_fds(self._link, [json.dumps(request).encode()], descriptors)
            except OSError as error:
                raise ZygoteLostError(self._last_words()) from error
            return self._receive()

    def _receive(self) -> dict[str, Any]:
        try:
            data = self._link.recv(_LARGEST_MESSAGE)
        except OSError:
            data = b""
        if not data:
            raise ZygoteLostError(self._last_words())
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _last_words(self) -> str:
        if self._words.closed:
            return "it was closed"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
        return f"it ended with exit code {code}; last line: {last}"


class Forked:
    """A worker that a zygote forked; `stdin` and `stdout` are pipes where it has them."""

    def __init__(
        self, zygote: Zygote, pid: int, stdin: IO[bytes] | None, stdout: IO[bytes] | None
    ) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._zygote = zygote
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit code once it has ended."""
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self) -> int:
        """The exit code, waited for."""
        if self.returncode is None:
            select.select([self._handle], [], [])
            try:
                self.returncode = self._zygote.wait(self.pid)
            except ZygoteLostError:
                # The kernel killed it, if it had not ended by itself at that moment.
                self.returncode = -signal.SIGKILL
            os.close(self._handle)
        return self.returncode


@dataclass(frozen=True)
class _Key:
    """What a zygote hands on to every worker and cannot change later."""

    python: tuple[str, ...]
    modules: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    folder: str
    cores: tuple[int, ...]
    limits: tuple[tuple[int, int], ...]


class Zygotes:
    """The zygotes of one parent: one for each interpreter and set of GPUs.

    Where the environment, the folder, the usable cores or the limits on resources have changed
    since it was started, another takes its place.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[tuple[str, ...], tuple[int, ...]], tuple[_Key, Zygote]] = {}
        self._lost = 0

    def prepare(
        self,
        python: Sequence[str],
        devices: Sequence[int],
        modules: Sequence[str],
        held: Sequence[int] = (),
    ) -> Zygote | None:
        """The zygote of these, started where there is none; None where too many were lost.

        Returns at once. A new one keeps `held` open until it has imported everything.
        """
        environment = {**os.environ, **(cuda_environment(devices) if devices else {})}
        key = _Key(
            tuple(python),
            tuple(modules),
            tuple(sorted(environment.items())),
            str(Path.cwd()),
            tuple(sorted(os.sched_getaffinity(0))),
            tuple(resource.getrlimit(kind) for kind in _LIMITS),
        )
        place = (tuple(python), tuple(devices))
        known = self._running.get(place)
        if known is not None and known[0] == key:
            return known[1]
        if known is not None:
            self._running.pop(place)[1].close()
        if self._lost >= _STARTS:
            return None
        try:
            zygote = Zygote(python, environment, modules, held)
        except OSError as error:
            self.lose(None, f"it cannot be started: {error}")
            return None
        self._running[place] = (key, zygote)
        return zygote

    def running(self, python: Sequence[str], devices: Sequence[int]) -> Zygote | None:
        """The zygote that `prepare` has made for these."""
        known = self._running.get((tuple(python), tuple(devices)))
        if known is None:
            return None
        return self.prepare(python, devices, known[0].modules)

    def lose(self, zygote: Zygote | None, reason: str) -> None:
        """Take note that one cannot be used; told once, where workers start by themselves."""
        self._lost += 1
        for place, (_, other) in list(self._running.items()):
            if other is zygote:
                self._running.pop(place)[1].close()
        _log.warning(
            "workers are started one by one for now, as the process to fork them from is lost: %s",
            reason,
        )

    def settle(self) -> None:
        """Return when every zygote has imported everything, or is lost."""
        for _, zygote in list(self._running.values()):
            try:
                zygote.ready(wait=True)
            except ZygoteLostError as lost:
                self.lose(zygote, str(lost))

    def close(self) -> None:
        """End all of them; workers that still run are killed."""
        while self._running:
            self._running.popitem()[1][1].close()
