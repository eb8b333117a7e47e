"""Which constraint bound: how many trials each refused, and how near to it the best is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autosinian.report.figures import amount, points

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome, Record
    from autosinian.space.rules import Constraint


@dataclass(frozen=True)
class Binding:
    """One constraint. `bound` and `best` are text with units, empty where there are none.

    `refused` counts trials that missed it, `alone` those that missed nothing else. `slack` is how
    far the best is from the bound: accuracy in points, all else in percent of the bound.
    """

    text: str
    bound: str
    refused: int
    alone: int
    best: str
    slack: str


def bindings(outcome: "Outcome") -> list[Binding]:
    """Every constraint of the study, the one that refused most trials first.

    A trial that crashed is told to the sampler as missing all of them; here it counts for none of
    the measured figures, whose values nobody knows.
    """
    rules = {rule.text: rule for rule in outcome.document.rules}
    names = list(rules)
    for record in outcome.records:
        names += [name for name in record.violations if name not in names]
    missed = {record.number: _missed(record, rules) for record in outcome.records}
    best = outcome.best
    found = []
    for name in names:
        refused = [texts for texts in missed.values() if name in texts]
        rule = rules.get(name)
        bound = shown = slack = ""
        if rule is not None and (rule.factor == 0 or str(rule.metric) in outcome.reference):
            metric = str(rule.metric)
            sense = "\u2265" if rule.at_least else "\u2264"
            bound = f"{sense} {amount(metric, rule.bound(outcome.reference))}"
            if best is not None and metric in best.metrics:
                shown = amount(metric, best.metrics[metric])
                slack = _slack(rule, best.metrics[metric], outcome.reference)
        if rule is None and not refused:
            continue  # whether it ran and was valid: of interest only where it was not
        alone = sum(len(texts) == 1 for texts in refused)
        found.append(Binding(name, bound, len(refused), alone, shown, slack))
    return sorted(found, key=lambda binding: -binding.refused)


def _missed(record: "Record", rules: dict[str, "Constraint"]) -> list[str]:
    missed = []
    for name, violation in record.violations.items():
        rule = rules.get(name)
        measured = rule is None or str(rule.metric) in record.metrics
        if violation > 0 and measured:
            missed.append(name)
    return missed


def _slack(rule: "Constraint", value: float, reference: dict[str, float]) -> str:
    if rule.metric.name == "accuracy":
        distance = value - rule.bound(reference)
        return points(distance if rule.at_least else -distance)
    return f"{-100 * rule.violation(value, reference):.2f} %"
