"""A space as integers: rows of indices, their features for a linear model, and breeding."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_quality.problem import Gates, Parameters, Points

Rows = NDArray[np.int64]
FEW = 8
"""Up to so many values a whole number is one hot; beyond it is a number and its square."""


class Grid:
    """Rows, `n x parameters`, of indices into each parameter's values.

    A parameter that does not matter, by the problem's gates, has index 0 and no features.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], gates: Gates) -> None:
        self.names = list(space)
        self.values: list[tuple[Any, ...]] = []
        self._numbers: list[NDArray[np.float64] | None] = []
        for distribution in space.values():
            if isinstance(distribution, CategoricalDistribution):
                self.values.append(tuple(distribution.choices))
                self._numbers.append(None)
            elif isinstance(distribution, IntDistribution):
                values = tuple(range(distribution.low, distribution.high + 1, distribution.step))
                place = np.array(values, np.float64)
                place = np.log(place) if distribution.log else place
                self.values.append(values)
                scaled = (place - place[0]) / max(float(place[-1] - place[0]), 1e-12)
                self._numbers.append(scaled if len(values) > FEW else None)
            else:
                raise TypeError(f"no grid has a {type(distribution).__name__}")
        self.sizes = np.array([len(values) for values in self.values], np.int64)
        position = {name: i for i, name in enumerate(self.names)}
        self._gates = [
            (
                position[child],
                position[parent],
                np.array([value in allowed for value in self.values[position[parent]]]),
            )
            for child, (parent, allowed) in gates.items()
        ]

    def decode(self, row: NDArray[np.int64]) -> dict[str, Any]:
        """Parameters of one row."""
        return {name: self.values[i][row[i]] for i, name in enumerate(self.names)}

    def encode(self, parameters: Parameters) -> Rows:
        """The canonical row of parameters."""
        row = [
            values.index(parameters[n]) for n, values in zip(self.names, self.values, strict=True)
        ]
        canonical: Rows = self.canonical(np.array([row], np.int64))[0]
        return canonical

    def canonical(self, rows: Rows) -> Rows:
        """Rows with 0 where a parameter does not matter."""
        rows = rows.copy()
        for child, active in self._activity(rows):
            rows[~active, child] = 0
        return rows

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Rows drawn uniformly."""
        return self.canonical(rng.integers(0, self.sizes, size=(count, len(self.sizes))))

    def children(
        self, parents: Rows, count: int, mutation: float, rng: np.random.Generator
    ) -> Rows:
        """Uniform crossover of two parents each, then mutation of each gene with a probability."""
        mothers, fathers = rng.integers(len(parents), size=(2, count))
        cross = rng.random((count, len(self.sizes))) < 0.5
        rows = np.where(cross, parents[mothers], parents[fathers])
        change = rng.random(rows.shape) < mutation
        return self.canonical(np.where(change, rng.integers(0, self.sizes, rows.shape), rows))

    def features(self, rows: Rows) -> Points:
        """One hot for choices, number and square for long ranges; 0 where it does not matter."""
        parts: list[Points] = []
        inactive = {child: ~active for child, active in self._activity(rows)}
        for i, numbers in enumerate(self._numbers):
            if numbers is None:
                part = np.eye(int(self.sizes[i]))[rows[:, i]]
            else:
                place = numbers[rows[:, i]]
                part = np.column_stack([place, place**2])
            if i in inactive:
                part[inactive[i]] = 0.0
            parts.append(part)
        return np.hstack(parts)

    def _activity(self, rows: Rows) -> list[tuple[int, NDArray[np.bool_]]]:
        return [(child, holds[rows[:, parent]]) for child, parent, holds in self._gates]


def words(rows: Rows) -> list[bytes]:
    """A key for each row."""
    return [row.tobytes() for row in np.ascontiguousarray(rows)]
