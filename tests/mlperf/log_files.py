"""LoadGen's files as a test wants them: lines of a detail log, answers of an accuracy log."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from autosinian.mlperf.rules import CURRENT, ROUNDS

FULL: dict[str, Any] = {
    "effective_scenario": "Offline",
    "effective_test_mode": "PerformanceOnly",
    "effective_samples_per_query": 30_000,
    "effective_min_duration_ms": 600_000,
    "effective_performance_sample_count": 1024,
    "effective_target_latency_ns": 0,
    "effective_target_latency_percentile": 0.99,
    **{f"effective_{name}": seed for name, seed in ROUNDS[CURRENT].seeds.items()},
    "qsl_reported_total_count": 50_000,
    "result_validity": "VALID",
    "result_samples_per_second": 1000.0,
    "result_completed_samples_per_sec": 900.0,
    "early_stopping_met": True,
    "early_stopping_latency_ss": 500_000,
    "early_stopping_latency_ms": 4_000_000,
}
"""A run of the official length, whichever scenario it is said to be of."""


def write_run(folder: Path, **values: Any) -> Path:
    """Write a detail log and a summary; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": {"is_error": False}})
        for key, value in (FULL | values).items()
    ]
    (folder / "mlperf_log_detail.txt").write_text("\n".join(lines) + "\n")
    (folder / "mlperf_log_summary.txt").write_text("MLPerf Results Summary\n")
    return folder


def write_answers(path: Path, answers: dict[int, int]) -> Path:
    """Write an accuracy log of labels by sample."""
    lines = [
        json.dumps({"seq_id": n, "qsl_idx": index, "data": np.int64(label).tobytes().hex()})
        for n, (index, label) in enumerate(answers.items())
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return path
