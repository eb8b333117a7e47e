"""How many batches of Server are submitted at once."""

from pathlib import Path

import pytest

from autosinian.measure.loadgen_run import IN_FLIGHT
from autosinian.measure.serving import batches_in_flight
from tests.measure.conftest import Bench


@pytest.mark.parametrize(
    ("streams", "depth", "each_ms", "expected"),
    [
        (2, 4, 2.4, 3),
        (2, 4, 2.8, 3),  # four batches take three quarters of the bound
        (2, 4, 2.9, 2),
        (2, 4, 100.0, 2),
        (1, 2, 1.0, 2),
        (1, 2, 6.0, 1),
        (1, 1, 1.0, 1),
        (4, 4, 1.0, 4),
    ],
)
def test_one_more_than_the_streams_unless_the_latency_bound_forbids_it(
    streams: int, depth: int, each_ms: float, expected: int
) -> None:
    found = batches_in_flight(streams, depth, each_s=each_ms * 1e-3, bound_s=15e-3)
    assert found == expected


@pytest.mark.parametrize(
    ("sut", "bound_ns", "more"),
    [({}, 1_000_000_000, 1), ({}, 1_000, 0), ({"in_flight": 2}, 1_000, 1)],
)
def test_a_server_run_says_how_many_it_submitted(
    bench: Bench, tmp_path: Path, sut: dict[str, float], bound_ns: int, more: int
) -> None:
    settings = {"server_target_qps": 40, "server_target_latency_ns": bound_ns}
    measured = bench.run(
        "Server", "PerformanceOnly", tmp_path, sut={"warmup_s": 0.05, **sut}, settings=settings
    )
    assert measured.machine[IN_FLIGHT] == 1 + more
