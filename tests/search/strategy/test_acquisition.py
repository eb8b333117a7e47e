import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution

from autosinian.search.strategy.acquisition import MARGIN, Worth, weigh
from autosinian.search.strategy.axes import Array, Axes
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.predictors import Kernels, train

SPACE: dict[str, BaseDistribution] = {
    "size": IntDistribution(0, 11),
    "waste": IntDistribution(0, 11),
}
POINTS = np.asarray([[i, 7 * i % 12] for i in range(12)], dtype=float)


def worth(figures: Array, violations: Array | None = None) -> Worth:
    """After trials of these figures, the first maximised, the second minimised."""
    axes = Axes(SPACE)
    count = len(figures)
    facts = Facts(
        numbers=np.arange(count),
        points=POINTS[:count],
        figures=figures,
        constraints={} if violations is None else {"kept": violations},
        failed=np.zeros(count, dtype=bool),
        complete=np.ones(count, dtype=bool),
        seconds=np.ones(count),
    )
    found = train(axes, Kernels(axes), facts, [True, False], ["quality", "cost"])
    assert found is not None
    return weigh(found, facts, np.zeros((0, len(axes))))


def mixed(*, farthest: float) -> Array:
    """A front of cost 1 to 5, and dominated trials as dear as `farthest`."""
    good = [[0.1 * i, 1.0 + i] for i in range(5)]
    dominated = [[0.05, cost] for cost in np.linspace(6.0, farthest, 7)]
    return np.asarray(good + dominated)


def test_better_and_dearer_than_all_of_the_front_is_a_gain() -> None:
    found = worth(mixed(farthest=8.0))
    assert found.front[:, 1].max() == 5.0
    assert np.isclose(found.reference[1], 8.0 + MARGIN * 7.0)


def test_what_is_far_off_does_not_count_as_the_reference() -> None:
    found = worth(mixed(farthest=1_000.0))
    assert np.isclose(found.reference[1], 9.0 + MARGIN * 8.0)


def test_beyond_a_bound_on_an_objective_nothing_is_a_gain() -> None:
    figures = mixed(farthest=8.0)
    found = worth(figures, figures[:, 1] - 6.5)
    assert np.isclose(found.reference[1], 6.5 + MARGIN * 5.5)
