"""Whose interpreter and which GPUs the worker processes of one engine get."""

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from autosinian.engine.described import DescribedEngine
from autosinian.engine.gpu import Gpu, select_gpus, visible_gpus
from autosinian.engine.protocol import Engine
from autosinian.engine.registry import get_engine
from autosinian.errors import InputError, TrialFailure
from autosinian.measure import process, server
from autosinian.measure.measurement import (
    BuildJob,
    BuildResult,
    DescribeJob,
    Job,
    Measurement,
)
from autosinian.measure.spare import Spares
from autosinian.measure.worker_texts import check_python, parse_devices, parse_python

_DESCRIBE_S = 120.0
_DESCRIBE_BYTES = 16 << 30


@dataclass(frozen=True)
class WorkerChoice:
    """What the user asked for: the interpreter's command line (empty: this one), and GPUs.

    `devices` are NVML's indices; None is the first visible GPU where the engine uses GPUs.
    """

    python: tuple[str, ...] = ()
    devices: tuple[int, ...] | None = None

    @classmethod
    def parse(cls, python: str | None, devices: str | None) -> "WorkerChoice":
        """From the texts of `--worker-python` and `--devices`. Raises `InputError`."""
        return cls(parse_python(python), parse_devices(devices))

    def check(self) -> None:
        """Raise `InputError` for an interpreter or a GPU that is not there."""
        if self.python:
            check_python(self.python[0])
        if self.devices:
            select_gpus(self.devices)

    def open(self, engine: str, *, count: int = 1) -> "tuple[Engine, Workers]":
        """The engine of that name, and what starts its workers.

        Where no GPUs were named an engine that uses GPUs gets the first `count` visible ones. An
        engine of another interpreter or on GPUs is a `DescribedEngine`: this process then needs
        no library of it and never opens a GPU. Raises `InputError` for an interpreter that cannot
        run workers, for a GPU that is not there, and for GPUs asked of an engine without.
        """
        self.check()
        visible = select_gpus(self.devices) if self.devices else visible_gpus()[: max(1, count)]
        check_alike(visible)
        devices = tuple(gpu.index for gpu in visible)
        if not self.python and not get_engine(engine).uses_gpu():
            devices = ()
        opened = open_engine(engine, self.python, devices)
        if opened.uses_gpu():
            if not devices:
                opened.device()  # raises where there is none that NVML does not list either
            if self.devices is None and len(devices) < count and count > 1:
                raise InputError(
                    f"{count} GPUs must be visible, as many as served the export, but there are "
                    f"{len(devices)}; `--devices` names others to compare with"
                )
            return opened, Workers(self.python, devices, modules=opened.slow_imports())
        if self.devices:
            raise InputError(
                f"`--devices` must be left out where the engine uses no GPU, but `{engine}` runs "
                f"on {opened.device()}, got {', '.join(map(str, self.devices))}"
            )
        return opened, Workers(self.python, modules=opened.slow_imports())


DEFAULT_CHOICE = WorkerChoice()


class Workers:
    """Starts worker processes in one interpreter; a run gets all of `devices`, a build the first.

    `run`, `build` and `find_server_qps` are those of `autosinian.measure.process` and
    `autosinian.measure.server`, in processes started early where `prepare` has been called. With
    `forks` they are forked from a process that has imported what takes long: what `prepare` was
    told, else `modules`.
    """

    def __init__(
        self,
        python: tuple[str, ...] = (),
        devices: tuple[int, ...] = (),
        *,
        forks: bool = True,
        modules: tuple[str, ...] = (),
    ) -> None:
        self.python = python
        self.devices = devices
        self._spares = Spares(forks=forks, modules=modules)

    def title(self, device: str) -> str:
        """Name of all devices together, where one is called `device`."""
        return f"{len(self.devices)} x {device}" if len(self.devices) > 1 else device

    def prepare(
        self,
        modules: Sequence[str],
        devices: Sequence[int],
        *,
        engine: str = "",
        count: int = 1,
        least: int | None = None,
        held: Sequence[int] = (),
    ) -> None:
        """Start workers for the next jobs of `devices`, which import `modules` and warm `engine`
        meanwhile.

        See `autosinian.measure.spare.Spares.prepare`. Not while a measurement runs.
        """
        self._spares.prepare(
            modules,
            engine=engine,
            count=count,
            least=least,
            python=self.python,
            devices=devices,
            held=held,
        )

    def open_early(self, job: Job, *, build: BuildJob | None = None) -> None:
        """Have a worker open the engine file of a job that `run` may be asked for next.

        See `autosinian.measure.spare.Spares.open_early`. Not while a measurement runs.
        """
        self._spares.open_early(job, python=self.python or None, build=build)

    def built(self, job: Job) -> bool:
        """Tell the worker that was given `job` early that its engine file is there; whether there
        is one.
        """
        return self._spares.built(job)

    @property
    def opens_early(self) -> bool:
        """Whether there is a worker that opens, or has opened, a job's engine file."""
        return self._spares.opens_early

    def end_early(self) -> bool:
        """End the worker that has opened a job's engine file; whether there was one."""
        return self._spares.end_early()

    def settle(self) -> None:
        """Return when the workers that were started early only wait, for a job or for leave."""
        self._spares.settle()

    def close(self) -> None:
        """End the workers that wait for a job."""
        self._spares.close()

    def run(
        self,
        job: Job,
        *,
        started: process.Started = lambda: None,
        **limits: Unpack[process.Limits],
    ) -> Measurement:
        """Measure in a worker process."""
        return process.run(
            job,
            python=self.python or None,
            spares=self._spares,
            started=started,
            **limits,
        )

    def build(
        self,
        job: BuildJob,
        *,
        started: process.Started = lambda: None,
        **limits: Unpack[process.Limits],
    ) -> BuildResult:
        """Build an engine file in a worker process."""
        return process.build(
            job,
            python=self.python or None,
            spares=self._spares,
            started=started,
            **limits,
        )

    def build_then_run(
        self,
        build_job: BuildJob,
        job: Job,
        *,
        started: process.Started = lambda: None,
        **limits: Unpack[process.Limits],
    ) -> process.BuiltAndRunning:
        """Build an engine file and run a job on it in one worker process."""
        return process.build_then_run(
            build_job,
            job,
            python=self.python or None,
            spares=self._spares,
            started=started,
            **limits,
        )

    def find_server_qps(
        self,
        job: Job,
        upper: float,
        start: float | None = None,
        *,
        max_probes: int = 8,
        **limits: Unpack[process.Limits],
    ) -> Measurement:
        """Measure the best Server rate, each probe in a worker process."""
        return server.find_server_qps(
            job,
            upper,
            start,
            python=self.python or None,
            spares=self._spares,
            max_probes=max_probes,
            **limits,
        )


def check_alike(gpus: Sequence[Gpu]) -> None:
    """Raise `InputError` for GPUs that cannot run the same engine file."""
    if len({(gpu.name, gpu.compute_capability) for gpu in gpus}) > 1:
        named = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
        raise InputError(
            f"GPUs that serve together must be of one model, but got {named}; name equal ones "
            "with `--devices`"
        )


def open_engine(name: str, python: Sequence[str] = (), devices: Sequence[int] = ()) -> Engine:
    """The engine of that name; one of another interpreter or on given GPUs answers from there.

    Raises `InputError` for an unknown engine and for an interpreter that cannot run workers.
    """
    if not python and not devices:
        return get_engine(name)
    with tempfile.TemporaryDirectory(prefix="autosinian-engine-") as folder:
        try:
            description = process.describe(
                DescribeJob(name, folder, tuple(devices)),
                time_limit_s=_DESCRIBE_S,
                memory_limit_bytes=_DESCRIBE_BYTES,
                python=tuple(python) or None,
            )
        except TrialFailure as failure:
            raise _untold(name, python, failure) from failure
    return DescribedEngine(description)


def _untold(name: str, python: Sequence[str], failure: TrialFailure) -> InputError:
    command = f"`{shlex.join(python)}`" if python else "this interpreter"
    if "No module named 'autosinian'" in failure.reason:
        source = Path(__file__).parents[2]
        return InputError(
            f"the worker's interpreter must be able to import autosinian, but {command} cannot; "
            f"install the package there, or set PYTHONPATH to the folder that holds it (`{source}` "
            "where that holds nothing for other versions of Python)"
        )
    return InputError(f"engine {name!r} must start in a worker of {command}, but {failure.reason}")
