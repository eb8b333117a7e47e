"""The engine without LoadGen: ready batches, submitted as fast as the session takes them."""

import threading
import time

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import Session
from autosinian.measure.samples import Samples


def ready_batches(session: Session, samples: Samples) -> list[NDArray[np.float32]]:
    """The performance samples as contiguous full batches, `batch_size x C x H x W` each."""
    size, count = session.batch_size, samples.performance_count
    batches = max(1, count // size)
    rows = np.arange(batches * size) % count
    copied = np.ascontiguousarray(samples.inputs[rows])
    return [copied[start : start + size] for start in range(0, batches * size, size)]


def raw_loop(
    session: Session, batches: list[NDArray[np.float32]], seconds: float
) -> tuple[float, int, float]:
    """Run for at least `seconds`: samples/s, samples run, and the seconds it took."""
    failures: list[BaseException] = []
    lock = threading.Lock()

    def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
        if logits is None:
            with lock:
                failures.append(error or RuntimeError("the engine gave neither logits nor error"))

    count = samples = 0
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end or not count:
        batch = batches[count % len(batches)]
        session.submit(batch, on_done)
        count += 1
        samples += len(batch)
    session.wait()
    took = time.perf_counter() - start
    if failures:
        raise failures[0]
    return samples / took, samples, took


def latency_s(session: Session, batch: NDArray[np.float32], repeats: int = 20) -> float:
    """Shortest time of one synchronous call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.infer(batch)
        times.append(time.perf_counter() - start)
    return min(times)
