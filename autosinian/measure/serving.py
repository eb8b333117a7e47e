"""What our side of LoadGen's Server scenario can be tuned by."""

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
        "batches submitted at once; 0 is one more than the engine's streams (Server)",
        0,
        256,
        rebuild=False,
    ),
)
"""Named in a search space beside the engine's own tunables; `Job.sut` carries their values."""


def serving_tunables(scenarios: tuple[str, ...]) -> tuple[Tunable, ...]:
    """Those that change a measured figure: none without the Server scenario."""
    return SERVER_TUNABLES if "Server" in scenarios else ()
