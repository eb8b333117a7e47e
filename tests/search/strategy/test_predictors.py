import numpy as np
import pytest
from optuna.distributions import BaseDistribution, IntDistribution

from autosinian.search.strategy.axes import Axes
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.predictors import Kernels, train_constraints

SPACE: dict[str, BaseDistribution] = {f"x{i}": IntDistribution(0, 4) for i in range(6)}


@pytest.mark.parametrize("at_least", [False, True])
def test_a_share_of_a_bound_is_predicted_though_the_figure_spans_decades(at_least: bool) -> None:
    """A figure is a product of six factors; what is asked of it is told relative to its bound."""
    axes = Axes(SPACE)
    points = axes.uniform(np.random.default_rng(0), 400)
    ratio = np.exp(points @ np.linspace(0.2, 0.8, 6) - 4.0)
    violations = 1.0 - ratio if at_least else ratio - 1.0
    facts = Facts(
        numbers=np.arange(15),
        points=points[:15],
        figures=np.full((15, 1), np.nan),
        constraints={"kept": violations[:15]},
        failed=np.zeros(15, dtype=bool),
        complete=np.ones(15, dtype=bool),
        seconds=np.ones(15),
    )
    (predictor,) = train_constraints(axes, Kernels(axes), facts)
    chances = np.exp(predictor.log_probability(axes.features(points[15:])))
    kept = violations[15:] <= 0
    assert np.mean((chances > 0.5) == kept) >= 0.97
