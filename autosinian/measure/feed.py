"""How samples reach an engine: gathered in host memory, or placed on the device beforehand."""

import queue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import Int8Session, OnDone, ResidentSession, Session
from autosinian.measure.samples import Samples


class Feed(Protocol):
    """A session that is given sample indices; used by one thread, completes on any thread."""

    @property
    def batch_size(self) -> int:
        """Largest number of samples a call takes."""
        ...

    @property
    def streams(self) -> int:
        """How many submitted batches run at once."""
        ...

    @property
    def depth(self) -> int:
        """Most batches in flight; `submit` blocks while there are as many."""
        ...

    def load(self, indices: list[int]) -> None:
        """Make samples ready, as LoadGen asks; nothing is in flight meanwhile."""
        ...

    def check(self, indices: NDArray[np.int64]) -> None:
        """Raise `IndexError` for an index that is no sample's; `infer` and `submit` rely on it."""
        ...

    def infer(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, `n x classes`, of the loaded samples `indices`."""
        ...

    def submit(self, indices: NDArray[np.int64], on_done: OnDone) -> None:
        """Start a batch of loaded samples; `indices` may be reused as soon as this returns."""
        ...

    def wait(self) -> None:
        """Return when every submitted batch has completed."""
        ...


class HostFeed:
    """Gathers each batch in host memory."""

    def __init__(self, session: Session, samples: Samples) -> None:
        self._session, self._samples = session, samples
        self.batch_size, self.streams = session.batch_size, session.streams
        self.depth = session.depth
        shape = (session.batch_size, *session.input_shape)
        # One more than can be in flight: the next batch is gathered while all are.
        self._buffers: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()
        for _ in range(session.depth + 1):
            self._buffers.put(np.empty(shape, samples.inputs.dtype))
        self._own = np.empty(shape, samples.inputs.dtype)

    def load(self, indices: list[int]) -> None:
        """Bring samples into memory."""
        self._samples.load(indices)

    def check(self, indices: NDArray[np.int64]) -> None:
        """Raise `IndexError` for an index that is no sample's."""
        self._samples.check(indices)

    def infer(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of `indices`, `n x classes`."""
        return self._session.infer(self._samples.gather(indices, self._own))

    def submit(self, indices: NDArray[np.int64], on_done: OnDone) -> None:
        """Gather and start a batch."""
        buffer = self._buffers.get()

        def done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
            on_done(logits, error)
            self._buffers.put(buffer)

        self._session.submit(self._samples.gather(indices, buffer), done)

    def wait(self) -> None:
        """Return when every submitted batch has completed."""
        self._session.wait()


class ResidentFeed:
    """Places loaded samples on the session's device; a batch is then only a list of rows.

    `rows` is where each sample lies on the device, int64; -1 where it is not loaded.
    """

    def __init__(self, session: ResidentSession, samples: Samples) -> None:
        self._session, self._samples = session, samples
        self.batch_size, self.streams = session.batch_size, session.streams
        self.depth = session.depth
        self.rows = np.full(samples.count, -1, np.int64)

    def load(self, indices: list[int]) -> None:
        """Place samples in place of those loaded before, where some are not there already."""
        wanted = np.array(indices, np.int64)
        self._samples.check(wanted)
        if (self.rows[wanted] >= 0).all():
            return
        self._session.place(self._samples.inputs[wanted])
        self.rows[:] = -1
        self.rows[wanted] = np.arange(len(wanted))

    def check(self, indices: NDArray[np.int64]) -> None:
        """Raise `IndexError` for an index that is no sample's."""
        self._samples.check(indices)

    def infer(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of `indices`, `n x classes`."""
        return self._session.infer_rows(self.rows[indices])

    def submit(self, indices: NDArray[np.int64], on_done: OnDone) -> None:
        """Start a batch."""
        self._session.submit_rows(self.rows[indices], on_done)

    def wait(self) -> None:
        """Return when every submitted batch has completed."""
        self._session.wait()


def takes_int8(session: Session) -> bool:
    """Whether samples may be given to `session` as int8."""
    return isinstance(session, Int8Session) and session.takes_int8


def open_feed(session: Session, samples: Samples) -> Feed:
    """The quickest way from `samples` to `session`."""
    if isinstance(session, ResidentSession):
        return ResidentFeed(session, samples)
    return HostFeed(session, samples)
