import time
from pathlib import Path

import mlperf_loadgen
import numpy as np

from autosinian.engine.protocol import OnDone
from autosinian.measure.raw_loop import Ready
from autosinian.measure.warm_up import warm_up
from tests.measure.conftest import Bench

FIRST_S, LATER_S, FIRST = 0.04, 0.005, 8


def test_the_estimate_is_that_of_an_engine_past_its_slow_first_batches(
    bench: Bench, tmp_path: Path
) -> None:
    ran: list[float] = []

    def submit(on_done: OnDone) -> None:
        ran.append(FIRST_S if len(ran) < FIRST else LATER_S)
        time.sleep(ran[-1])
        on_done(np.zeros((1, 10), np.float32), None)

    ready = Ready(1, (submit,), lambda count: None, lambda: None)
    job = bench.job("Offline", "PerformanceOnly", tmp_path, sut={})
    settings = mlperf_loadgen.TestSettings()
    warm_up(ready, job, settings, streams=1)
    # Sleeps last longer than they are asked to, never less.
    assert 3 / FIRST_S < settings.offline_expected_qps <= 1.1 / LATER_S
