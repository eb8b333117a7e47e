"""Dimensions of a space as Optuna distributions, and which of them matter when."""

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)

from autosinian.search.strategy.axes import Gate
from autosinian.space.dimension import Dimension
from autosinian.space.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One distribution for each dimension, fixed for the whole study."""
    return {name: _distribution(dimension) for name, dimension in space.dimensions.items()}


def gates(space: Space) -> dict[str, Gate]:
    """Dimensions that matter only at some values of another: skipped blocks' genes, calibration.

    Found by asking the space for the canonical form of its largest subnet, one depth changed.
    """
    full = space.encode(space.baseline())
    for name, dimension in space.dimensions.items():
        if name.startswith("depth_"):
            full[name] = max(dimension.choices)
    found = {}
    for name, dimension in space.dimensions.items():
        if not name.startswith("depth_"):
            continue
        active: dict[str, list[Any]] = {}
        for value in dimension.choices:
            subnet = space.decode(full | {name: value}).subnet
            for kind, genes in (("kernel_size", subnet.ks), ("expand_ratio", subnet.e)):
                for index, gene in enumerate(genes):
                    values = active.setdefault(f"{kind}_{index}", [])
                    if gene:
                        values.append(value)
        for child, values in active.items():
            if len(values) < len(dimension.choices):
                found[child] = Gate(name, tuple(values))
    if "calibration" in space.dimensions:
        found["calibration"] = Gate("precision", ("int8",))
    return found


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log)
