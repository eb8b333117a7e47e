"""How long a search still takes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome

RECENT = 20


def remaining_seconds(
    outcome: "Outcome", trials_left: int | None, time_left_s: float | None
) -> float | None:
    """Seconds until the trials or the time are used up, whichever is first; None if unknown.

    A trial is taken to last as the recent ones did on average, without the longest and the
    shortest tenth: half of them may stop early at a constraint, so a median would jump.
    """
    durations = [r.duration_s for r in outcome.records if r.state in ("measured", "infeasible")]
    recent = sorted(durations[-RECENT:])
    cut = len(recent) // 10
    kept = recent[cut : len(recent) - cut]
    limits = [] if time_left_s is None else [max(time_left_s, 0.0)]
    if trials_left is not None and kept:
        limits.append(max(trials_left, 0) * sum(kept) / len(kept))
    return min(limits) if limits else None
