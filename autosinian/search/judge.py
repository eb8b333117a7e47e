"""What Optuna is told of an evaluation: values and constraints."""

import math
from collections.abc import Mapping

from autosinian.errors import TrialFailure
from autosinian.evaluate.evaluation import Evaluation
from autosinian.search.strategy.history import WORTH_FINISHING
from autosinian.space.document import Document

RAN = "built and ran"
LOADGEN = "LoadGen says VALID"
WORTH = WORTH_FINISHING
UNKNOWN = 1.0
"""Violation told for a constraint whose figure was never measured: as bad as missing it by 100 %.

Optuna ranks infeasible trials by the sum of their violations.
"""


class Judge:
    """Turns figures into constraint violations, given the reference (the baseline's figures)."""

    def __init__(self, document: Document, reference: Mapping[str, float]) -> None:
        self._rules = document.rules
        self._metrics = document.metrics
        self._reference = dict(reference)
        for rule in self._rules:
            rule.bound(self._reference)

    def refuse(self, metrics: Mapping[str, float]) -> bool:
        """Whether some constraint is missed already by what is known."""
        return any(violation > 0 for violation in self._known(metrics).values())

    def violations(self, evaluation: Evaluation) -> dict[str, float]:
        """All constraints; unmeasured ones count as missed only where a measured one is."""
        known = self._known(evaluation.metrics)
        for rule in self._rules:
            known.setdefault(rule.text, 0.0 if not evaluation.complete else UNKNOWN)
        if evaluation.stopped:
            known[WORTH] = UNKNOWN
        known[RAN] = 0.0
        known[LOADGEN] = 0.0 if evaluation.valid else UNKNOWN
        return known

    def failure(self) -> dict[str, float]:
        """The violations of a candidate that could not be measured."""
        return {rule.text: UNKNOWN for rule in self._rules} | {RAN: UNKNOWN, LOADGEN: 0.0}

    def reason(self, evaluation: Evaluation) -> str:
        """In words, why an evaluation is infeasible; empty where it is not."""
        missed = [
            f"`{rule.text}` missed: {evaluation.metrics[str(rule.metric)]:.4g} "
            f"against {rule.bound(self._reference):.4g}"
            for rule in self._rules
            if self._known(evaluation.metrics).get(rule.text, 0.0) > 0
        ]
        if evaluation.stopped:
            missed.append(evaluation.stopped)
        if not evaluation.valid:
            missed.append(f"LoadGen: {evaluation.invalid_reason}")
        return "; ".join(missed)

    def values(self, evaluation: Evaluation) -> list[float] | None:
        """The objectives' values; None where the stages ended before they were known."""
        found = [evaluation.metrics.get(str(metric), math.nan) for metric in self._metrics]
        if any(math.isnan(value) for value in found):
            if evaluation.complete and evaluation.valid:
                missing = [str(m) for m in self._metrics if str(m) not in evaluation.metrics]
                raise TrialFailure("performance", f"no figure for {', '.join(missing)}")
            return None
        return found

    def partial(self, evaluation: Evaluation) -> list[float | None]:
        """The objectives' values, None where the stages ended before one was known."""
        return [evaluation.metrics.get(str(metric)) for metric in self._metrics]

    def _known(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return {
            rule.text: rule.violation(metrics[str(rule.metric)], self._reference)
            for rule in self._rules
            if str(rule.metric) in metrics
        }
