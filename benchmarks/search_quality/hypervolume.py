"""Fronts and hypervolume of two minimised objectives."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def non_dominated(points: Points) -> NDArray[np.int64]:
    """Indices of the points of `n x 2` that no other is as good as in both and better in one.

    Of equal points one is kept. In ascending order of the first objective.
    """
    order = np.lexsort((points[:, 1], points[:, 0]))
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], points[order, 1]]))[:-1]
    kept: NDArray[np.int64] = order[points[order, 1] < lowest]
    return kept


def hypervolume(points: Points, reference: Points) -> float:
    """The area that `n x 2` points dominate within `reference`."""
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    front = inside[non_dominated(inside)]
    widths = np.diff(np.append(front[:, 0], reference[0]))
    return float(widths @ (reference[1] - front[:, 1]))


def layers(points: Points) -> NDArray[np.int64]:
    """For each point the number of its layer of non-dominated points, 0 for the front."""
    rank = np.full(len(points), -1, np.int64)
    left = np.arange(len(points))
    layer = 0
    while len(left):
        best = left[non_dominated(points[left])]
        rank[best] = layer
        left = left[rank[left] < 0]
        layer += 1
    return rank


def crowding(points: Points) -> Points:
    """Crowding distance of points of one layer (Deb et al., NSGA-II, 2002); inf at its ends."""
    distance = np.zeros(len(points))
    for axis in range(points.shape[1]):
        order = np.argsort(points[:, axis], kind="stable")
        values = points[order, axis]
        spread = values[-1] - values[0]
        distance[order[[0, -1]]] = np.inf
        if spread > 0 and len(points) > 2:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / spread
    return distance


def best_of(points: Points, violation: Points, count: int) -> NDArray[np.int64]:
    """`count` indices by constrained domination, then layer, then crowding."""
    feasible = np.flatnonzero(violation <= 0)
    chosen: list[int] = []
    if len(feasible):
        rank = layers(points[feasible])
        for layer in range(int(rank.max()) + 1):
            members = feasible[rank == layer]
            room = count - len(chosen)
            if room <= 0:
                break
            if len(members) > room:
                order = np.argsort(-crowding(points[members]), kind="stable")
                members = members[order[:room]]
            chosen += members.tolist()
    if len(chosen) < count:
        others = np.flatnonzero(violation > 0)
        order = others[np.argsort(violation[others], kind="stable")]
        chosen += order[: count - len(chosen)].tolist()
    return np.array(chosen, np.int64)
