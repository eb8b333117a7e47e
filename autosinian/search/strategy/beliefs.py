"""What trials of other studies teach: predictions that a new study may agree with or not."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autosinian.search.strategy.axes import Array, Axes, Gate
from autosinian.search.strategy.front import is_on_front, ranks
from autosinian.search.strategy.history import History
from autosinian.search.strategy.predictors import POOR, Kernels, train

LEAST = 12
"""Fewer trials than that teach nothing about a whole space."""
TO_TRY = 8
"""So many of another study's best are proposed first."""


def best_of(
    trials: Sequence[FrozenTrial], maximized: Sequence[bool], most: int = TO_TRY
) -> list[Mapping[str, object]]:
    """Parameters of the feasible front, evenly along it; of those behind it where it is short."""
    good = [
        t
        for t in trials
        if t.state == TrialState.COMPLETE
        and len(t.values) == len(maximized)
        and all(v <= 0 for v in t.constraints.values())
    ]
    if not good:
        return []
    values = np.asarray([t.values for t in good]) * np.where(np.asarray(maximized), -1.0, 1.0)
    front = np.flatnonzero(is_on_front(values))
    front = front[np.argsort(values[front, 0])]
    if len(front) >= most:
        chosen = front[np.unique(np.linspace(0, len(front) - 1, most).round().astype(int))]
    else:
        chosen = np.argsort(ranks(values), kind="stable")[:most]
    return [dict(good[i].params) for i in chosen]


def beliefs_of(
    trials: Sequence[FrozenTrial],
    space: Mapping[str, BaseDistribution],
    gates: Mapping[str, Gate],
    maximized: Sequence[bool],
) -> list[Callable[[Array], Array]]:
    """One belief for each objective whose predictor, trained on these trials, is not poor."""
    usable = [
        t
        for t in trials
        if t.state == TrialState.COMPLETE
        and len(t.values) == len(maximized)
        and set(space) - set(gates) <= set(t.params)
    ]
    if len(usable) < LEAST:
        return []
    axes = Axes(space, gates)
    history = History(axes, len(maximized), failures_teach=False)
    # Trials of several studies may have the same number.
    facts = history.read_all(usable)
    names = [f"objective {j}" for j in range(len(maximized))]
    predictors = train(axes, Kernels(axes), facts, maximized, names)
    if predictors is None:
        return []

    def belief(j: int) -> Callable[[Array], Array]:
        process = predictors.objectives[j].process
        return lambda points: process.predict(axes.features(points))[0]

    return [
        belief(j)
        for j, objective in enumerate(predictors.objectives)
        if objective.quality.rank_correlation >= POOR
    ]
