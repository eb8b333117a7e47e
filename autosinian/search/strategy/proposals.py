"""Cheap proposals, thousands a trial: uniform, structured, mutated and crossed points."""

from collections.abc import Sequence

import numpy as np

from autosinian.search.strategy.axes import Array, Axes, draw

_STEP = 0.7
"""Share of a mutated ordered parameter's changes that go to a value nearby."""
_FAMILY = 0.25
"""Share of mutated points in which a whole family moves."""
_NEIGHBOURS = 8


class Proposer:
    """Draws points of one space; all randomness comes from the generator it is given."""

    def __init__(self, axes: Axes, rng: np.random.Generator) -> None:
        self._axes = axes
        self._rng = rng
        self._grouped = {i for family in axes.families for i in family}

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self._rng.random() < share)

    def uniform(self, count: int) -> Array:
        """Every parameter drawn by itself."""
        return self._axes.canonical(self._axes.uniform(self._rng, count))

    def structured(self, count: int) -> Array:
        """Families at one level each, or rising or falling along their members; some disturbed."""
        points = self._axes.uniform(self._rng, count)
        for family in self._axes.families:
            ends = self._rng.random((count, 2))
            flat = self._rng.random(count) < 0.6
            ends[flat, 1] = ends[flat, 0]
            for number, i in enumerate(family):
                share = number / max(len(family) - 1, 1)
                place = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
                size = self._axes.axes[i].size
                points[:, i] = np.minimum(np.floor(place * size), size - 1)
        disturbed = self._rng.random(count) < 0.4
        if disturbed.any():
            points[disturbed] = self.mutated(points[disturbed])
        return self._axes.canonical(points)

    def corners(self) -> Array:
        """Families all at their least, greatest and middle levels, other parameters likewise."""
        rows = []
        for place in (1.0, 0.0, 0.5):
            rows.append([_at(self._axes, i, place) for i in range(len(self._axes))])
        return self._axes.canonical(np.asarray(rows, dtype=float))

    def mutated(self, parents: Array) -> Array:
        """One child of each parent: a few parameters changed, or a family moved as a whole."""
        children = parents.copy()
        count, free = len(children), self._axes.free
        if not free or not count:
            return children
        # One change, two, three ... each half as often, and sometimes a tenth of everything.
        changes = self._rng.geometric(0.5, size=count)
        wide = self._rng.random(count) < 0.15
        changes = np.where(wide, np.maximum(changes, len(free) // 10), changes)
        chosen = self._rng.random((count, len(free))) < (changes / len(free))[:, None]
        some = self._rng.integers(len(free), size=count)
        chosen[np.arange(count), some] = True
        for position, i in enumerate(free):
            rows = np.flatnonzero(chosen[:, position])
            if len(rows):
                children[rows, i] = self._changed(i, children[rows, i])
        for family in self._axes.families:
            rows = np.flatnonzero(self._rng.random(count) < _FAMILY / len(self._axes.families))
            if len(rows):
                self._move(children, rows, family)
        return self._axes.canonical(children)

    def crossed(self, parents: Array, count: int) -> Array:
        """Children of random pairs, each parameter from one of the two."""
        if len(parents) < 2:
            return self.mutated(parents[self._rng.integers(len(parents), size=count)])
        one = parents[self._rng.integers(len(parents), size=count)]
        two = parents[self._rng.integers(len(parents), size=count)]
        share = self._rng.random((count, 1))
        taken = self._rng.random(one.shape) < share
        return self._axes.canonical(np.where(taken, one, two))

    def neighbours(self, point: Array) -> Array:
        """Every point that differs in one parameter only (eight other values of each at most)."""
        rows = []
        active = self._axes.active(point[None])[0]
        for i in self._axes.free:
            if not active[i]:
                continue
            for value in self._alternatives(i, point[i]):
                row = point.copy()
                row[i] = value
                rows.append(row)
        if not rows:
            return point[None][:0]
        return self._axes.canonical(np.stack(rows))

    def _alternatives(self, i: int, now: float) -> Sequence[float]:
        axis = self._axes.axes[i]
        if not axis.values:
            steps = self._rng.normal(size=_NEIGHBOURS) * np.geomspace(0.3, 0.003, _NEIGHBOURS)
            return [float(x) for x in np.clip(now + steps, 0, 1)]
        if axis.size <= _NEIGHBOURS + 1:
            return [float(v) for v in range(axis.size) if v != now]
        near = {now - 1, now + 1, *draw(axis, self._rng, _NEIGHBOURS - 2)}
        return sorted(float(v) for v in near if v != now and 0 <= v < axis.size)

    def _changed(self, i: int, column: Array) -> Array:
        axis = self._axes.axes[i]
        fresh = draw(axis, self._rng, len(column))
        if not axis.ordered:
            return fresh
        if axis.values and axis.size <= 8:
            step = np.where(self._rng.random(len(column)) < 0.5, -1.0, 1.0)
            near = np.clip(column + step, 0, axis.size - 1)
        else:
            width = 10.0 ** self._rng.uniform(-2.5, -0.7, size=len(column))
            place = axis.place(column) + self._rng.normal(size=len(column)) * width
            near = np.clip(place, 0, 1)
            if axis.values:
                middles = (axis.positions[1:] + axis.positions[:-1]) / 2
                near = np.searchsorted(middles, near).astype(float)
        return np.where(self._rng.random(len(column)) < _STEP, near, fresh)

    def _move(self, children: Array, rows: np.ndarray, family: list[int]) -> None:
        axis = self._axes.axes[family[0]]
        if not axis.ordered:
            level = self._rng.integers(axis.size, size=len(rows)).astype(float)
            for i in family:
                taken = rows[self._rng.random(len(rows)) < 0.5]
                children[taken, i] = level[np.isin(rows, taken)]
            return
        step = np.where(self._rng.random(len(rows)) < 0.5, -1.0, 1.0)
        first = self._rng.integers(len(family), size=len(rows))
        last = self._rng.integers(len(family), size=len(rows))
        for number, i in enumerate(family):
            inside = (number >= np.minimum(first, last)) & (number <= np.maximum(first, last))
            size = self._axes.axes[i].size
            children[rows, i] = np.clip(children[rows, i] + step * inside, 0, size - 1)


def _at(axes: Axes, i: int, place: float) -> float:
    axis = axes.axes[i]
    if not axis.values:
        return place
    return float(np.argmin(np.abs(axis.positions - place)))


def enumerated(axes: Axes, limit: int) -> Array:
    """All different points of a space of at most `limit`, gates counted as open."""
    grids = np.meshgrid(*[np.arange(max(axis.size, 1)) for axis in axes.axes], indexing="ij")
    points = np.stack([g.ravel() for g in grids], axis=1).astype(float)[:limit]
    return np.unique(axes.canonical(points), axis=0)
