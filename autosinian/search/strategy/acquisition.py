"""What a proposal is worth: expected hypervolume, times the probability that it is feasible."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autosinian.search.strategy.axes import Array
from autosinian.search.strategy.front import expected_improvement, is_on_front
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.predictors import Predictors

MARGIN = 0.1
"""The reference point lies beyond the worst of the feasible trials by this share of the range."""


@dataclass(frozen=True)
class Worth:
    """Scores of points by what was measured and what is predicted.

    `front` (`p x m`) and `reference` (`m`) are in modelled values; `running` are the points that
    other workers measure now. `log_seconds` tells the logarithm of what a point costs.
    """

    predictors: Predictors
    front: Array
    reference: Array
    any_feasible: bool
    log_seconds: Callable[[Array], Array] | None = None

    def score(self, points: Array) -> tuple[Array, Array, Array]:
        """`n` scores (more is better), `n x m` means and `n` log probabilities of feasibility."""
        features = self.predictors.axes.features(points)
        means, deviations = self.predictors.predict(features)
        feasible = self.predictors.log_feasible(features, means, deviations)
        if self.any_feasible:
            gain = expected_improvement(means, deviations, self.front, self.reference)
            scores = np.log(np.maximum(gain, 1e-300)) + feasible
        else:
            # Nothing feasible yet: find some first, and of what is likely the better.
            scores = feasible - 0.01 * means.mean(1)
        if self.log_seconds is not None:
            scores = scores - self.log_seconds(points)
        return scores, means, feasible


def weigh(
    predictors: Predictors,
    facts: Facts,
    running: Array,
    log_seconds: Callable[[Array], Array] | None = None,
) -> Worth:
    """The worth of proposals after these facts, with `running` as measured as predicted."""
    modelled = np.stack(
        [
            objective.target.forward(facts.figures[:, j])
            for j, objective in enumerate(predictors.objectives)
        ],
        axis=1,
    )
    feasible = facts.feasible
    known = modelled[feasible] if feasible.any() else modelled[facts.complete]
    worst, best = known.max(0), known.min(0)
    reference = worst + MARGIN * np.maximum(worst - best, 1e-6)
    front = modelled[feasible]
    given = predictors.given(running)
    if len(running):
        means, _ = given.predict(given.axes.features(running))
        front = np.concatenate([front, means])
    front = front[is_on_front(front)]
    return Worth(given, front, reference, bool(feasible.any()), log_seconds)
