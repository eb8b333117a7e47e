"""Which of the re-measured candidates is exported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autosinian.errors import AutosinianError
from autosinian.export.remeasure import Remeasured
from autosinian.export.separate import Comparison, leader_of
from autosinian.space.rules import Constraint, Metric

SIMPLER = "fewer multiply-adds, fewer parameters, a smaller batch, fewer streams, the earlier trial"
"""What decides a tie, in this order."""


@dataclass(frozen=True)
class Choice:
    """`winner` is exported; `compared` are the others that held, against the leader.

    `open` names those that need more rounds to be told from the leader; `tied` those that were
    called equal to it, among which the simplest was taken. `passed_over` says of others that would
    have been chosen before it what they miss on the final samples.
    """

    winner: Remeasured
    leader: Remeasured
    compared: tuple[Comparison, ...]
    passed_over: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> list[str]:
        """Names of those that more rounds may separate."""
        return [c.name for c in self.compared if c.verdict == "open"]

    @property
    def tied(self) -> list[str]:
        """Names of those that are as good as the leader, as far as can be told."""
        return [c.name for c in self.compared if _is_equal(c)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return {
            "leader": self.leader.contender.name,
            "tied": self.tied,
            "compared": [comparison.to_dict() for comparison in self.compared],
            "of_equals": SIMPLER,
            "passed_over": dict(self.passed_over),
        }

    def __str__(self) -> str:
        name = self.winner.contender.name
        if not self.compared:
            return f"chosen: {name}"
        if not self.tied:
            return f"chosen: {name}, apart from every other"
        equal = ", ".join(sorted({self.leader.contender.name, *self.tied} - {name}))
        return f"chosen: {name}, a tie with {equal}; it is the simpler"


def choose(
    remeasured: Sequence[Remeasured],
    deciding: Metric,
    rules: Sequence[Constraint],
    reference: Mapping[str, float],
    level: float,
) -> Choice:
    """The candidate whose deciding figure is best; of those that cannot be told apart the simplest.

    The leader is the best at the pessimistic end of its interval, unless another is better than it
    in pairs. Candidates that failed, or whose mean misses a constraint, are out. What is open
    counts as equal, except where its figures scatter too much to say so. `level` is that of all
    comparisons together (Bonferroni). Raises `AutosinianError` with each candidate's reason where
    all are out.
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
    each = 1.0 - (1.0 - level) / max(1, len(left) - 1)
    leader, compared = leader_of(left, bounds, deciding, each)
    equal = {leader.contender.name, *(c.name for c in compared if _is_equal(c))}
    winner = min((e for e in left if e.contender.name in equal), key=_complexity)
    return Choice(winner, leader, tuple(compared))


def _is_equal(comparison: Comparison) -> bool:
    return comparison.verdict == "tie" or (comparison.verdict == "open" and not comparison.wild)


def _complexity(entry: Remeasured) -> tuple[float, float, int, int, int]:
    """What `SIMPLER` says, as a key of which the least is the simplest."""
    metrics, engine = entry.contender.metrics, entry.contender.candidate.engine
    return (
        metrics.get("macs", 0.0),
        metrics.get("parameters", 0.0),
        engine.batch_size,
        int(dict(engine.options).get("streams", 1)),
        entry.contender.trial or 0,
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
    return missed(entry.contender.metrics | entry.means(), rules, reference)


def missed(
    metrics: Mapping[str, float], rules: Sequence[Constraint], reference: Mapping[str, float]
) -> str:
    """The first constraint that figures miss, in words; empty where they hold all."""
    for rule in rules:
        value = metrics[str(rule.metric)]
        if rule.violation(value, reference) > 0:
            return f"misses `{rule.text}` ({value:.4g} against {rule.bound(reference):.4g})"
    return ""
