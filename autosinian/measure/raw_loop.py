"""The engine without LoadGen: ready batches, submitted as fast as the session takes them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import OnDone, Session
from autosinian.measure.feed import Feed, HostFeed
from autosinian.measure.samples import Samples

Infer = Callable[[int], object]


@dataclass(frozen=True)
class Ready:
    """Full batches of the performance samples, made ready beforehand.

    In host memory they are gathered and contiguous; on a device they are lists of placed rows.
    `infer(n)` runs the first `n` samples of the first batch.
    """

    batch_size: int
    submits: tuple[Callable[[OnDone], None], ...]
    infer: Infer
    wait: Callable[[], None]


def make_ready(session: Session | None, feed: Feed, samples: Samples) -> Ready:
    """The performance samples as full batches; `session` is what a `HostFeed` gathers for."""
    size, count = feed.batch_size, samples.performance_count
    feed.load(list(range(count)))
    rows = np.arange(max(1, count // size) * size) % count
    starts = range(0, len(rows), size)
    if isinstance(feed, HostFeed) and session is not None:
        copied = np.ascontiguousarray(samples.inputs[rows])
        batches = [copied[start : start + size] for start in starts]
        return Ready(
            size,
            tuple(partial(session.submit, batch) for batch in batches),
            lambda n: session.infer(batches[0][:n]),
            session.wait,
        )
    return Ready(
        size,
        tuple(partial(feed.submit, rows[start : start + size]) for start in starts),
        lambda n: feed.infer(rows[:n]),
        feed.wait,
    )


def raw_loop(ready: Ready, seconds: float) -> tuple[float, int, float]:
    """Run for at least `seconds`: samples/s, samples run, and the seconds it took."""
    failures: list[BaseException] = []
    lock = threading.Lock()

    def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
        if logits is None:
            with lock:
                failures.append(error or RuntimeError("the engine gave neither logits nor error"))

    count = 0
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end or not count:
        ready.submits[count % len(ready.submits)](on_done)
        count += 1
    ready.wait()
    took = time.perf_counter() - start
    if failures:
        raise failures[0]
    samples = count * ready.batch_size
    return samples / took, samples, took


def latencies_s(infer: Infer, samples: int, *, repeats: int = 20) -> list[float]:
    """Seconds of each of `repeats` synchronous calls on `samples` samples."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        infer(samples)
        times.append(time.perf_counter() - start)
    return times


def raw_latency_s(ready: Ready, samples: int, seconds: float) -> tuple[float, int, float]:
    """Median time of a synchronous call over `seconds`, the calls made, and what they took."""
    times: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        times += latencies_s(ready.infer, samples)
    return median(times), len(times), time.perf_counter() - start
