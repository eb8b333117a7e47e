"""What a proposal is worth: expected hypervolume, times the probability that it is feasible.

Hypervolume counts in the figures themselves (samples/s, not their logarithm), as whoever chooses
from the front reads them; predictions are normal in modelled values and brought back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autosinian.search.strategy.axes import Array
from autosinian.search.strategy.front import (
    chance_to_join,
    expected_improvement,
    is_on_front,
)
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.predictors import Predictors

MARGIN = 0.03
"""The reference point lies beyond the worst figures by this share of their distance to the best."""
FARTHEST = 1.0
"""Worst figures beyond the front's by more than this share of its extent count as that far."""
_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard deviation, as a short or partial measurement gives it."""

    value: float
    deviation: float = 0.0


@dataclass(frozen=True)
class Worth:
    """Scores of points by what was measured and what is predicted.

    `front` (`p x m`) and `reference` (`m`) are figures, negated where they are maximised; the
    front holds what is predicted of the trials that other workers run now.
    """

    predictors: Predictors
    front: Array
    reference: Array
    any_feasible: bool

    def score(self, points: Array) -> tuple[Array, Array, Array]:
        """`n` scores (more is better), `n x m` means and `n` log probabilities of feasibility."""
        features = self.predictors.axes.features(points)
        means, deviations = self.predictors.predict(features)
        feasible = self.predictors.log_feasible(features, means, deviations)
        if self.any_feasible:
            figures, spreads = self._figures(means, deviations)
            scale = np.maximum(self.reference - self.front.min(0), 1e-300)
            gain = expected_improvement(
                figures / scale, spreads / scale, self.front / scale, self.reference / scale
            )
            scores = np.log(np.maximum(gain, 1e-300)) + feasible
        else:
            # Nothing feasible yet: find some first, and of what is likely the better.
            scores = feasible - 0.01 * means.mean(1)
        return scores, means, feasible

    def chance(self, point: Array, known: Mapping[int, Estimate]) -> float:
        """Probability that a point is feasible and joins the front.

        `known` are estimates of objectives, by index, in place of what is predicted.
        """
        features = self.predictors.axes.features(point[None])
        means, deviations = self.predictors.predict(features)
        for j, estimate in known.items():
            target = self.predictors.objectives[j].target
            ends = np.asarray(
                [estimate.value - estimate.deviation, estimate.value + estimate.deviation]
            )
            low, high = target.forward(ends)
            means[0, j] = target.forward(np.asarray([estimate.value]))[0]
            deviations[0, j] = max(abs(high - low) / 2, _LEAST_DEVIATION)
        feasible = float(np.exp(self.predictors.log_feasible(features, means, deviations)[0]))
        if not self.any_feasible:
            return feasible
        figures, spreads = self._figures(means, deviations)
        return feasible * chance_to_join(figures[0], spreads[0], self.front)

    def _figures(self, means: Array, deviations: Array) -> tuple[Array, Array]:
        both = [
            objective.target.natural(means[:, j], deviations[:, j])
            for j, objective in enumerate(self.predictors.objectives)
        ]
        return np.stack([m for m, _ in both], axis=1), np.stack([d for _, d in both], axis=1)


def weigh(predictors: Predictors, facts: Facts, running: Array) -> Worth:
    """The worth of proposals after these facts, with `running` as measured as predicted."""
    feasible = facts.feasible
    signs = np.asarray([o.target.sign for o in predictors.objectives])
    values = facts.figures[feasible if feasible.any() else facts.complete] * signs
    given = predictors.given(running)
    if len(running) and feasible.any():
        means, _ = given.predict(given.axes.features(running))
        columns = [o.target.backward(means[:, j]) for j, o in enumerate(predictors.objectives)]
        values = np.concatenate([values, np.stack(columns, axis=1) * signs])
    front = values[is_on_front(values)]
    best, end = front.min(0), front.max(0)
    # Not the front's own end: beyond it nothing would be a gain, and a front that lacks the most
    # accurate (or the fastest) would never get there.
    worst = np.maximum(end, (facts.figures[facts.complete] * signs).max(0))
    limit = np.where(end > best, end + FARTHEST * (end - best), worst)
    for line in predictors.derived:
        if line.at_most == (signs[line.objective] > 0):
            limit[line.objective] = min(limit[line.objective], line.bound * signs[line.objective])
    worst = np.maximum(end, np.minimum(worst, limit))
    reference = worst + MARGIN * np.maximum(worst - best, 1e-6 * np.abs(worst))
    return Worth(given, front, reference, bool(feasible.any()))
