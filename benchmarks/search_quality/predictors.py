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
        self._constraints: list[tuple[Ridge, bool]] = []
        for name in answers[0].constraints:
            values = np.array([answer.constraints[name] for answer in answers])
            # `cost / bound - 1`, say: what multiplies to a cost is told by its logarithm.
            relative = bool((values > -1).all())
            model = _fit(features, np.log1p(values) if relative else values)
            self._constraints.append((model, relative))

    def __call__(self, rows: Rows) -> tuple[Points, Points]:
        """Minimised objectives, `n x 2`, and violation, `n`, 0 or less where feasible."""
        features = self._grid.features(rows)
        columns = [
            np.exp(model(features)) if logarithmic else model(features)
            for model, logarithmic in zip(self._models, self._logarithmic, strict=True)
        ]
        violation = np.zeros(len(rows))
        for model, relative in self._constraints:
            missed = model(features)
            violation += np.maximum(np.expm1(missed) if relative else missed, 0.0)
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
