"""Whether re-measured candidates differ at all, by the pairs of their interleaved rounds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from autosinian.export.remeasure import Remeasured
from autosinian.export.statistics import confidence_interval
from autosinian.space.rules import Metric

TIE = 0.01
"""Candidates within this share of each other are a tie: nobody would notice the difference."""

WILD = 0.05
"""Half-width, as a share, from which an interval says too little to call two candidates equal."""

Verdict = Literal["separated", "better", "tie", "open"]


@dataclass(frozen=True)
class Comparison:
    """A candidate against the leader: the ratio of their figures, above 1 where it is better.

    `separated`: it is worse than the leader, `better`: better, whatever the noise. `tie`: within
    `TIE` of it. `open`: more rounds are needed. `low` and `high` bound the mean ratio.
    """

    name: str
    leader: str
    ratio: float
    low: float
    high: float
    verdict: Verdict
    rounds: int

    @property
    def wild(self) -> bool:
        """Whether so little is known of the ratio that the two cannot be called equal."""
        return (self.high - self.low) / 2 > WILD

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return asdict(self)


def compare(leader: Remeasured, other: Remeasured, metric: Metric, level: float) -> Comparison:
    """`other` against `leader` by a t interval of the mean log ratio over common rounds.

    What the machine does to a round does it to both of its runs, so it cancels in their ratio. A
    figure that is not timed is the search's own: it has one value, and no noise to wait out.
    """
    sign = 1.0 if metric.maximized else -1.0
    name, ahead = other.contender.name, leader.contender.name
    if not metric.scenario:
        mine, its = leader.contender.metrics[str(metric)], other.contender.metrics[str(metric)]
        ratio = (its / mine) ** sign if mine > 0 and its > 0 else 1.0
        return Comparison(name, ahead, ratio, ratio, ratio, _verdict(ratio, ratio), 1)
    pairs = zip(leader.values[str(metric)], other.values[str(metric)], strict=False)
    logs = [sign * math.log(its / mine) for mine, its in pairs]
    found = confidence_interval(logs, level)
    low, high = math.exp(found.low), math.exp(found.high)
    return Comparison(name, ahead, math.exp(found.mean), low, high, _verdict(low, high), len(logs))


def leader_of(
    entries: Sequence[Remeasured], bounds: dict[str, float], metric: Metric, level: float
) -> tuple[Remeasured, list[Comparison]]:
    """The candidate that none is better than, and the others against it.

    Begins with the best bound; a candidate that is better in pairs takes the lead.
    """
    leader = max(entries, key=lambda e: (bounds[e.contender.name], -(e.contender.trial or 0)))
    for _ in entries:
        found = [compare(leader, e, metric, level) for e in entries if e is not leader]
        better = [c for c in found if c.verdict == "better"]
        if not better:
            break
        name = max(better, key=lambda c: c.ratio).name
        leader = next(e for e in entries if e.contender.name == name)
    return leader, [compare(leader, e, metric, level) for e in entries if e is not leader]


def _verdict(low: float, high: float) -> Verdict:
    if low >= 1 - TIE and high <= 1 + TIE:
        return "tie"
    if high < 1:
        return "separated"
    return "better" if low > 1 else "open"
