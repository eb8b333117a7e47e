"""From thousands of cheap proposals to the few that are worth a trial."""

import numpy as np

from autosinian.search.strategy.acquisition import Worth
from autosinian.search.strategy.axes import Array, Axes
from autosinian.search.strategy.front import is_on_front, ranks
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.proposals import Proposer

ROUNDS = 5
CHILDREN = 320
ELITE = 24
CLIMBS = 3
LIKELY = -3.0
"""Points less likely to be feasible than this logarithm are no parents for their means' sake."""


def best_parents(facts: Facts, maximized: list[bool], most: int) -> Array:
    """The measured points nearest to the front, feasible ones first."""
    signs = np.where(np.asarray(maximized), -1.0, 1.0)
    good = np.flatnonzero(facts.feasible)
    other = np.flatnonzero(~facts.feasible)
    order = good[np.argsort(ranks(facts.figures[good] * signs), kind="stable")]
    if len(order) < most and len(other):
        missed = np.zeros(len(other))
        for values in facts.constraints.values():
            missed += np.nan_to_num(np.maximum(values[other], 0.0), nan=1.0)
        missed += facts.failed[other]
        order = np.concatenate([order, other[np.argsort(missed, kind="stable")]])
    return facts.points[order[:most]]


def screened(
    axes: Axes, proposer: Proposer, worth: Worth, parents: Array, taken: set[bytes]
) -> Array:
    """Points that are not taken, the worthiest first: bred for some rounds, then climbed."""
    pool = np.concatenate(
        [
            proposer.structured(CHILDREN // 2),
            proposer.uniform(CHILDREN // 4),
            proposer.mutated(np.repeat(parents, max(1, CHILDREN // max(len(parents), 1)), axis=0)),
            proposer.crossed(parents, CHILDREN // 2),
        ]
    )
    kept, scores, means, feasible = _empty(axes, worth)
    seen = set(taken)
    for number in range(ROUNDS):
        fresh = _fresh(axes, pool, seen)
        if len(fresh):
            found = worth.score(fresh)
            kept = np.concatenate([kept, fresh])
            scores = np.concatenate([scores, found[0]])
            means = np.concatenate([means, found[1]])
            feasible = np.concatenate([feasible, found[2]])
        if not len(kept) or number == ROUNDS - 1:
            break
        elite = _elite(kept, scores, means, feasible)
        pool = np.concatenate(
            [
                proposer.mutated(np.repeat(elite, max(1, CHILDREN // len(elite)), axis=0)),
                proposer.crossed(elite, CHILDREN // 2),
            ]
        )
    for _ in range(CLIMBS):
        if not len(kept):
            break
        order = np.argsort(-scores, kind="stable")
        top = kept[order[0]]
        fresh = _fresh(axes, proposer.neighbours(top), seen)
        if not len(fresh):
            break
        found = worth.score(fresh)
        improved = found[0].max() > scores[order[0]]
        kept, scores = np.concatenate([kept, fresh]), np.concatenate([scores, found[0]])
        if not improved:
            break
    return kept[np.argsort(-scores, kind="stable")]


def _elite(points: Array, scores: Array, means: Array, feasible: Array) -> Array:
    """The best by score, and the front of the means among what is likely feasible."""
    chosen = list(np.argsort(-scores, kind="stable")[:ELITE])
    likely = np.flatnonzero(feasible > LIKELY)
    if len(likely):
        front = likely[is_on_front(means[likely])]
        if len(front) > ELITE:
            front = front[np.argsort(-scores[front], kind="stable")[:ELITE]]
        chosen += list(front)
    return np.asarray(points[np.unique(chosen)])


def _fresh(axes: Axes, pool: Array, seen: set[bytes]) -> Array:
    """Points of the pool that are not in `seen`, which gets them."""
    rows = []
    for row, key in enumerate(axes.keys(pool)):
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return pool[rows]


def _empty(axes: Axes, worth: Worth) -> tuple[Array, Array, Array, Array]:
    outputs = len(worth.predictors.objectives)
    return np.zeros((0, len(axes))), np.zeros(0), np.zeros((0, outputs)), np.zeros(0)
