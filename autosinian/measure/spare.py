"""Worker processes, and how they start: early, from a zygote, or one by one.

One that is started early has ready what takes long, then waits for a job on stdin; with the job it
may open the engine file too and wait for leave to measure.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autosinian.engine.gpu import cuda_environment
from autosinian.measure.forks import (
    HELD,
    PARENT,
    Forked,
    WorkerProcess,
    Zygote,
    ZygoteLostError,
    Zygotes,
)
from autosinian.measure.job_files import JobFiles
from autosinian.measure.measurement import BuildJob, Job
from autosinian.measure.waiting import Early, Kind, Spare, end_process, hand_over


class Spares:
    """Starts the workers of one parent, some of them before their jobs are there.

    They die with the parent's thread that started them; those that wait also at `close`. With
    `forks` they are forked from zygotes, which have imported what `prepare` was told, or
    `modules`, where there are any.
    """

    def __init__(self, *, forks: bool = True, modules: Sequence[str] = ()) -> None:
        self._modules = tuple(modules)
        self._waiting: list[Spare] = []
        self._early: Early | None = None
        self._forks = forks
        self._zygotes = Zygotes()
        self._resting = False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Wait until whatever waits has everything ready, and start nothing that gets ready until
        the end of the `with` statement: a timed run is not to be disturbed by our own processes.
        """
        self.settle()
        self._resting = True
        try:
            yield
        finally:
            self._resting = False

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
        each process keeps open until it has everything ready; the caller closes its own. While a
        zygote still imports `modules` there is none that waits. Raises `RuntimeError` within
        `resting`.
        """
        self._check_not_resting()
        kind = Kind.of(python, devices)
        for spare in self._waiting:
            if spare.kind != kind or spare.process.poll() is not None:
                end_process(spare.process)
        self._waiting = [spare for spare in self._waiting if spare.process.poll() is None]
        if len(self._waiting) >= (count if least is None else least):
            return
        if self._forks and modules:
            zygote = self._zygotes.prepare(kind.python, devices, modules, held)
            if zygote is not None and not self._is_ready(zygote):
                return
        while len(self._waiting) < count:
            self._waiting.append(Spare(kind, self._start_spare(kind, engine, modules, held)))

    def start(
        self, python: Sequence[str] | None, devices: Sequence[int], files: JobFiles, stderr: Path
    ) -> WorkerProcess:
        """A process for the job in `files`: one that waits, else a new one.

        Raises `OSError` where none can be started.
        """
        stderr.write_bytes(b"")
        process = self._hand_over_to_spare(Kind.of(python, devices), files, stderr, hold=False)
        if process is not None:
            return process
        arguments = [str(files.job), str(files.result), PARENT]
        with stderr.open("ab") as words, Path(os.devnull).open("rb") as nothing:
            given = (nothing.fileno(), words.fileno(), words.fileno())
            forked = self._fork(python, devices, arguments, given)
            if forked is not None:
                return forked
            return subprocess.Popen(
                _command(python, arguments),
                env=_environment(devices),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def open_early(
        self, job: Job, *, python: Sequence[str] | None = None, build: BuildJob | None = None
    ) -> None:
        """Have a process open the job's engine file and wait for leave to measure.

        Where that file is still being built by `build`, the process rehearses it until `built`
        tells it that it is there. Returns at once; one that was opened before is ended. What goes
        wrong is left to `run`. Raises `RuntimeError` within `resting`.
        """
        self._check_not_resting()
        self.end_early()
        kind, files = Kind.of(python, job.devices), JobFiles(Path(job.output_folder), "run")
        told = {"kind": "run", "job": job.to_dict()}
        files.write(told if build is None else {**told, "rehearse": build.to_dict()})
        files.stderr.write_bytes(b"")
        process = self._hand_over_to_spare(kind, files, files.stderr, hold=True)
        if process is None:
            self._waiting.append(Spare(kind, self._start_spare(kind, "", (), ())))
            process = self._hand_over_to_spare(kind, files, files.stderr, hold=True)
        early = None if process is None else Early(job, process, rehearses=build is not None)
        self._early = early

    def built(self, job: Job) -> bool:
        """Tell the process that was given `job` early that its engine file is there; whether there
        is one.
        """
        if self._early is None or self._early.job != job:
            return False
        self._early.built()
        return True

    @property
    def opens_early(self) -> bool:
        """Whether a process opens, or has opened, a job's engine file."""
        return self._early is not None

    def take_early(self, job: Job) -> Early | None:
        """The process that has opened this very job; None where there is none, or it failed."""
        if self._early is None or self._early.job != job:
            return None
        early, self._early = self._early, None
        if early.settle():
            return early
        early.end()
        return None

    def end_early(self) -> bool:
        """End the process that opens a job, also where it failed; whether there was one."""
        if self._early is None:
            return False
        self._early.end()
        self._early = None
        return True

    def settle(self) -> None:
        """Return when every process that waits has everything ready, or has ended."""
        self._zygotes.settle()
        for spare in self._waiting:
            spare.settle()
        if self._early is not None:
            self._early.settle()

    def close(self) -> None:
        """End every process that waits, and the zygotes."""
        self.end_early()
        while self._waiting:
            end_process(self._waiting.pop().process)
        self._zygotes.close()

    def _check_not_resting(self) -> None:
        if self._resting:
            raise RuntimeError("no worker may get ready while a timed run is on")

    def _hand_over_to_spare(
        self, kind: Kind, files: JobFiles, stderr: Path, *, hold: bool
    ) -> WorkerProcess | None:
        for spare in [spare for spare in self._waiting if spare.kind == kind]:
            self._waiting.remove(spare)
            process = spare.process
            if process.poll() is None and hand_over(process, files, stderr, hold=hold):
                return process
            end_process(process)
        return None

    def _start_spare(
        self, kind: Kind, engine: str, modules: Sequence[str], held: Sequence[int]
    ) -> WorkerProcess:
        if self._forks:
            stdin, stdin_of_parent = os.pipe()
            stdout_of_parent, stdout = os.pipe()
            nothing = os.open(os.devnull, os.O_RDWR)
            pipes = os.fdopen(stdin_of_parent, "wb"), os.fdopen(stdout_of_parent, "rb")
            arguments = ["--spare", PARENT, HELD, engine, *modules]
            try:
                forked = self._fork(
                    kind.python, kind.devices, arguments, (stdin, stdout, nothing), held
                )
            finally:
                for descriptor in (stdin, stdout, nothing):
                    os.close(descriptor)
            if forked is not None:
                forked.stdin, forked.stdout = pipes
                return forked
            for pipe in pipes:
                pipe.close()
        numbers = ",".join(map(str, held))
        return subprocess.Popen(
            _command(kind.python, ["--spare", PARENT, numbers, engine, *modules]),
            env=_environment(kind.devices),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=held,
        )

    def _fork(
        self,
        python: Sequence[str] | None,
        devices: Sequence[int],
        arguments: Sequence[str],
        given: tuple[int, int, int],
        held: Sequence[int] = (),
    ) -> Forked | None:
        """A process from the zygote of these; None where there is none, or it is lost."""
        zygote = self._zygotes.running(python or (), devices) if self._forks else None
        # Of several GPUs each has a process of its own, which the worker starts.
        if zygote is None and self._forks and self._modules and len(devices) <= 1:
            zygote = self._zygotes.prepare(python or (), devices, self._modules)
        if zygote is None:
            return None
        try:
            stdin, stdout, stderr = given
            pid = zygote.fork(arguments, stdin=stdin, stdout=stdout, stderr=stderr, held=held)
        except ZygoteLostError as lost:
            self._zygotes.lose(zygote, str(lost))
            return None
        return Forked(zygote, pid, None, None)

    def _is_ready(self, zygote: Zygote) -> bool:
        """Whether spares can be started now; also where they have to start by themselves."""
        try:
            return zygote.ready(wait=False)
        except ZygoteLostError as lost:
            self._zygotes.lose(zygote, str(lost))
            return True


def _command(python: Sequence[str] | None, arguments: Sequence[str]) -> list[str]:
    mine = [str(os.getpid()) if argument == PARENT else argument for argument in arguments]
    return [*(python or (sys.executable,)), "-m", "autosinian.measure.worker", *mine]


def _environment(devices: Sequence[int]) -> dict[str, str] | None:
    return {**os.environ, **cuda_environment(devices)} if devices else None
