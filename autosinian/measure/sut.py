"""Systems under test: LoadGen's queries answered by an engine's session, for each scenario.

The sample indices that LoadGen gives choose the samples, always. What a response holds is the
task's (`answers`). LoadGen ends in a segmentation fault when an exception leaves one of its
callbacks, so none does: it goes to `abort`, which ends the process.
"""

import collections
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import OnDone
from autosinian.measure.answers import Answers, Collected
from autosinian.measure.feed import Feed
from autosinian.measure.serving import BatchTimes, one_more
from autosinian.native.loadgen import load

mlperf_loadgen = load()

_NAP_S = 5e-4

Abort = Callable[[BaseException], None]


def _taken(numbers: list[int]) -> NDArray[np.int64]:
    """The numbers as an array, their list emptied.

    LoadGen holds the lists until the callback returns: emptied they give back 40 bytes a number,
    of which an official Offline query has tens of millions. Its ids are addresses, below 2^63.
    """
    array = np.array(numbers, np.int64)
    numbers.clear()
    return array


class Sut(Protocol):
    """One scenario's way to answer; `issue` and `flush` are LoadGen's callbacks."""

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Start on queries `ids` for samples `indices`."""
        ...

    def flush(self) -> None:
        """No more queries follow in this series."""
        ...

    def close(self) -> None:
        """Stop threads."""
        ...


class OfflineSut:
    """All samples in one query: batches in the order given, as many in flight as the session
    takes.

    The thread that completes a batch only takes its answers; this one, which would else wait,
    makes the responses, many at a time, as no latency counts here.
    """

    _RESPONSES_AT_ONCE = 64

    def __init__(self, feed: Feed, answers: Answers, abort: Abort) -> None:
        self._feed, self._answers, self._abort = feed, answers, abort

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Run every batch before returning; both lists are empty then."""
        try:
            self._issue(_taken(ids), _taken(indices))
        except BaseException as failure:  # noqa: BLE001  (ends the process, told)
            self._abort(failure)

    def _issue(self, ids: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self._feed.check(rows)
        collected = self._answers.collect(len(ids))
        size = self._feed.batch_size
        # Starts of batches whose answers are there and whose queries are not yet answered.
        done: collections.deque[int] = collections.deque()

        def answer() -> None:
            while done:
                start = done.popleft()
                collected.complete(ids[start : start + size].tolist(), start)

        pending = max(1, self._RESPONSES_AT_ONCE // size)
        for start in range(0, len(ids), size):
            batch = rows[start : start + size]
            self._feed.submit(batch, self._on_done(collected, batch, done, start))
            if len(done) >= pending:
                answer()
        self._feed.wait()
        answer()

    def _on_done(
        self,
        collected: Collected,
        rows: NDArray[np.int64],
        done: collections.deque[int],
        start: int,
    ) -> OnDone:
        def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
            try:
                if logits is None:
                    raise error or RuntimeError("the engine gave neither logits nor an error")
                collected.take(start, rows, logits)
                done.append(start)
            except BaseException as failure:  # noqa: BLE001  (ends the process, told)
                self._abort(failure)

        return on_done

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """No thread to stop."""


class StreamSut(OfflineSut):
    """SingleStream and MultiStream: a query that fits one batch is answered where it arrives."""

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Answer before returning."""
        if len(ids) > self._feed.batch_size:
            super().issue(ids, indices)
            return
        try:
            rows = np.array(indices, np.int64)
            self._feed.check(rows)
            self._answers.complete(ids, rows, self._feed.infer(rows))
        except BaseException as failure:  # noqa: BLE001  (ends the process, told)
            self._abort(failure)


class ServerSut:
    """Server: one thread makes batches of what has arrived.

    A batch leaves when it is full, or when its first query has waited `deque_timeout_us`
    microseconds; while `in_flight` batches run it goes on growing. With `pace` one that is not
    full does not leave before the one before it has had its time on the device either: batches
    that leave together end together, and then those who have just arrived wait for all of them.
    """

    def __init__(
        self,
        feed: Feed,
        answers: Answers,
        abort: Abort,
        *,
        deque_timeout_us: float = 0.0,
        in_flight: int = 0,
        pace: BatchTimes | None = None,
    ) -> None:
        self._feed, self._answers, self._abort = feed, answers, abort
        self._timeout_s = deque_timeout_us * 1e-6
        self._pace, self._paced_until = pace, 0.0
        self._permits = threading.Semaphore(in_flight or one_more(feed.streams, feed.depth))
        self._arrived: queue.SimpleQueue[tuple[list[int], list[int], float] | None]
        self._arrived = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="server-batches", daemon=True)
        self._thread.start()

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Hand the queries to the batching thread."""
        self._arrived.put((ids, indices, time.perf_counter()))

    def flush(self) -> None:
        """A batch never waits longer than its timeout, so nothing is to be done."""

    def close(self) -> None:
        """Let what has arrived run, then stop the thread."""
        self._arrived.put(None)
        self._thread.join()
        self._feed.wait()

    def _run(self) -> None:
        try:
            while self._serve():
                pass
        except BaseException as failure:  # noqa: BLE001  (ends the process, told)
            self._abort(failure)

    def _serve(self) -> bool:
        """Wait for queries, send them in batches; false when there will be no more."""
        item = self._arrived.get()
        if item is None:
            return False
        ids, indices, since = list(item[0]), list(item[1]), item[2]
        self._permits.acquire()
        size = self._feed.batch_size
        more = True
        leaves = max(since + self._timeout_s, self._paced_until)
        while len(ids) < size:
            try:
                item = self._arrived.get_nowait()
            except queue.Empty:
                left = leaves - time.perf_counter()
                if left <= 0:
                    break
                # Being woken by every query would take the time of those who bring them.
                time.sleep(min(left, _NAP_S))
                continue
            if item is None:
                more = False
                break
            ids += item[0]
            indices += item[1]
        rows = np.array(indices, np.int64)
        self._feed.check(rows)
        for start in range(0, len(ids), size):
            if start:
                self._permits.acquire()
            end = start + size
            if self._pace is not None:
                count = min(size, len(ids) - start)
                self._paced_until = time.perf_counter() + self._pace.of(count)
            self._feed.submit(rows[start:end], self._answer(ids[start:end], rows[start:end]))
        return more

    def _answer(self, ids: list[int], rows: NDArray[np.int64]) -> OnDone:
        def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
            try:
                if logits is None:
                    raise error or RuntimeError("the engine gave neither logits nor an error")
                self._answers.complete(ids, rows, logits)
                self._permits.release()
            except BaseException as failure:  # noqa: BLE001  (ends the process, told)
                self._abort(failure)

        return on_done


class PythonSut:
    """One of the above as LoadGen's binding takes it: `handle`."""

    def __init__(self, sut: Sut) -> None:
        self._sut = sut
        self.handle = int(mlperf_loadgen.ConstructFastSUT(sut.issue, sut.flush))

    def refresh(self) -> None:
        """Samples were loaded; nothing is kept of them here."""

    def close(self) -> None:
        """Let what has arrived complete, then stop."""
        self._sut.close()
        mlperf_loadgen.DestroyFastSUT(self.handle)
