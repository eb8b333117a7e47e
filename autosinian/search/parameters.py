"""Dimensions of a space as Optuna distributions."""

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)

from autosinian.space.dimension import Dimension
from autosinian.space.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One distribution for each dimension, fixed for the whole study."""
    return {name: _distribution(dimension) for name, dimension in space.dimensions.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log)
