"""What the predictor-based baselines believe: ridge regression on one-hot features."""

from collections.abc import Sequence

import numpy as np

from search_quality.grid import Grid, Rows
from search_quality.problem import Answer, Points, Problem
from subnet_table.features import Ridge

STRENGTHS = (0.03, 0.3, 3.0, 30.0)
FOLDS = 5


class Predictors:
    """Both objectives, minimised, and the worst violation, each by its own ridge model.

    Objectives that are positive throughout are modelled by their logarithm, as costs multiply.
    """

    def __init__(self, grid: Grid, problem: Problem, rows: Rows, answers: Sequence[Answer]) -> None:
        self._grid = grid
        features = grid.features(rows)
        self._signs = problem.signs
        objectives = np.array([answer.objectives for answer in answers])
        self._logarithmic = [False, bool((objectives[:, 1] > 0).all())]
        self._models = [
            _fit(features, np.log(values) if logarithmic else values)
            for values, logarithmic in zip(objectives.T, self._logarithmic, strict=True)
        ]
        names = list(answers[0].constraints)
        self._constraints = [
            _fit(features, np.array([answer.constraints[name] for answer in answers]))
            for name in names
        ]

    def __call__(self, rows: Rows) -> tuple[Points, Points]:
        """Minimised objectives, `n x 2`, and violation, `n`, 0 or less where feasible."""
        features = self._grid.features(rows)
        columns = [
            np.exp(model(features)) if logarithmic else model(features)
            for model, logarithmic in zip(self._models, self._logarithmic, strict=True)
        ]
        violation = np.zeros(len(rows))
        for model in self._constraints:
            violation += np.maximum(model(features), 0.0)
        return np.column_stack(columns) * self._signs, violation


def _fit(features: Points, target: Points) -> Ridge:
    """Ridge of the strength that predicts held-back folds best."""
    fold = np.arange(len(target)) % FOLDS
    if len(target) < 2 * FOLDS:
        return Ridge.fit(features, target, STRENGTHS[1])

    def error(strength: float) -> float:
        total = 0.0
        for number in range(FOLDS):
            kept = fold != number
            model = Ridge.fit(features[kept], target[kept], strength)
            total += float(((model(features[~kept]) - target[~kept]) ** 2).sum())
        return total

    return Ridge.fit(features, target, min(STRENGTHS, key=error))
