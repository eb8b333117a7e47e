"""Batches on a device that works on its own: lanes that start and finish, in streams.

A lane is one batch in flight with its own buffers. A stream runs its lanes one after another, in
the order of their starts; several streams run at once. The thread that submits only starts
lanes; one thread a stream waits for them and calls back.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import OnDone
from autosinian.native.lanes import NativeLane


class Lane(Protocol):
    """One batch in flight. `stage` or `select` comes first, then `start`, then `finish`."""

    def stage(self, inputs: NDArray[np.float32]) -> None:
        """Copy `inputs`, `n x C x H x W`, to where `start` reads them."""
        ...

    def select(self, rows: NDArray[np.int64]) -> None:
        """Have `start` read the placed samples `rows`, `n`; they are copied."""
        ...

    def start(self, count: int, *, placed: bool) -> None:
        """Begin on the first `count` rows, of the placed samples or the staged inputs; returns
        without waiting."""
        ...

    def finish(self) -> None:
        """Wait for what was started, without Python's lock; raises what went wrong."""
        ...

    def logits(self, count: int) -> NDArray[np.float32]:
        """`count x classes` of the finished batch, in the lane's own memory."""
        ...


@runtime_checkable
class GraphLane(Lane, Protocol):
    """A lane that may be one CUDA graph for each batch size."""

    def native(self) -> NativeLane | None:
        """Its graphs and buffers as addresses; None where Python has work to do as well."""
        ...


def native_lane(lane: Lane) -> NativeLane | None:
    """The lane as the compiled systems under test see it, None where they cannot start it."""
    return lane.native() if isinstance(lane, GraphLane) else None


# Waking a thread takes Linux some 0.05 ms, which the batch that lies ready beside it hides.
_ASLEEP_FROM_S = 1e-3


def waits_asleep(batch_s: float) -> bool:
    """Whether a stream's thread should sleep, not spin, until a batch of so many seconds ends.

    Where more threads want to run than there are cores, one that spins has used up its turn when
    the batch ends, and gets its next only after those of others, milliseconds later. One that
    sleeps is soon run: `benchmarks/waits_under_load.py`.
    """
    return batch_s >= _ASLEEP_FROM_S


Place = Callable[[NDArray[np.float32]], None]
Release = Callable[[], None]


class _Started(NamedTuple):
    lane: Lane
    rows: int
    on_done: OnDone


class _FreeLanes:
    """The lanes that run nothing, by stream. One thread takes and waits, others give back."""

    def __init__(self, lanes: Sequence[Sequence[Lane]]) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._free = [list(of_stream) for of_stream in lanes]
        self._count = self._all = sum(len(of_stream) for of_stream in lanes)

    def take(self) -> tuple[int, Lane]:
        """A lane, and its stream's number: of the stream with the fewest batches in flight, as two
        on one are computed one after the other. Waits while no lane is free."""
        with self._changed:
            while not self._count:
                self._changed.wait()
            self._count -= 1
            counts = [len(of_stream) for of_stream in self._free]
            number = counts.index(max(counts))
            return number, self._free[number].pop(0)

    def put(self, number: int, lane: Lane) -> None:
        """Give back a lane of stream `number`."""
        with self._changed:
            self._free[number].append(lane)
            self._count += 1
            self._changed.notify()

    def wait(self) -> None:
        """Return when every lane is free."""
        with self._changed:
            while self._count < self._all:
                self._changed.wait()


class _Stream:
    """The thread that waits for one stream's lanes."""

    def __init__(self, number: int, free: _FreeLanes) -> None:
        self.started: queue.SimpleQueue[_Started | None] = queue.SimpleQueue()
        self._number = number
        self._free = free
        self._thread = threading.Thread(target=self._run, name=f"stream-{number}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let what was started complete, then end the thread."""
        self.started.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self.started.get()) is not None:
            try:
                item.lane.finish()
            except (RuntimeError, ValueError, MemoryError) as error:
                item.on_done(None, error)
            else:
                item.on_done(item.lane.logits(item.rows), None)
            self._free.put(self._number, item.lane)


class DeviceSession:
    """See `autosinian.engine.protocol.ResidentSession`.

    `lanes[s]` are the lanes of stream `s`, as many for each; `own` is one more on a stream of its
    own, for `infer`. `place` puts samples where the lanes' `select` finds them; `release` frees
    the device's memory.
    """

    def __init__(
        self,
        lanes: Sequence[Sequence[Lane]],
        own: Lane,
        *,
        batch_size: int,
        input_shape: tuple[int, int, int],
        classes: int,
        place: Place,
        release: Release,
        takes_int8: bool = False,
    ) -> None:
        self.takes_int8 = takes_int8
        self.batch_size = batch_size
        self.input_shape = input_shape
        self.classes = classes
        self.streams = len(lanes)
        self.depth = sum(len(of_stream) for of_stream in lanes)
        self._own = own
        self._lanes = [lane for of_stream in lanes for lane in of_stream]
        self._place, self._release = place, release
        self._placed = 0
        self._free = _FreeLanes(lanes)
        self._threads = [_Stream(number, self._free) for number in range(len(lanes))]
        self._closed = False

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, `n x classes`, of `inputs`, `n x C x H x W`."""
        self._check_inputs(inputs)
        self._own.stage(inputs)
        return self._answer(len(inputs), placed=False)

    def infer_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, `n x classes`, of the placed samples `rows`."""
        self._check_rows(rows)
        self._own.select(rows)
        return self._answer(len(rows), placed=True)

    def submit(self, inputs: NDArray[np.float32], on_done: OnDone) -> None:
        """Start a batch; blocks while `depth` batches are in flight."""
        self._check_inputs(inputs)
        number, lane = self._free.take()
        try:
            lane.stage(inputs)
            lane.start(len(inputs), placed=False)
        except BaseException:
            self._free.put(number, lane)
            raise
        self._threads[number].started.put(_Started(lane, len(inputs), on_done))

    def submit_rows(self, rows: NDArray[np.int64], on_done: OnDone) -> None:
        """Start a batch of placed samples; blocks while `depth` batches are in flight."""
        self._check_rows(rows)
        number, lane = self._free.take()
        try:
            lane.select(rows)
            lane.start(len(rows), placed=True)
        except BaseException:
            self._free.put(number, lane)
            raise
        self._threads[number].started.put(_Started(lane, len(rows), on_done))

    def place(self, samples: NDArray[np.float32]) -> None:
        """Make `samples`, `N x C x H x W`, the rows that `submit_rows` names."""
        self._check_open()
        if not self._takes(samples) or samples.shape[1:] != self.input_shape:
            raise ValueError(
                f"samples must be float32, N x {_by(self.input_shape)}, got {samples.dtype}, "
                f"{_by(samples.shape)}"
            )
        self.wait()
        self._placed = 0  # where placing fails, those before are gone too
        self._place(samples)
        self._placed = len(samples)

    def native_lanes(self) -> Sequence[NativeLane] | None:
        """See `autosinian.native.lanes.NativeSession`; None unless every lane is one CUDA graph."""
        found = [native_lane(lane) for lane in (*self._lanes, self._own)]
        return None if None in found else [lane for lane in found if lane is not None]

    def wait(self) -> None:
        """Return when every submitted batch has completed, its callback included."""
        self._check_open()
        self._free.wait()

    def close(self) -> None:
        """Let what runs complete, then free everything; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for thread in self._threads:
            thread.stop()
        self._release()

    def _answer(self, count: int, *, placed: bool) -> NDArray[np.float32]:
        self._own.start(count, placed=placed)
        self._own.finish()
        return self._own.logits(count).copy()

    def _check_inputs(self, inputs: NDArray[np.float32]) -> None:
        self._check_open()
        fits = (
            self._takes(inputs)
            and inputs.ndim == 4
            and 1 <= inputs.shape[0] <= self.batch_size
            and inputs.shape[1:] == self.input_shape
        )
        if not fits:
            raise ValueError(
                f"inputs must be float32, n x {_by(self.input_shape)} with 1 <= n <= "
                f"{self.batch_size}, got {inputs.dtype}, {_by(inputs.shape)}"
            )

    def _takes(self, samples: NDArray[Any]) -> bool:
        return samples.dtype == np.float32 or (self.takes_int8 and samples.dtype == np.int8)

    def _check_rows(self, rows: NDArray[np.int64]) -> None:
        self._check_open()
        if rows.dtype != np.int64 or rows.ndim != 1 or not 1 <= len(rows) <= self.batch_size:
            raise ValueError(
                f"rows must be int64, n with 1 <= n <= {self.batch_size}, got {rows.dtype}, "
                f"{_by(rows.shape)}"
            )
        # What is out of range would be read from foreign memory.
        if not 0 <= int(rows.min()) <= int(rows.max()) < self._placed:
            raise ValueError(
                f"rows must be those of placed samples, 0 to {self._placed - 1}, got "
                f"{int(rows.min())} to {int(rows.max())}"
            )

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the session is closed; open the engine file again")


def batch_sizes(batch_size: int, partial: str) -> tuple[int, ...]:
    """The batch sizes a session is prepared for, ascending; a partial batch takes the next larger.

    `pad` prepares `batch_size` alone, `ladder` also the powers of two below it.
    """
    if partial == "pad":
        return (batch_size,)
    return (*(1 << n for n in range((batch_size - 1).bit_length())), batch_size)


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
