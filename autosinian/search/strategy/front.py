"""Fronts of one or two minimised objectives, and the hypervolume a point is expected to add."""

import numpy as np
from numpy.typing import NDArray

from autosinian.search.strategy.axes import Array
from autosinian.search.strategy.targets import below


def is_on_front(values: Array) -> NDArray[np.bool_]:
    """For `n x m` values, `m` 1 or 2: whether no other is as good in all and better in one."""
    count, objectives = values.shape
    kept = np.zeros(count, dtype=bool)
    if objectives == 1:
        if count:
            kept[int(np.argmin(values[:, 0]))] = True
        return kept
    order = np.lexsort((values[:, 1], values[:, 0]))
    best = np.inf
    for i in order:
        if values[i, 1] < best:
            kept[i] = True
            best = values[i, 1]
    return kept


def ranks(values: Array) -> NDArray[np.intp]:
    """Number of the front each point is on once the better fronts are taken away, from 0."""
    found = np.full(len(values), -1, dtype=np.intp)
    left = np.arange(len(values))
    rank = 0
    while len(left):
        on = is_on_front(values[left])
        found[left[on]] = rank
        left = left[~on]
        rank += 1
    return found


def hypervolume(values: Array, reference: Array) -> float:
    """Area that `n x 2` values dominate up to the reference; a gain over it where there is one."""
    inside = values[(values < reference).all(1)]
    if not len(inside):
        return 0.0
    if values.shape[1] == 1:
        return float(reference[0] - inside.min())
    front = inside[is_on_front(inside)]
    front = front[np.argsort(front[:, 0])]
    widths = np.diff(np.append(front[:, 0], reference[0]))
    return float((widths * (reference[1] - front[:, 1])).sum())


def expected_improvement(means: Array, deviations: Array, front: Array, reference: Array) -> Array:
    """Expected gain in hypervolume at `n x m` independent normal values, `m` 1 or 2.

    Exact, strip by strip between the points of the front (Emmerich, Deutz and Klinkenberg,
    *Hypervolume-based expected improvement: monotonicity properties and exact computation*, 2011).
    """
    if means.shape[1] == 1:
        best = min(reference[0], front[:, 0].min()) if len(front) else reference[0]
        return below(np.asarray(best), means[:, 0], deviations[:, 0])
    front = front[(front < reference).all(1)]
    front = front[np.argsort(front[:, 0])]
    edges = np.append(front[:, 0], reference[0])
    tops = np.insert(front[:, 1], 0, reference[1])
    first = below(edges[None, :], means[:, :1], deviations[:, :1])
    widths = np.diff(first, axis=1, prepend=0.0)
    heights = below(tops[None, :], means[:, 1:], deviations[:, 1:])
    return np.asarray(np.einsum("ij,ij->i", np.maximum(widths, 0.0), heights))
