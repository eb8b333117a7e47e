"""Whether a trial that runs is worth finishing, after each figure that it gives."""

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial

from autosinian.evaluate.evaluation import Known
from autosinian.search.judge import Judge
from autosinian.search.sampler import DistinctSampler
from autosinian.search.strategy.acquisition import Estimate
from autosinian.space.document import Document

LEAST_CHANCE = 0.02
"""A trial whose chance to be feasible and join the front is below this is stopped."""
BOUND = 3.0
"""Standard deviations of the confidence bound on a figure of a part of the samples."""


class Promise:
    """Stops a trial that misses a constraint beyond doubt, or that the front will dominate."""

    def __init__(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        sampler: DistinctSampler,
        judge: Judge,
        document: Document,
    ) -> None:
        self._study = study
        self._trial = trial
        self._sampler = sampler
        self._judge = judge
        self._metrics = [str(metric) for metric in document.metrics]

    def decide(self, known: Mapping[str, Known]) -> str:
        """Why to stop; empty where the trial is worth its next stage."""
        ends = [
            {name: value + side * BOUND * deviation for name, (value, deviation) in known.items()}
            for side in (-1, 1)
        ]
        shown = ", ".join(
            f"{name} {value:.4g}" + (f" +- {deviation:.2g}" if deviation else "")
            for name, (value, deviation) in known.items()
        )
        if all(self._judge.refuse(end) for end in ends):
            return f"stopped: a constraint is missed beyond doubt ({shown})"
        objectives = {
            j: Estimate(*known[name]) for j, name in enumerate(self._metrics) if name in known
        }
        chance = self._sampler.chance(self._study, self._trial, objectives)
        if chance is None or chance >= LEAST_CHANCE:
            return ""
        return f"stopped: a chance of {chance:.1%} to join the front ({shown})"
