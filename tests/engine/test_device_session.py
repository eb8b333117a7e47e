import threading
import time

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.device_session import DeviceSession, waits_asleep


class HeldLane:
    """Finishes when it is told to."""

    def __init__(self, stream: int, started: list[int]) -> None:
        self._stream, self._started = stream, started
        self.may_finish = threading.Event()

    def stage(self, inputs: NDArray[np.float32]) -> None:
        """Nothing is read."""

    def select(self, rows: NDArray[np.int64]) -> None:
        """Nothing is read."""

    def start(self, count: int, *, placed: bool) -> None:
        self.may_finish.clear()
        self._started.append(self._stream)

    def finish(self) -> None:
        assert self.may_finish.wait(60)

    def logits(self, count: int) -> NDArray[np.float32]:
        return np.zeros((count, 2), np.float32)


def test_only_long_batches_are_waited_for_asleep() -> None:
    assert not waits_asleep(0.25e-3)
    assert waits_asleep(2.8e-3)


def test_a_batch_goes_to_the_stream_with_the_fewest_in_flight() -> None:
    started: list[int] = []
    lanes = [[HeldLane(stream, started) for _ in range(2)] for stream in range(2)]
    session = DeviceSession(
        lanes,
        HeldLane(-1, started),
        batch_size=1,
        input_shape=(1, 1, 1),
        classes=2,
        place=lambda samples: None,
        release=lambda: None,
    )
    done = threading.Semaphore(0)
    image = np.zeros((1, 1, 1, 1), np.float32)

    def submit() -> None:
        session.submit(image, lambda logits, error: done.release())

    submit()
    submit()
    assert started == [0, 1]
    lanes[1][0].may_finish.set()
    assert done.acquire(timeout=60)
    time.sleep(0.2)  # a lane is given back after its callback
    submit()
    assert started == [0, 1, 1]
    for lane in (*lanes[0], *lanes[1]):
        lane.may_finish.set()
    session.wait()
    session.close()
