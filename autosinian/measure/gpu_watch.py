"""Watches GPUs through NVML while a worker measures on them."""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import fmean
from typing import Any

import psutil

from autosinian.engine.gpu import asked, open_nvml
from autosinian.errors import InputError
from autosinian.measure.gpu_samples import (
    BUSY_PERCENT,
    GpuLimits,
    GpuRecord,
    GpuSample,
    count_strangers,
    disturbance,
    summary,
)

EVERY_S = 0.4
"""Each look is some calls into the driver that the measured process also uses."""

# The driver's utilization is an average over up to a second, of whoever ran last.
_SETTLE_S = 1.2
_SETTLE_STEP_S = 0.05
_LATELY_US = 1_000_000


class GpuWatch:
    """The parent's eye on its worker's GPUs: `before` it starts, `sample` while it runs, and then
    `summary` and `disturbance`. Never raises: without a driver there is nothing to tell."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._gpus: list[_Watched] = []
        self._unknown = ""
        self._next = 0.0
        try:
            nvml = open_nvml()
        except InputError as error:
            self._unknown = str(error)
            return
        for index in indices:
            handle = asked(nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is None:
                self._unknown = f"NVML knows no GPU {index}"
            else:
                self._gpus.append(_Watched(nvml, handle, index))

    def before(self, ours: Collection[int] = (), *, wait: bool = True) -> None:
        """Record the state before the worker starts, or before `ours`, its ids, begins to measure.

        Takes up to 1.2 s where a GPU is busy, unless it is not to `wait`.
        """
        end = time.monotonic() + (_SETTLE_S if wait else 0.0)
        for gpu in self._gpus:
            gpu.start(ours)
        while any(gpu.busy for gpu in self._gpus) and time.monotonic() < end:
            time.sleep(_SETTLE_STEP_S)
            for gpu in self._gpus:
                gpu.look_before(ours)

    def sample(self, ours: Collection[int]) -> None:
        """Record a look where one is due; `ours` are the ids of the worker and its descendants."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_S
        for gpu in self._gpus:
            gpu.look({os.getpid(), *ours})

    def summary(self) -> dict[str, Any]:
        """`{"gpus": [one dictionary each]}`, JSON-ready; `gpus_unknown` says what was not seen."""
        value: dict[str, Any] = {"gpus": [summary(record) for record in self._records]}
        return value | ({"gpus_unknown": self._unknown} if self._unknown else {})

    def disturbance(self) -> str:
        """Why the measurement counts as disturbed, in one phrase; empty where it does not."""
        return disturbance(self._records)

    @cached_property
    def _records(self) -> tuple[GpuRecord, ...]:
        # Read once, so that summary and disturbance tell of the same.
        return tuple(gpu.record() for gpu in self._gpus)


class _Watched:
    """One GPU: asks NVML, keeps what it says."""

    def __init__(self, nvml: Any, handle: Any, index: int) -> None:
        self._nvml, self._handle = nvml, handle
        self._limits = self._read_limits(index)
        self._before = GpuSample()
        self._processes: dict[int, int | None] | None = None
        self._present: set[int] = set()
        self._ours: set[int] = set()
        self._hides_ours = False
        self._samples: list[GpuSample] = []
        self._since_us = 0

    @property
    def busy(self) -> bool:
        """Whether every look before the start found somebody at work."""
        return (self._before.utilization_percent or 0) > BUSY_PERCENT

    def start(self, ours: Collection[int]) -> None:
        self._before = self._read_before(ours)
        self._note_processes(ours)

    def look_before(self, ours: Collection[int]) -> None:
        """Another look: a worker that ended a moment ago fades from the driver's average."""
        lowest = self._before.utilization_percent
        self._before = self._read_before(ours)
        if lowest is not None:
            now = self._before.utilization_percent
            lowest = lowest if now is None else min(lowest, now)
            self._before = replace(self._before, utilization_percent=lowest)
        self._note_processes(ours)

    def look(self, ours: set[int]) -> None:
        processes = self._read_processes()
        strangers = None
        if processes is not None:
            self._present = set(processes)
            self._ours |= ours
            strangers = count_strangers(self._processes or {}, processes, ours)
        self._samples.append(replace(self._read(), strangers=strangers))

    def record(self) -> GpuRecord:
        return GpuRecord(
            self._limits, self._before, self._processes, tuple(self._samples), self._others()
        )

    def _read_before(self, ours: Collection[int]) -> GpuSample:
        """A look whose utilization is that of others which still live, where those are known."""
        sample = self._read()
        if (sample.utilization_percent or 0) <= BUSY_PERCENT:
            return sample
        living = self._living_percent(ours)
        return sample if living is None else replace(sample, utilization_percent=living)

    def _living_percent(self, ours: Collection[int]) -> int | None:
        """How busy other processes that are there kept the GPU lately; None where that is unknown.

        The driver's average still has who ended a moment ago, such as our last worker. Ids that
        are none of this system's processes are those of another namespace, and tell nothing.
        """
        present = self._read_processes()
        if not present or not all(map(psutil.pid_exists, present)):
            return None
        since_us = time.time_ns() // 1000 - _LATELY_US
        found = self._ask("nvmlDeviceGetProcessUtilization", since_us)
        if found is None:
            return None
        shares = [[int(p.smUtil) for p in found if p.pid == one] for one in {*present} - {*ours}]
        return round(sum(fmean(values) for values in shares if values))

    def _note_processes(self, ours: Collection[int]) -> None:
        found = self._read_processes()
        # Where the worker is there under an id of another namespace, nobody can be told from it.
        self._hides_ours = bool(ours and found) and not set(found or ()) & set(ours)
        self._processes = found and {pid: used for pid, used in found.items() if pid not in ours}
        self._since_us = time.time_ns() // 1000

    def _read_limits(self, index: int) -> GpuLimits:
        nvml, ask = self._nvml, self._ask
        limit = ask("nvmlDeviceGetEnforcedPowerLimit")
        return GpuLimits(
            index,
            ask("nvmlDeviceGetName"),
            ask("nvmlDeviceGetUUID"),
            asked(nvml.nvmlSystemGetDriverVersion),
            ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
            None if limit is None else limit / 1000,
        )

    def _read(self) -> GpuSample:
        nvml, ask = self._nvml, self._ask
        power = ask("nvmlDeviceGetPowerUsage")
        rates = ask("nvmlDeviceGetUtilizationRates")
        reasons = ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before driver 535
            reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        temperature = ask("nvmlDeviceGetTemperatureV", nvml.NVML_TEMPERATURE_GPU)
        if temperature is None:  # the name before driver 570
            temperature = ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU)
        return GpuSample(
            ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            temperature,
            None if power is None else round(power / 1000, 1),
            None if rates is None else int(rates.gpu),
            reasons,
        )

    def _read_processes(self) -> dict[int, int | None] | None:
        found = self._ask("nvmlDeviceGetComputeRunningProcesses")
        return None if found is None else {int(p.pid): p.usedGpuMemory for p in found}

    def _others(self) -> float | None:
        """Percent of the time that processes kept the GPU busy that were there before and still
        are; one that has gone may be our last worker, whose end the first figures include.

        The worker itself may have been there, waiting for its job; other workers of ours that wait
        are others, for they must be at rest."""
        found = self._ask("nvmlDeviceGetProcessUtilization", self._since_us)
        if found is None or self._processes is None or self._hides_ours:
            return None
        ids = (self._processes.keys() & self._present) - self._ours
        shares = [[int(p.smUtil) for p in found if p.pid == one] for one in ids]
        return round(sum(fmean(values) for values in shares if values), 1)

    def _ask(self, name: str, *arguments: Any) -> Any:
        # Not every version of the binding has every function.
        question = getattr(self._nvml, name, None)
        return None if question is None else asked(question, self._handle, *arguments)
