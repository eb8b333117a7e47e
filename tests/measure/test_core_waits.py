import os
import threading
import time
from pathlib import Path

import pytest

from autosinian.measure.core_waits import WAITED, CoreWaits, waited_for_cores_s
from autosinian.measure.process import run
from tests.measure.conftest import LIMITS, Bench

counted = pytest.mark.skipif(waited_for_cores_s() is None, reason="the kernel does not count it")


@counted
def test_processes_that_want_the_same_core_wait_for_it() -> None:
    cores = os.sched_getaffinity(0)
    waits = CoreWaits()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {min(cores)})
        while True:
            pass
    try:
        os.sched_setaffinity(0, {min(cores)})
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        assert waits.machine()[WAITED] > 0.05
    finally:
        os.sched_setaffinity(0, cores)
        os.kill(child, 9)
        os.waitpid(child, 0)


@counted
def test_other_threads_count_and_ended_ones_are_no_error() -> None:
    waits = CoreWaits()
    for _ in range(20):
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        assert waits.machine()[WAITED] >= 0
        thread.join()


@counted
@pytest.mark.parametrize("mode", ["RawLoop", "PerformanceOnly"])
def test_a_measurement_says_how_long_its_threads_waited(
    mode: str, bench: Bench, tmp_path: Path
) -> None:
    measured = run(bench.job("Offline", mode, tmp_path), **LIMITS)
    assert measured.machine[WAITED] >= 0
    assert "load_average" in measured.machine
