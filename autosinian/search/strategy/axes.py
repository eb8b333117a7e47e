"""A search space as numbers: one axis for each parameter, with its features for a predictor.

A point is a row `x` of floats, one for each axis: the index of the value on an axis of levels, the
place in 0 to 1 on a continuous one. Axes are ordered (integers, floats, choices that are all
numbers) or not (one-hot). Parameters of equal distributions, as the kernel sizes of all blocks,
are one family: what they have in common is told by features of its own, so that a handful of
trials teach what more of it does everywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Array = NDArray[np.float64]

LEVELS = 4096
"""Integer axes of more values are treated as continuous."""
KNOTS = 33
LENGTH_SCALES = (0.35, 0.12)
RANK = 8
_LEAST = 0.03
"""Columns of features whose norm is this share of the greatest or less are left out."""
LOG_SPREAD = 8.0
"""Numeric choices whose greatest is this many times their least are spaced by logarithm."""


@dataclass(frozen=True)
class Axis:
    """One parameter. `values` are its levels in order; empty on a continuous axis.

    `positions` (`m`) are the levels' places in 0 to 1, or those of the knots of a continuous axis;
    `table` (`m x f`) holds their features, which have mean zero.
    """

    name: str
    distribution: BaseDistribution
    values: tuple[Any, ...]
    ordered: bool
    positions: Array
    table: Array

    @property
    def size(self) -> int:
        """How many levels there are; 0 where there are infinitely many."""
        return len(self.values)

    @cached_property
    def index(self) -> dict[Any, int]:
        """Level of each value; `True` and `1` are different choices."""
        return {(type(value), value): i for i, value in enumerate(self.values)}

    def encode(self, value: Any) -> float:
        """The number of a value of this parameter; the nearest level's where it is none."""
        if self.values:
            found = self.index.get((type(value), value))
            if found is None and isinstance(value, (int, float)) and self.ordered:
                numbers = [abs(float(v) - float(value)) for v in self.values]
                found = int(np.argmin(numbers))
            return float(found or 0)
        return float(np.clip(self._place(float(value)), 0.0, 1.0))

    def decode(self, number: float) -> Any:
        """The value of a number."""
        if self.values:
            return self.values[round(number)]
        distribution = self.distribution
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        low, high = float(distribution.low), float(distribution.high)
        if distribution.log:
            value = math.exp(math.log(low) + number * (math.log(high) - math.log(low)))
        else:
            value = low + number * (high - low)
        value = float(min(max(value, low), high))
        if distribution.step is None:
            return value
        steps = round((value - low) / distribution.step)
        stepped = distribution.low + steps * distribution.step
        return int(stepped) if isinstance(distribution, IntDistribution) else float(stepped)

    def place(self, column: Array) -> Array:
        """Places in 0 to 1 of a column of numbers."""
        return self.positions[column.astype(np.intp)] if self.values else column

    def features(self, column: Array) -> Array:
        """`n x f` features of a column of numbers."""
        if self.values:
            return self.table[column.astype(np.intp)]
        scaled = column * (len(self.positions) - 1)
        left = np.minimum(scaled.astype(np.intp), len(self.positions) - 2)
        share = (scaled - left)[:, None]
        return np.asarray(self.table[left] * (1 - share) + self.table[left + 1] * share)

    def _place(self, value: float) -> float:
        distribution = self.distribution
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        low, high = float(distribution.low), float(distribution.high)
        if distribution.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return (value - low) / (high - low) if high > low else 0.0


def make_axis(name: str, distribution: BaseDistribution) -> Axis:
    """The axis of one parameter."""
    values, ordered, positions = _levels(distribution)
    table = _smooth_features(positions) if ordered else np.eye(len(values))
    return Axis(name, distribution, values, ordered, positions, _compact(table))


def _compact(table: Array) -> Array:
    """`m x f` features of mean zero with the same products, in as few columns as they need."""
    left, sizes, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    kept = sizes > _LEAST * max(sizes[0], 1e-12)
    return np.asarray(left[:, kept] * sizes[kept])


def _levels(distribution: BaseDistribution) -> tuple[tuple[Any, ...], bool, Array]:
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        numbers = [c for c in choices if isinstance(c, (int, float)) and not isinstance(c, bool)]
        if len(numbers) < len(choices) or not all(map(math.isfinite, numbers)):
            return tuple(choices), False, np.linspace(0, 1, len(choices))
        levels = sorted(numbers)
        log = levels[0] > 0 and levels[-1] >= LOG_SPREAD * levels[0]
        return tuple(levels), True, _positions(np.asarray(levels, dtype=float), log)
    if isinstance(distribution, IntDistribution):
        count = (distribution.high - distribution.low) // distribution.step + 1
        if count <= LEVELS:
            ints = range(distribution.low, distribution.high + 1, distribution.step)
            return tuple(ints), True, _positions(np.asarray(ints, dtype=float), distribution.log)
    elif isinstance(distribution, FloatDistribution):
        if distribution.step is not None:
            count = math.floor((distribution.high - distribution.low) / distribution.step + 0.5) + 1
            if count <= LEVELS:
                floats = [distribution.low + i * distribution.step for i in range(count)]
                return tuple(floats), True, _positions(np.asarray(floats), False)
        if distribution.single():
            return (distribution.low,), True, np.zeros(1)
    else:
        raise ValueError(f"a distribution must be of Optuna's own kinds, but got {distribution}")
    return (), True, np.linspace(0, 1, KNOTS)


def _positions(values: Array, log: bool) -> Array:
    if len(values) == 1:
        return np.zeros(1)
    scaled = np.log(values) if log else values
    return np.asarray((scaled - scaled[0]) / (scaled[-1] - scaled[0]))


def _smooth_features(positions: Array) -> Array:
    """Features whose products are a smooth kernel on 0 to 1 with a linear part."""
    if len(positions) > 4 * KNOTS:  # interpolated between the knots
        knots = np.linspace(0, 1, KNOTS)
        table = _smooth_features(knots)
        columns = [np.interp(positions, knots, table[:, j]) for j in range(table.shape[1])]
        return np.stack(columns, axis=1)
    centred = 2 * positions - 1
    kernel = 0.5 * np.outer(centred, centred)
    distance = positions[:, None] - positions[None, :]
    for length in LENGTH_SCALES:
        kernel += 0.25 * np.exp(-0.5 * (distance / length) ** 2)
    roots, vectors = np.linalg.eigh(kernel)
    kept = np.argsort(-roots)[:RANK]
    return np.asarray(vectors[:, kept] * np.sqrt(np.maximum(roots[kept], 0.0)))


@dataclass(frozen=True)
class Gate:
    """A parameter matters only where another, `parent`, has one of some values."""

    parent: str
    values: tuple[Any, ...]


class Axes:
    """All axes of a search space, their families and gates.

    `beliefs` tell for `n x d` points `n` numbers that were learnt elsewhere, as another study's
    predictions: features like any other, so that only what agrees with this study has weight.
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        gates: Mapping[str, Gate] | None = None,
        beliefs: Sequence[Callable[[Array], Array]] = (),
    ) -> None:
        self._beliefs = beliefs
        self.axes: tuple[Axis, ...] = tuple(make_axis(n, d) for n, d in space.items())
        self.position = {axis.name: i for i, axis in enumerate(self.axes)}
        self.free = [i for i, axis in enumerate(self.axes) if axis.size != 1]
        # Steps too many to be levels: a point is where its value is.
        self._rounded = [
            i
            for i, axis in enumerate(self.axes)
            if not axis.values and getattr(axis.distribution, "step", None) is not None
        ]
        self.families = self._find_families()
        self._gates = self._read_gates(gates or {})
        self._scales = np.ones(1)
        self.groups = np.zeros(0, dtype=np.intp)
        self.kinds = self._kinds()
        self._normalise()

    def __len__(self) -> int:
        return len(self.axes)

    def encode(self, values: Mapping[str, Any]) -> Array:
        """The point of parameters in canonical form; a missing one is at its first level."""
        row = [0.0] * len(self.axes)
        for i, axis in enumerate(self.axes):
            if axis.name in values:
                value = values[axis.name]
                level = axis.index.get((type(value), value))
                row[i] = float(level) if level is not None else axis.encode(value)
        return np.asarray(self.canonical(np.asarray([row]))[0])

    def decode(self, row: Array) -> dict[str, Any]:
        """Parameters of a point."""
        return {axis.name: axis.decode(row[i]) for i, axis in enumerate(self.axes)}

    def canonical(self, points: Array) -> Array:
        """Points with what a gate closes at its first level, so that equal ones are equal.

        `points` may be changed in place.
        """
        for i in self._rounded:
            axis = self.axes[i]
            points[:, i] = [axis.encode(axis.decode(number)) for number in points[:, i]]
        if not self._gates:
            return points
        return np.asarray(np.where(self.active(points), points, 0.0))

    def active(self, points: Array) -> NDArray[np.bool_]:
        """`n x d`: which parameters matter at each point."""
        found = np.ones(points.shape, dtype=bool)
        for child, (parent, open_at) in self._gates.items():
            found[:, child] = open_at[points[:, parent].astype(np.intp)]
        return found

    def keys(self, points: Array) -> list[bytes]:
        """One key for each canonical point; equal exactly for equal points."""
        return [row.tobytes() for row in np.ascontiguousarray(points + 0.0)]

    @property
    def size(self) -> float:
        """Upper bound on the number of different points; infinite with a continuous axis."""
        return math.prod(axis.size or math.inf for axis in self.axes)

    def features(self, points: Array) -> Array:
        """`n x f` features; column `j` belongs to the group `groups[j]`."""
        return np.asarray(np.concatenate(self._raw(points), axis=1) * self._scales)

    def _raw(self, points: Array) -> list[Array]:
        """For each group of features its columns: families first, then single axes."""
        active = self.active(points)
        blocks = []
        for family in self.families:
            first = self.axes[family[0]]
            mask = active[:, family]
            count = len(family)
            slope = np.linspace(-1, 1, count)
            if first.ordered:
                place = np.stack([self.axes[i].place(points[:, i]) for i in family], axis=1)
                level = np.where(mask, 2 * place - 1, 0.0)
                columns = [level.mean(1), (level * slope).mean(1)]
            else:
                table = first.table
                chosen = table[points[:, family].astype(np.intp)] * mask[:, :, None]
                columns = list(chosen.mean(1).T)
            if self._gated(family):
                columns += [mask.mean(1) - 0.5, (mask * slope).mean(1)]
            blocks.append(np.stack(columns, axis=1))
        for i in self.free:
            blocks.append(self.axes[i].features(points[:, i]) * active[:, i : i + 1])
        blocks += [belief(points)[:, None] for belief in self._beliefs]
        return blocks or [np.zeros((len(points), 1))]

    def _gated(self, family: list[int]) -> bool:
        return any(i in self._gates for i in family)

    def _normalise(self) -> None:
        """Scale each group so that the kernel it makes has mean one over random points."""
        rng = np.random.default_rng(0)
        points = self.canonical(self.uniform(rng, 512))
        blocks = self._raw(points)
        groups, scales = [], []
        for number, block in enumerate(blocks):
            mean = float((block**2).sum(1).mean())
            groups += [number] * block.shape[1]
            scales += [1 / math.sqrt(mean) if mean > 1e-12 else 0.0] * block.shape[1]
        self.groups = np.asarray(groups, dtype=np.intp)
        self._scales = np.asarray(scales)

    def _kinds(self) -> NDArray[np.intp]:
        """For each group of features: 0 a family, 1 a parameter without kin, 2 a family's member,
        3 a belief from elsewhere."""
        kin = {i for family in self.families for i in family}
        kinds = [0] * len(self.families) + [2 if i in kin else 1 for i in self.free]
        kinds += [3] * len(self._beliefs)
        return np.asarray(kinds or [1], dtype=np.intp)

    def uniform(self, rng: np.random.Generator, count: int) -> Array:
        """Points with every parameter drawn uniformly (in the logarithm where it is so spaced)."""
        points = np.empty((count, len(self.axes)))
        for i, axis in enumerate(self.axes):
            points[:, i] = draw(axis, rng, count)
        return points

    def _find_families(self) -> list[list[int]]:
        found: dict[tuple[Any, ...], list[int]] = {}
        for i in self.free:
            axis = self.axes[i]
            if axis.size and axis.size <= LEVELS:
                # Two levels are common to much that is not akin, unless the names say so.
                kin = tuple(map(str, axis.values)) if axis.size > 2 else (_stem(axis.name),)
                key = (axis.ordered, axis.size, kin)
                found.setdefault(key, []).append(i)
        return [members for members in found.values() if len(members) > 1]

    def _read_gates(self, gates: Mapping[str, Gate]) -> dict[int, tuple[int, NDArray[np.bool_]]]:
        found = {}
        for name, gate in gates.items():
            if name not in self.position or gate.parent not in self.position:
                continue
            parent = self.axes[self.position[gate.parent]]
            allowed = {(type(v), v) for v in gate.values}
            open_at = np.asarray([(type(v), v) in allowed for v in parent.values], dtype=bool)
            if len(open_at) and not open_at.all():
                found[self.position[name]] = (self.position[gate.parent], open_at)
        return found


def draw(axis: Axis, rng: np.random.Generator, count: int) -> Array:
    """Random numbers on one axis, even in its places."""
    if not axis.values:
        return rng.random(count)
    if not axis.ordered or axis.size <= 8:
        return rng.integers(axis.size, size=count).astype(float)
    middles = (axis.positions[1:] + axis.positions[:-1]) / 2
    return np.searchsorted(middles, rng.random(count)).astype(float)


def _stem(name: str) -> str:
    """A name without its numbers: parameters `kernel_size_3` and `kernel_size_4` are kin."""
    return "".join(c for c in name if not c.isdigit())


def infer_gates(
    space: Mapping[str, BaseDistribution], trials: Sequence[Mapping[str, Any]]
) -> dict[str, Gate]:
    """For parameters that some trials lack: the one other whose value decides it, where there is.

    So a conditional space, written as branches in an objective, teaches its own shape.
    """
    found: dict[str, Gate] = {}
    always = [
        name
        for name, distribution in space.items()
        if isinstance(distribution, CategoricalDistribution | IntDistribution)
        and all(name in values for values in trials)
    ]
    for name in space:
        lacking = [values for values in trials if name not in values]
        if not lacking:
            continue
        having = [values for values in trials if name in values]
        for parent in always:
            open_at = {(type(v[parent]), v[parent]) for v in having}
            closed = {(type(v[parent]), v[parent]) for v in lacking}
            if not open_at & closed:
                found[name] = Gate(parent, tuple(value for _, value in sorted(open_at, key=str)))
                break
    return found
