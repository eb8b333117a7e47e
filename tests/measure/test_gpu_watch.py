"""Needs an NVIDIA GPU that nobody else works on, and torch with CUDA for the load."""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from autosinian.engine.gpu import all_gpus, cuda_environment, require_gpu
from autosinian.measure.gpu_watch import EVERY_S, GpuWatch

LOAD = """
import sys, time, torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
torch.cuda.synchronize()
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
"""


@contextmanager
def load(index: int, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """A process that keeps a GPU busy, from when it works to its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **cuda_environment([index])},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def look(watch: GpuWatch, seconds: float, ours: Collection[int] = ()) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        watch.sample(ours)
        time.sleep(0.1)


@pytest.mark.gpu
def test_gpus_are_listed_with_what_they_are() -> None:
    gpus = require_gpu()
    assert [gpu.index for gpu in all_gpus()] == list(range(len(all_gpus())))
    for gpu in gpus:
        assert gpu.uuid.startswith("GPU-")
        assert gpu.name and gpu.driver and gpu.cuda_driver[0].isdigit()
        assert gpu.compute_capability >= (5, 0)
        assert gpu.memory_bytes > 1 << 30


@pytest.mark.gpu
def test_a_resting_gpu_is_not_disturbed() -> None:
    gpu = require_gpu()[0]
    watch = GpuWatch([gpu.index])
    watch.before()
    look(watch, 2)
    found = watch.summary()["gpus"][0]
    assert (found["index"], found["name"], found["uuid"]) == (gpu.index, gpu.name, gpu.uuid)
    assert found["samples"] >= 4
    assert watch.disturbance() == ""


@pytest.mark.gpu
def test_our_own_load_is_seen_and_is_no_disturbance_by_another() -> None:
    index = require_gpu()[0].index
    watch = GpuWatch([index])
    watch.before()
    with load(index, 30) as process:
        look(watch, 4, [process.pid])
    found = watch.summary()["gpus"][0]
    print(found)
    assert "shared" not in watch.disturbance()
    # Each only where this machine tells it.
    assert found.get("utilization_percent", {}).get("mean", 100) > 30
    clocks = found.get("sm_clock_mhz", {"max": 1, "limit": 1})
    assert 0 < clocks["max"] <= clocks["limit"]
    assert found.get("power_w", {}).get("mean", 1) > 0


@pytest.mark.gpu
def test_another_processs_load_before_the_run_is_a_disturbance() -> None:
    index = require_gpu()[0].index
    with load(index, 60):
        time.sleep(1.5)
        watch = GpuWatch([index])
        start = time.monotonic()
        watch.before()
        assert time.monotonic() - start < 4
        look(watch, 1)
        assert "shared" in watch.disturbance()


@pytest.mark.gpu
def test_a_run_right_after_a_load_waits_until_the_drivers_average_has_faded() -> None:
    index = require_gpu()[0].index
    with load(index, 60):
        time.sleep(2)
    watch = GpuWatch([index])
    watch.before()
    look(watch, 1)
    assert watch.disturbance() == ""


@pytest.mark.gpu
def test_a_look_is_cheap() -> None:
    watch = GpuWatch([require_gpu()[0].index])
    watch.before()
    took = []
    for _ in range(5):
        time.sleep(EVERY_S)
        start = time.perf_counter()
        watch.sample(())
        took.append(time.perf_counter() - start)
    print(f"one look: {1000 * sorted(took)[2]:.2f} ms")
    assert sorted(took)[2] < 0.05


def test_where_there_is_no_such_gpu_the_watch_says_so_and_goes_on() -> None:
    watch = GpuWatch([99])
    watch.before()
    watch.sample([os.getpid()])
    found = watch.summary()
    assert found["gpus"] == []
    assert found["gpus_unknown"]
    assert watch.disturbance() == ""
