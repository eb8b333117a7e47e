from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosinian.errors import InputError
from autosinian.measure.server import bisect_rate, find_server_qps
from tests.measure.conftest import LIMITS, Bench


@given(
    truth=st.floats(10, 1000),
    start=st.one_of(st.none(), st.floats(1, 5000)),
)
def test_bisection_ends_just_below_the_highest_rate_that_holds(
    truth: float, start: float | None
) -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= truth

    found = bisect_rate(holds, 1000, start, tolerance=0.03, max_probes=100)
    assert found is not None
    assert truth / 1.03 <= found <= truth
    assert all(rate <= 1000 for rate in tried)


def test_a_good_start_saves_probes() -> None:
    def probes(start: float | None) -> int:
        tried: list[float] = []
        bisect_rate(
            lambda rate: tried.append(rate) or rate <= 430,  # type: ignore[func-returns-value]
            1000,
            start,
            tolerance=0.03,
            max_probes=100,
        )
        return len(tried)

    assert probes(425) < probes(None)


def test_nothing_holds() -> None:
    assert bisect_rate(lambda _: False, 1000, None, tolerance=0.03, max_probes=50) is None


def test_probes_are_limited() -> None:
    tried: list[float] = []
    bisect_rate(lambda rate: bool(tried.append(rate)), 1000, None, tolerance=0.01, max_probes=4)  # type: ignore[func-returns-value]
    assert len(tried) == 4


def test_the_best_valid_run_is_returned(bench: Bench, tmp_path: Path) -> None:
    job = bench.job(
        "Server", "PerformanceOnly", tmp_path, settings={"server_target_latency_ns": 200_000_000}
    )
    measurement = find_server_qps(job, 12_000, 6000, **LIMITS, tolerance=0.5, max_probes=3)
    assert measurement.valid
    assert measurement.target_qps is not None
    assert 3000 < measurement.target_qps <= 12_000
    assert 1 <= measurement.probes <= 3
    assert Path(measurement.log_folder).parent == tmp_path
    assert measurement.worker_s > measurement.loadgen_s


def test_where_no_rate_holds_the_last_run_says_why(bench: Bench, tmp_path: Path) -> None:
    job = bench.job("Server", "PerformanceOnly", tmp_path, settings={"server_target_latency_ns": 1})
    measurement = find_server_qps(job, 5000, **LIMITS, max_probes=2)
    assert not measurement.valid
    assert measurement.probes == 2
    assert "Reduce target QPS" in measurement.invalid_reason


def test_another_scenario_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs scenario Server"):
        find_server_qps(bench.job("Offline", "PerformanceOnly", tmp_path), 100, **LIMITS)
