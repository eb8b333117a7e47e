"""A session's lanes as the compiled systems under test see them; the structures of `sut.cc`."""

import ctypes
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

START = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)
FINISH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
ABORT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


@dataclass(frozen=True)
class NativeLane:
    """One batch in flight as plain addresses; whoever made it keeps them valid.

    `rows` (uint64, the largest batch) receives `row * row_scale + row_base` for each sample, and
    `row_fill` beyond the batch; `logits` is `largest x classes`. `graphs` are handles of
    executable CUDA graphs by batch size, launched in `stream`, after which `event` is recorded.
    A lane that is no CUDA graph gives `sizes`, `start(size, count)` and `finish()` instead.
    """

    rows: NDArray[np.uint64]
    logits: NDArray[np.float32]
    row_scale: int = 1
    row_base: int = 0
    row_fill: int = 0
    graphs: Mapping[int, int] = field(default_factory=dict)
    stream: int = 0
    event: int = 0
    sizes: tuple[int, ...] = ()
    start: Callable[[int, int], None] | None = None
    finish: Callable[[], None] | None = None


@runtime_checkable
class NativeSession(Protocol):
    """A session whose lanes can be started without Python."""

    def native_lanes(self) -> Sequence[NativeLane] | None:
        """`streams` times as many lanes, stream by stream, then one more on a stream of its own.

        None where these options leave work to Python. Asked again whenever samples were placed.
        """
        ...


class _Lane(ctypes.Structure):
    _fields_ = (
        ("stream", ctypes.c_void_p),
        ("event", ctypes.c_void_p),
        ("graphs", ctypes.POINTER(ctypes.c_void_p)),
        ("sizes", ctypes.POINTER(ctypes.c_int32)),
        ("sizes_count", ctypes.c_int32),
        ("classes", ctypes.c_int32),
        ("rows", ctypes.c_void_p),
        ("row_scale", ctypes.c_uint64),
        ("row_base", ctypes.c_uint64),
        ("row_fill", ctypes.c_uint64),
        ("logits", ctypes.c_void_p),
        ("start", START),
        ("finish", FINISH),
        ("self", ctypes.c_void_p),
    )


class _Session(ctypes.Structure):
    _fields_ = (
        ("streams", ctypes.c_int32),
        ("lanes_a_stream", ctypes.c_int32),
        ("batch_size", ctypes.c_int32),
        ("inline_answers", ctypes.c_int32),
        ("batches_queries", ctypes.c_int32),
        ("in_flight", ctypes.c_int32),
        ("deque_timeout_us", ctypes.c_double),
        ("pace_one_us", ctypes.c_double),
        ("pace_full_us", ctypes.c_double),
        ("lanes", ctypes.POINTER(_Lane)),
        ("row_of", ctypes.c_void_p),
        ("samples", ctypes.c_int64),
        ("abort", ABORT),
    )


class LaneTable:
    """The lanes in memory that the compiled part reads; `fill` may be called again."""

    def __init__(self, count: int) -> None:
        self.lanes = (_Lane * count)()
        self._kept: list[object] = []

    def fill(self, lanes: Sequence[NativeLane]) -> None:
        """Write every lane; nothing may be in flight. Raises `ValueError` for another number."""
        if len(lanes) != len(self.lanes):
            raise ValueError(f"there must be {len(self.lanes)} lanes, got {len(lanes)}")
        kept: list[object] = [lanes]
        for target, lane in zip(self.lanes, lanes, strict=True):
            sizes = sorted(lane.graphs) or sorted(lane.sizes)
            number = (ctypes.c_int32 * len(sizes))(*sizes)
            graphs = (ctypes.c_void_p * len(sizes))(*(lane.graphs.get(size) for size in sizes))
            start, finish = _callbacks(lane)
            kept += [number, graphs, start, finish]
            target.stream, target.event = lane.stream, lane.event
            target.graphs = ctypes.cast(graphs, ctypes.POINTER(ctypes.c_void_p))
            target.sizes = ctypes.cast(number, ctypes.POINTER(ctypes.c_int32))
            target.sizes_count, target.classes = len(sizes), lane.logits.shape[1]
            target.rows, target.logits = lane.rows.ctypes.data, lane.logits.ctypes.data
            target.row_scale, target.row_base = lane.row_scale, lane.row_base
            target.row_fill = lane.row_fill
            target.start, target.finish = start, finish
        self._kept = kept


def session_structure(
    table: LaneTable,
    *,
    streams: int,
    batch_size: int,
    scenario: str,
    row_of: NDArray[np.int64],
    in_flight: int,
    deque_timeout_us: float,
    pace_us: tuple[float, float],
    abort: "ctypes._FuncPointer",
) -> _Session:
    """What `autosinian_sut_open` takes; everything in it must outlive the system under test.

    `pace_us` are the times of a batch of one sample and of a full one, 0 without pacing.
    """
    return _Session(
        streams=streams,
        lanes_a_stream=(len(table.lanes) - 1) // streams,
        batch_size=batch_size,
        inline_answers=int(scenario in ("SingleStream", "MultiStream")),
        batches_queries=int(scenario == "Server"),
        in_flight=in_flight,
        deque_timeout_us=deque_timeout_us,
        pace_one_us=pace_us[0],
        pace_full_us=pace_us[1],
        lanes=ctypes.cast(table.lanes, ctypes.POINTER(_Lane)),
        row_of=row_of.ctypes.data,
        samples=len(row_of),
        abort=abort,
    )


def _callbacks(lane: NativeLane) -> "tuple[ctypes._FuncPointer, ctypes._FuncPointer]":
    if lane.start is None or lane.finish is None:
        return START(), FINISH()
    start, finish = lane.start, lane.finish

    def started(_: int, size: int, count: int) -> int:
        return _status(lambda: start(size, count))

    def finished(_: int) -> int:
        return _status(finish)

    return START(started), FINISH(finished)


def _status(work: Callable[[], None]) -> int:
    """0, or 1 where `work` raised: no exception may reach the compiled part."""
    try:
        work()
    except BaseException:  # noqa: BLE001  (printed, and told as a failure by the caller)
        traceback.print_exc()
        return 1
    return 0
