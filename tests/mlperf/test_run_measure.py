"""What a worker may take for a run of a given length."""

from typing import Any

import pytest

from autosinian.export.bundle import Bundle
from autosinian.measure.measurement import Job
from autosinian.mlperf.run_measure import memory_for
from autosinian.mlperf.source import open_source

GIB = 1 << 30


def job(scenario: str, **settings: Any) -> Job:
    engine: dict[str, Any] = {"engine": "openvino", "batch_size": 1, "options": {}}
    return Job(engine, "e", "i", None, scenario, "PerformanceOnly", "o", settings=settings)


@pytest.mark.parametrize(
    ("scenario", "settings", "least", "most"),
    [
        ("Offline", {"min_duration_ms": 1000}, 4, 4.01),
        # 100,000 samples/s for ten minutes.
        ("Offline", {"offline_expected_qps": 1e5}, 10, 20),
        ("Server", {"server_target_qps": 1e5}, 30, 50),
        ("Server", {"server_target_qps": 1e5, "min_duration_ms": 1000}, 4, 4.1),
        # The export's 0.4 ms, twice over, for ten minutes.
        ("SingleStream", {}, 5, 6),
        ("SingleStream", {"single_stream_expected_latency_ns": 4_000_000.0}, 4, 4.2),
    ],
)
def test_the_limit_grows_with_the_queries(
    small_bundle: Bundle, scenario: str, settings: dict[str, Any], least: float, most: float
) -> None:
    limit = memory_for(open_source(small_bundle.folder), job(scenario, **settings))
    assert least * GIB <= limit <= most * GIB
