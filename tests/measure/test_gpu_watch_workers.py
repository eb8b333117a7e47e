"""What is told of our own workers, over a driver's answers that are written down here."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from autosinian.measure import gpu_watch
from autosinian.measure.gpu_watch import GpuWatch


class Driver:
    """NVML's functions that a watch asks; `busy` is each process's share of the GPU in percent."""

    NVML_CLOCK_SM = NVML_CLOCK_MEM = NVML_TEMPERATURE_GPU = 0

    def __init__(self, busy: dict[int, int]) -> None:
        self.busy, self.total = busy, 0

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self.total)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=1 << 20) for pid in self.busy]

    def nvmlDeviceGetProcessUtilization(self, handle: int, since_us: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, smUtil=share) for pid, share in self.busy.items()]


WORKER, WAITING = os.getppid(), os.getpid()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver({WORKER: 0, WAITING: 0})
    monkeypatch.setattr(gpu_watch, "open_nvml", lambda: driver)
    monkeypatch.setattr(os, "getpid", lambda: 0)  # the parent itself is never on the GPU
    return driver


def watched(driver: Driver, busy: dict[int, int]) -> GpuWatch:
    """A worker that had waited with a context takes a job beside one that goes on waiting."""
    watch = GpuWatch([0])
    watch.before()
    driver.busy, driver.total = busy, 100
    watch.sample([WORKER])
    return watch


def test_the_worker_that_waited_for_its_job_is_not_another(driver: Driver) -> None:
    watch = watched(driver, {WORKER: 95, WAITING: 0})
    assert watch.disturbance() == ""


def test_a_worker_of_ours_that_is_not_at_rest_is(driver: Driver) -> None:
    watch = watched(driver, {WORKER: 60, WAITING: 35})
    assert watch.disturbance() == (
        "GPU 0 was shared: other processes kept it 35 % busy during the run"
    )
