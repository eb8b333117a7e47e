"""What runs of official length take in the worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosinian.measure.measurement import Job, Measurement
from autosinian.measure.process import run

LIBRARIES = 100 << 20
"""Python's own and numpy's, LoadGen's and OpenVINO's: what an empty run takes."""


def measure(
    folder: Path, engine: str, shape: tuple[int, ...], mode: str, **settings: Any
) -> Measurement:
    # A file with nothing written takes no disk.
    np.lib.format.open_memmap(folder / "inputs.npy", "w+", np.float32, shape)
    np.save(folder / "labels.npy", np.zeros(shape[0], np.int64))
    job = Job(
        engine={"engine": f"tests.measure.worker_engines:{engine}", "batch_size": 1, "options": {}},
        engine_file=str(folder / "inputs.npy"),
        inputs=str(folder / "inputs.npy"),
        labels=str(folder / "labels.npy"),
        scenario="Offline",
        mode=mode,
        output_folder=str(folder / "logs"),
        settings={"min_duration_ms": 1, **settings},
        sut={"warmup_s": 0.01},
    )
    return run(job, time_limit_s=120, memory_limit_bytes=4 << 30)


@pytest.mark.parametrize("samples", [1_000_000])
def test_a_sample_of_an_offline_query_takes_few_bytes(tmp_path: Path, samples: int) -> None:
    asked = {"min_query_count": samples, "offline_expected_qps": 1.0}
    found = measure(tmp_path, "IdleEngine", (100, 1, 1, 1), "PerformanceOnly", **asked)
    assert found.valid
    assert found.samples == samples
    # So 10 million samples stay far below 4 GiB.
    assert found.peak_memory_bytes < LIBRARIES + 200 * samples


def test_an_accuracy_run_lets_go_of_what_it_has_seen(tmp_path: Path) -> None:
    shape = (6000, 1, 100, 128)
    found = measure(tmp_path, "WideIdleEngine", shape, "AccuracyOnly")
    assert found.samples == shape[0]
    assert found.accuracy == 1.0
    everything = 4 * int(np.prod(shape))
    assert found.peak_memory_bytes < LIBRARIES + everything / 2
