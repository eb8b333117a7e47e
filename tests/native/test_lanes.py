import numpy as np
import pytest

from autosinian.native.lanes import LaneTable, NativeLane


def lane(batch: int, classes: int = 3) -> NativeLane:
    return NativeLane(
        rows=np.zeros(batch, np.uint64),
        logits=np.zeros((batch, classes), np.float32),
        graphs={4: 40, 1: 10},
        row_scale=12,
        row_base=1 << 40,
        row_fill=7,
        stream=5,
        event=6,
    )


def test_a_lane_is_written_as_plain_addresses() -> None:
    given = lane(4)
    table = LaneTable(1)
    table.fill([given])
    written = table.lanes[0]
    assert [written.sizes[i] for i in range(written.sizes_count)] == [1, 4]
    assert [written.graphs[i] for i in range(2)] == [10, 40]
    assert (written.rows, written.logits) == (given.rows.ctypes.data, given.logits.ctypes.data)
    assert (written.row_scale, written.row_base, written.row_fill) == (12, 1 << 40, 7)
    assert (written.stream, written.event, written.classes) == (5, 6, 3)
    assert not written.start
    assert not written.finish


def test_another_number_of_lanes_is_refused() -> None:
    with pytest.raises(ValueError, match="there must be 2 lanes, got 1"):
        LaneTable(2).fill([lane(4)])
