"""The strategy's quick parts once more, as they are defined; slower, and the same."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

from autosinian.search.strategy.axes import Array
from autosinian.search.strategy.process import Process


def is_on_front(values: Array) -> NDArray[np.bool_]:
    """Each point is compared with the best before it."""
    kept = np.zeros(len(values), dtype=bool)
    if values.shape[1] == 1:
        if len(values):
            kept[int(np.argmin(values[:, 0]))] = True
        return kept
    best = np.inf
    for i in np.lexsort((values[:, 1], values[:, 0])):
        if values[i, 1] < best:
            kept[i] = True
            best = values[i, 1]
    return kept


def ranks(values: Array) -> NDArray[np.intp]:
    """Fronts are taken away, one after the other."""
    found = np.full(len(values), -1, dtype=np.intp)
    left, rank = np.arange(len(values)), 0
    while len(left):
        on = is_on_front(values[left])
        found[left[on]] = rank
        left, rank = left[~on], rank + 1
    return found


def predict(process: Process, features: Array) -> tuple[Array, Array]:
    """Rasmussen and Williams, algorithm 2.1."""
    cross = process.kernel.between(process._features_single, features.astype(np.float32))
    cross = cross.astype(np.float64)
    half = solve_triangular(process._factor, cross, lower=True)
    variance = process.kernel.own(features) - (half**2).sum(0)
    return cross.T @ process._alpha, np.sqrt(np.maximum(variance, 1e-10))


def held_back(process: Process) -> Array:
    """Rasmussen and Williams, equation 5.12."""
    inverse = cho_solve((process._factor, True), np.eye(len(process._targets)))
    return np.asarray(process._targets - process._alpha / np.diag(inverse))
