"""The compiled systems under test, where they were compiled and the session lets them work."""

import ctypes
from collections.abc import Callable
from types import ModuleType

from autosinian.engine.protocol import Session
from autosinian.measure.feed import Feed, ResidentFeed
from autosinian.measure.serving import BatchTimes, one_more
from autosinian.native.lanes import ABORT, LaneTable, NativeSession, session_structure

Abort = Callable[[BaseException], None]


class NativeSut:
    """One system under test in C++; `handle` is what LoadGen's binding takes.

    `refresh` must be called whenever samples were loaded, and `close` before the session's.
    """

    def __init__(
        self,
        loadgen: ModuleType,
        session: NativeSession,
        feed: ResidentFeed,
        abort: Abort,
        *,
        scenario: str,
        deque_timeout_us: float,
        in_flight: int,
        pace: BatchTimes | None,
    ) -> None:
        self._library = ctypes.CDLL(str(loadgen.__file__))
        self._session = session
        lanes = session.native_lanes()
        assert lanes is not None
        self._table = LaneTable(len(lanes))
        self._table.fill(lanes)
        # LoadGen's threads hold no exception: the process ends, told.
        self._abort = ABORT(lambda reason: abort(RuntimeError(reason.decode())))
        self._structure = session_structure(
            self._table,
            streams=feed.streams,
            batch_size=feed.batch_size,
            scenario=scenario,
            row_of=feed.rows,
            in_flight=in_flight or one_more(feed.streams, feed.depth),
            deque_timeout_us=deque_timeout_us,
            pace_us=(pace.one * 1e6, pace.full * 1e6) if pace else (0.0, 0.0),
            abort=self._abort,
        )
        opened = self._library.autosinian_sut_open
        opened.restype, opened.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
        self.handle = int(opened(ctypes.addressof(self._structure)))

    def refresh(self) -> None:
        """Read the lanes again; nothing may be in flight."""
        lanes = self._session.native_lanes()
        if lanes is not None:
            self._table.fill(lanes)

    def close(self) -> None:
        """Let what has arrived complete, then end its threads."""
        closed = self._library.autosinian_sut_close
        closed.restype, closed.argtypes = None, [ctypes.c_size_t]
        closed(self.handle)


def native_sut(
    loadgen: ModuleType,
    session: Session | None,
    feed: Feed,
    abort: Abort,
    *,
    scenario: str,
    deque_timeout_us: float,
    in_flight: int,
    pace: BatchTimes | None,
) -> NativeSut | None:
    """The compiled one, None where LoadGen's module has none or the session needs Python."""
    if not hasattr(ctypes.CDLL(str(loadgen.__file__)), "autosinian_sut_open"):
        return None
    if not isinstance(feed, ResidentFeed) or not isinstance(session, NativeSession):
        return None
    if session.native_lanes() is None:
        return None
    return NativeSut(
        loadgen,
        session,
        feed,
        abort,
        scenario=scenario,
        deque_timeout_us=deque_timeout_us,
        in_flight=in_flight,
        pace=pace,
    )
