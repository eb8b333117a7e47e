"""Fronts of one or two minimised objectives, and the hypervolume a point is expected to add."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

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
    second = values[order, 1]
    best_before = np.minimum.accumulate(np.append(np.inf, second))[:-1]
    kept[order] = second < best_before
    return kept


def ranks(values: Array) -> NDArray[np.intp]:
    """Number of the front each point is on once the better fronts are taken away, from 0."""
    found = np.empty(len(values), dtype=np.intp)
    if values.shape[1] == 1:
        found[np.argsort(values[:, 0], kind="stable")] = np.arange(len(values))
        return found
    # By the first value, a point is on the first front whose least second value so far is above its
    # own; these least values rise from front to front.
    least: list[float] = []
    for i in np.lexsort((values[:, 1], values[:, 0])):
        second = float(values[i, 1])
        rank = bisect_right(least, second)
        found[i] = rank
        least[rank : rank + 1] = [second]
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


def chance_to_join(mean: Array, deviation: Array, front: Array) -> float:
    """Probability that independent normal values (`m`, 1 or 2) are dominated by no front point."""
    if len(mean) == 1:
        return float(ndtr((front[:, 0].min() - mean[0]) / deviation[0])) if len(front) else 1.0
    front = front[np.argsort(front[:, 0])]
    edges = np.append(ndtr((front[:, 0] - mean[0]) / deviation[0]), 1.0)
    above = ndtr((mean[1] - front[:, 1]) / deviation[1])
    return float(1.0 - (np.diff(edges) * above).sum())
