"""What a proposal is worth: expected hypervolume, times the probability that it is feasible."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autosinian.search.strategy.axes import Array
from autosinian.search.strategy.front import expected_improvement, is_on_front
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.predictors import Predictors

WIDE = False
MARGIN = 0.1
"""The reference point lies beyond the worst of the feasible trials by this share of the range."""


@dataclass(frozen=True)
class Worth:
    """Scores of points by what was measured and what is predicted.

    `front` (`p x m`) and `reference` (`m`) are figures, negated where they are maximised, or, where
    `modelled`, modelled values. `log_seconds` tells the logarithm of what a point costs.
    """

    predictors: Predictors
    front: Array
    reference: Array
    any_feasible: bool
    modelled: bool
    log_seconds: Callable[[Array], Array] | None = None

    def score(self, points: Array) -> tuple[Array, Array, Array]:
        """`n` scores (more is better), `n x m` means and `n` log probabilities of feasibility."""
        features = self.predictors.axes.features(points)
        means, deviations = self.predictors.predict(features)
        feasible = self.predictors.log_feasible(features, means, deviations)
        if self.any_feasible:
            gain = self._gain(means, deviations)
            scores = np.log(np.maximum(gain, 1e-300)) + feasible
        else:
            # Nothing feasible yet: find some first, and of what is likely the better.
            scores = feasible - 0.01 * means.mean(1)
        if self.log_seconds is not None:
            scores = scores - self.log_seconds(points)
        return scores, means, feasible

    def _gain(self, means: Array, deviations: Array) -> Array:
        if not self.modelled:
            both = [
                o.target.natural(means[:, j], deviations[:, j])
                for j, o in enumerate(self.predictors.objectives)
            ]
            means = np.stack([m for m, _ in both], axis=1)
            deviations = np.stack([d for _, d in both], axis=1)
        scale = np.maximum(self.reference - self.front.min(0), 1e-300)
        return expected_improvement(
            means / scale, deviations / scale, self.front / scale, self.reference / scale
        )


def weigh(
    predictors: Predictors,
    facts: Facts,
    running: Array,
    log_seconds: Callable[[Array], Array] | None = None,
    *,
    modelled: bool = False,
) -> Worth:
    """The worth of proposals after these facts, with `running` as measured as predicted."""
    feasible = facts.feasible
    known = facts.figures[feasible if feasible.any() else facts.complete]
    values = _values(predictors, known, modelled)
    given = predictors.given(running)
    if len(running) and feasible.any():
        means, _ = given.predict(given.axes.features(running))
        figures = [o.target.backward(means[:, j]) for j, o in enumerate(predictors.objectives)]
        values = np.concatenate([values, _values(predictors, np.stack(figures, axis=1), modelled)])
    front = values[is_on_front(values)]
    worst, best = (values if WIDE else front).max(0), front.min(0)
    reference = worst + MARGIN * np.maximum(worst - best, 1e-6 * np.abs(worst))
    return Worth(given, front, reference, bool(feasible.any()), modelled, log_seconds)


def _values(predictors: Predictors, figures: Array, modelled: bool) -> Array:
    columns = []
    for j, objective in enumerate(predictors.objectives):
        target = objective.target
        column = figures[:, j]
        columns.append(target.forward(column) if modelled else target.sign * column)
    return np.stack(columns, axis=1)
