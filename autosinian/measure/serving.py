"""What our side of LoadGen's Server scenario can be tuned by."""

from dataclasses import dataclass

from autosinian.engine.protocol import Tunable

SERVER_TUNABLES = (
    Tunable(
        "deque_timeout_us",
        0,
        "microseconds that a batch waits to fill, from its first query on (Server)",
        0,
        1_000_000,
        rebuild=False,
    ),
    Tunable(
        "in_flight",
        0,
        "batches submitted at once; 0 is one more than the engine's streams, as far as the latency "
        "bound allows (Server)",
        0,
        256,
        rebuild=False,
    ),
)
"""Named in a search space beside the engine's own tunables; `Job.sut` carries their values."""


def serving_tunables(scenarios: tuple[str, ...]) -> tuple[Tunable, ...]:
    """Those that change a measured figure: none without the Server scenario."""
    return SERVER_TUNABLES if "Server" in scenarios else ()


@dataclass(frozen=True)
class BatchTimes:
    """For how many seconds a batch of `one` sample, and a `full` one of `size`, keep the device
    from other work while all streams are busy."""

    one: float
    full: float
    size: int

    def of(self, count: int) -> float:
        """The time of a batch of `count` samples, between the two."""
        share = (count - 1) / (self.size - 1) if self.size > 1 else 1.0
        return self.one + share * (self.full - self.one)


_WITHOUT_DELAY = 0.75
"""The share of a latency bound that regular batches may take: some end later than they should."""


def batches_in_flight(streams: int, depth: int, *, each_s: float, bound_s: float) -> int:
    """How many batches of Server to submit at once where nobody says it.

    One more than the streams, so that the next is there when one ends. A query waits for all of
    them and for its own, and a batch ends every `each_s` seconds when all streams are busy: where
    that would come near `bound_s`, no more than the streams. Never more than the `depth` of the
    session.
    """
    more = one_more(streams, depth)
    return more if (more + 1) * each_s <= _WITHOUT_DELAY * bound_s else min(depth, streams)


def one_more(streams: int, depth: int) -> int:
    """One batch more than the streams, as far as the `depth` of the session allows."""
    return min(depth, streams + 1)
