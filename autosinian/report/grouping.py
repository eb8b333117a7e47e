"""What failed and why, in groups; and where the time went."""

import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?|0x[0-9a-f]+")


@dataclass(frozen=True)
class Group:
    """Trials that are infeasible for the same reason up to its numbers; `example` is the first."""

    example: str
    trials: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """One stage over all trials that reached it; `share` is of all stages' time together."""

    name: str
    trials: int
    median_s: float
    total_s: float
    share: float


def group_reasons(outcome: "Outcome") -> list[Group]:
    """Infeasible trials by reason, the largest group first."""
    groups: dict[str, list[int]] = {}
    examples: dict[str, str] = {}
    for record in outcome.records:
        if record.state != "infeasible":
            continue
        # Two causes may fall on one trial; together they are a reason of their own.
        reason = " ".join(record.reason.split()) or "no reason was recorded"
        key = _NUMBER.sub("#", reason)
        groups.setdefault(key, []).append(record.number)
        examples.setdefault(key, reason)
    found = [Group(examples[key], tuple(trials)) for key, trials in groups.items()]
    return sorted(found, key=lambda group: (-len(group.trials), group.trials))


def stage_times(outcome: "Outcome") -> list[Stage]:
    """Every stage in the order in which trials pass it."""
    seconds: dict[str, list[float]] = {}
    for record in outcome.records:
        if record.evaluation is not None:
            for name, spent in record.evaluation.stage_s.items():
                seconds.setdefault(name, []).append(spent)
    total = sum(map(sum, seconds.values()))
    return [
        Stage(name, len(spent), median(spent), sum(spent), sum(spent) / total if total else 0.0)
        for name, spent in seconds.items()
    ]


def median_overhead_s(outcome: "Outcome") -> float | None:
    """Median over measured trials of the seconds beyond inference and LoadGen's own run time."""
    spent = [r.evaluation.overhead_s for r in outcome.records if r.evaluation and r.feasible]
    return median(spent) if spent else None
