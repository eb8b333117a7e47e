"""What each gene is worth: how much worse a model of the trials predicts without knowing it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome
    from autosinian.space.candidate import Candidate, Option

Matrix = npt.NDArray[np.float64]

LEAST_TRIALS = 20
FOLDS = 5
SHUFFLES = 8
RIDGE = 1.0
WEAK = 0.1
TRUSTED_FROM = 0.3
"""Share of held-back variance from which the model says something of its genes."""


@dataclass(frozen=True)
class Importance:
    """Genes by what they are worth for one metric.

    `worth` maps a gene to the share of the metric's variance over held-back trials that the model
    loses when the gene's values are shuffled among them (permutation importance, Breiman 2001);
    shares may overlap or fall below zero by chance. `slope` is +1 where more of the gene is more
    of the metric, -1 where it is less, 0 for genes without an order. `explained` is the share that
    the model explains at all.
    """

    metric: str
    worth: dict[str, float]
    slope: dict[str, int]
    explained: float
    trials: int

    @property
    def trusted(self) -> bool:
        """Whether the model is good enough for its genes to be believed."""
        return self.explained >= TRUSTED_FROM


def importance(outcome: "Outcome", metric: str) -> Importance | None:
    """Of all trials in which `metric` was measured; None below `LEAST_TRIALS` of them.

    The model is ridge regression on every gene's value and square; times and rates in logarithms,
    since batch and resolution multiply. Half a second at 1,000 trials.
    """
    records = [r for r in outcome.records if r.candidate is not None and metric in r.metrics]
    if len(records) < LEAST_TRIALS:
        return None
    groups, unordered = gene_matrices([r.candidate for r in records if r.candidate is not None])
    target = np.array([r.metrics[metric] for r in records])
    if not metric.endswith("accuracy") and target.min() > 0:
        target = np.log(target)
    spread = float(target.std())
    if not groups or spread == 0.0:
        return None
    target = (target - target.mean()) / spread
    random = np.random.default_rng(0)
    fold = random.permutation(len(target)) % FOLDS
    names = list(groups)
    ends = np.cumsum([groups[name].shape[1] for name in names])
    genes = np.hstack([groups[name] for name in names])
    error, lost = 0.0, dict.fromkeys(names, 0.0)
    for number in range(FOLDS):
        held = fold == number
        weights = _fit(genes[~held], target[~held])
        error += _error(genes[held], target[held], weights)
        for name, end in zip(names, ends, strict=True):
            columns = slice(end - groups[name].shape[1], end)
            for _ in range(SHUFFLES):
                shuffled = genes[held].copy()
                shuffled[:, columns] = random.permutation(shuffled[:, columns])
                lost[name] += _error(shuffled, target[held], weights) / SHUFFLES
    count = len(target)
    worth = {name: (lost[name] - error) / count for name in names}
    order = sorted(names, key=lambda name: -worth[name])
    return Importance(
        metric,
        {name: worth[name] for name in order},
        {n: 0 if n in unordered else _slope(groups[n], target) for n in order},
        1.0 - error / count,
        count,
    )


def gene_matrices(candidates: Sequence["Candidate"]) -> tuple[dict[str, Matrix], set[str]]:
    """Standardized columns of each gene that varies, `trials x columns`; and who has no order.

    Depth, kernel size, expansion and width have a column for each position; what has no order has
    one for each of its values.
    """
    subnets = [candidate.subnet for candidate in candidates]
    found = {
        "depth": _positions([s.d for s in subnets]),
        "kernel size": _positions([s.ks for s in subnets]),
        "expansion": _positions([s.e for s in subnets]),
        "width": _positions([s.w for s in subnets]),
        "resolution": np.array([[s.resolution] for s in subnets], float),
        "batch size": np.array([[math.log2(c.engine.batch_size)] for c in candidates]),
    }
    settings: dict[str, list[Option | None]] = {
        "precision": [c.quantization.precision for c in candidates],
        "calibration": [c.quantization.calibration for c in candidates],
    }
    options = [{**dict(c.engine.options), **dict(c.serving)} for c in candidates]
    for name in sorted({name for given in options for name in given}):
        settings[name.replace("_", " ")] = [given.get(name) for given in options]
    unordered = set()
    for name, values in settings.items():
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values):
            found[name] = np.array(numbers, float)[:, None]
        else:
            found[name] = _one_hot([str(value) for value in values])
            unordered.add(name)
    kept = {name: _standardized(columns) for name, columns in found.items() if columns.size}
    return {name: columns for name, columns in kept.items() if columns.shape[1]}, unordered


def _positions(genes: Sequence[Sequence[float]]) -> Matrix:
    """A column for each position; what a shorter network lacks is 0, as for skipped blocks."""
    found = np.zeros((len(genes), max(map(len, genes), default=0)))
    for row, values in zip(found, genes, strict=True):
        row[: len(values)] = values
    return found


def _one_hot(values: Sequence[str]) -> Matrix:
    names = sorted(set(values))
    return np.array([[float(value == name) for name in names] for value in values])


def _standardized(values: Matrix) -> Matrix:
    spread = values.std(axis=0)
    kept = values[:, spread > 0]
    return np.asarray((kept - kept.mean(axis=0)) / spread[spread > 0], np.float64)


def _design(genes: Matrix) -> Matrix:
    return np.hstack([genes, genes**2, np.ones((len(genes), 1))])


def _fit(genes: Matrix, target: Matrix) -> Matrix:
    design = _design(genes)
    penalty = RIDGE * np.eye(design.shape[1])
    penalty[-1, -1] = 0.0
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ target)
    return np.asarray(weights, np.float64)


def _error(genes: Matrix, target: Matrix, weights: Matrix) -> float:
    return float(((_design(genes) @ weights - target) ** 2).sum())


def _slope(columns: Matrix, target: Matrix) -> int:
    """The sign of the correlation with the mean of a gene's positions; 0 where it is weak."""
    total = columns.mean(axis=1)
    if total.std() == 0:
        return 0
    correlation = float(np.corrcoef(total, target)[0, 1])
    return 0 if abs(correlation) < WEAK else int(math.copysign(1, correlation))
