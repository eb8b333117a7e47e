"""How many batches of Server are submitted at once, and when."""

import queue
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.engine.protocol import OnDone
from autosinian.measure.answers import answers_for
from autosinian.measure.loadgen_run import IN_FLIGHT
from autosinian.measure.serving import BatchTimes, batches_in_flight
from autosinian.measure.sut import ServerSut
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


def test_a_batchs_time_lies_between_those_of_one_sample_and_of_a_full_one() -> None:
    times = BatchTimes(one=1.0, full=4.0, size=4)
    assert [times.of(count) for count in (1, 2, 4)] == [1.0, 2.0, 4.0]
    assert BatchTimes(one=2.0, full=2.0, size=1).of(1) == 2.0


class HeldFeed:
    """Notes what is submitted and completes nothing."""

    batch_size, streams, depth = 4, 2, 4

    def __init__(self) -> None:
        self.submitted: queue.SimpleQueue[int] = queue.SimpleQueue()

    def load(self, indices: list[int]) -> None:
        """Nothing to load."""

    def check(self, indices: NDArray[np.int64]) -> None:
        """Every index is right."""

    def infer(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.zeros((len(indices), 2), np.float32)

    def submit(self, indices: NDArray[np.int64], on_done: OnDone) -> None:
        self.submitted.put(len(indices))

    def wait(self) -> None:
        """Nothing completes."""


def test_a_full_batch_leaves_at_once_and_a_partial_one_in_the_time_of_the_one_before() -> None:
    feed = HeldFeed()
    pace = BatchTimes(one=3600.0, full=3600.0, size=4)

    def abort(failure: BaseException) -> None:
        raise failure

    sut = ServerSut(feed, answers_for({}), abort, in_flight=4, pace=pace)
    sut.issue([1], [0])  # the first waits for nobody
    assert feed.submitted.get(timeout=60) == 1
    sut.issue([2], [0])
    with pytest.raises(queue.Empty):
        feed.submitted.get(timeout=0.3)
    sut.issue([3, 4, 5], [1, 2, 3])
    assert feed.submitted.get(timeout=60) == 4
    sut.issue([6], [0])
    sut.close()  # nothing follows that it could wait for
    assert feed.submitted.get(timeout=60) == 1
