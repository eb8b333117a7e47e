"""What an Offline query of official length takes in the worker."""

from pathlib import Path

import numpy as np

from autosinian.measure.measurement import Job
from autosinian.measure.process import run

SAMPLES = 1_000_000


def test_a_sample_of_an_offline_query_takes_few_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", np.zeros((100, 1, 1, 1), np.float32))
    job = Job(
        engine={
            "engine": "tests.measure.worker_engines:IdleEngine",
            "batch_size": 4096,
            "options": {},
        },
        engine_file=str(tmp_path / "inputs.npy"),
        inputs=str(tmp_path / "inputs.npy"),
        labels=None,
        scenario="Offline",
        mode="PerformanceOnly",
        output_folder=str(tmp_path / "logs"),
        settings={
            "min_duration_ms": 1,
            "min_query_count": SAMPLES,
            "offline_expected_qps": 1.0,
        },
        sut={"warmup_s": 0.01},
    )
    measured = run(job, time_limit_s=120, memory_limit_bytes=4 << 30)
    assert measured.valid
    assert measured.samples == SAMPLES
    # 10 million samples then stay far below 4 GiB; 100 MiB are Python's and the libraries'.
    assert measured.peak_memory_bytes < 100 * 2**20 + 200 * SAMPLES
