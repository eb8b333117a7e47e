"""Which of the re-measured candidates is exported."""

from collections.abc import Mapping, Sequence

from autosinian.errors import AutosinianError
from autosinian.export.remeasure import Remeasured
from autosinian.space.rules import Constraint, Metric

TIE = 0.01
"""Bounds within this share of the best one are a tie: no measurement here separates them."""


def choose(
    remeasured: Sequence[Remeasured],
    deciding: Metric,
    rules: Sequence[Constraint],
    reference: Mapping[str, float],
    level: float,
) -> Remeasured:
    """The candidate whose deciding figure is best at the pessimistic end of its interval.

    That is the lower confidence bound of samples/s and the upper one of a latency. Candidates
    that failed, or whose mean misses a constraint, are out. Ties go to the network of fewer
    multiply-adds, then to the better bound, then to the earlier trial. Raises `AutosinianError`
    with each candidate's reason where all are out.
    """
    reasons = {entry.contender.name: refusal(entry, rules, reference) for entry in remeasured}
    left = [entry for entry in remeasured if not reasons[entry.contender.name]]
    if not left:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise AutosinianError(
            f"one of the best {len(remeasured)} must hold when measured again, but none did "
            f"({told}); raise `--top` or search on"
        )
    sign = 1.0 if deciding.maximized else -1.0
    bounds = {entry.contender.name: sign * bound(entry, deciding, level) for entry in left}
    best = max(bounds.values())
    tied = [e for e in left if bounds[e.contender.name] >= best - TIE * abs(best)]
    return min(
        tied,
        key=lambda e: (
            e.contender.metrics.get("macs", 0.0),
            -bounds[e.contender.name],
            e.contender.trial or 0,
        ),
    )


def bound(entry: Remeasured, metric: Metric, level: float) -> float:
    """The pessimistic end of a metric's interval; the search's figure of what is not timed."""
    if not metric.scenario:
        return entry.contender.metrics[str(metric)]
    return entry.interval(str(metric), level).pessimistic(maximized=metric.maximized)


def refusal(entry: Remeasured, rules: Sequence[Constraint], reference: Mapping[str, float]) -> str:
    """Why a candidate cannot be exported; empty where it can.

    Constraints are held against the new means, and against the search's figures of what is not
    timed; `reference` is the baseline's, measured in the same rounds.
    """
    if entry.failure:
        return entry.failure
    metrics = entry.contender.metrics | entry.means()
    for rule in rules:
        value = metrics[str(rule.metric)]
        if rule.violation(value, reference) > 0:
            return f"misses `{rule.text}` ({value:.4g} against {rule.bound(reference):.4g})"
    return ""
