"""The second generation: subnets near the fronts that the first generation's figures suggest."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autosinian.supernet.genes import GeneSpace
from subnet_table.features import Genes, Ridge, Vector, ranked_features

POPULATION = 300
ROUNDS = 60
MUTATION = 0.06


def next_generation(
    measured: Mapping[str, float],
    costs: Mapping[str, Mapping[str, float]],
    space: GeneSpace,
    resolutions: Sequence[int],
    count: int,
    seed: int,
) -> list[str]:
    """`count` new subnets, the most promising for accuracy against each of `costs` in turn.

    `measured` is accuracy by subnet, `costs` a figure to be small by subnet, by name. Ridge models
    stand for both; a genetic search on them keeps all it has seen, and the answer is made of the
    best non-dominated layers of that.
    """
    rng = np.random.default_rng(seed)
    accuracy = _fitted(measured, resolutions, log=False)
    taken, chosen = set(measured), list[str]()
    for index, name in enumerate(costs):
        cost = _fitted(costs[name], resolutions, log=True)
        pool = _search(list(measured), accuracy, cost, space, resolutions, rng)
        fresh = [text for text in pool if text not in taken]
        genes = Genes.read(fresh)
        features = ranked_features(genes, resolutions)
        points = np.column_stack([-accuracy(features), cost(features)])
        share = (count - len(chosen)) // (len(costs) - index)
        best = [fresh[i] for i in _by_layer(points, share, rng)]
        chosen += best
        taken.update(best)
    return chosen


def _fitted(values: Mapping[str, float], resolutions: Sequence[int], *, log: bool) -> Ridge:
    target = np.array(list(values.values()), np.float64)
    features = ranked_features(Genes.read(list(values)), resolutions)
    return Ridge.fit(features, np.log(target) if log else target, 1.0)


def _search(
    start: list[str],
    accuracy: Ridge,
    cost: Ridge,
    space: GeneSpace,
    resolutions: Sequence[int],
    rng: np.random.Generator,
) -> list[str]:
    """All subnets seen by a genetic search on the two models, beginning with `start`."""
    seen: dict[str, None] = dict.fromkeys(start)
    population = Genes.read(start)
    for _ in range(ROUNDS):
        features = ranked_features(population, resolutions)
        points = np.column_stack([-accuracy(features), cost(features)])
        parents = population.take(_by_layer(points, POPULATION, rng))
        children = _children(parents, space, resolutions, rng)
        words = children.words()
        fresh = [i for i, text in enumerate(words) if text not in seen]
        seen.update(dict.fromkeys(words))
        population = _join(parents, children.take(np.array(fresh, np.int64)))
    return list(seen)


def _children(
    parents: Genes, space: GeneSpace, resolutions: Sequence[int], rng: np.random.Generator
) -> Genes:
    """As many as there are parents: uniform crossover of two, then mutation; canonical."""
    size = len(parents.resolution)
    mothers, fathers = rng.integers(size, size=(2, size))

    def bred(values: NDArray[np.int64], choices: Sequence[Sequence[float]]) -> NDArray[np.int64]:
        cross = rng.random((size, len(choices))) < 0.5
        child = np.where(cross, values[mothers], values[fathers])
        for position, allowed in enumerate(choices):
            change = (rng.random(size) < MUTATION) | ~np.isin(child[:, position], allowed)
            child[change, position] = rng.choice(np.array(allowed, np.int64), change.sum())
        bred_values: NDArray[np.int64] = child.astype(np.int64)
        return bred_values

    resolution = bred(parents.resolution[:, None], [resolutions])[:, 0]
    d, ks, e = bred(parents.d, space.d), bred(parents.ks, space.ks), bred(parents.e, space.e)
    active = np.concatenate(
        [
            np.arange(len(blocks))[None, :] < d[:, [stage]]
            for stage, blocks in enumerate(space.stages)
        ],
        axis=1,
    )
    return Genes(resolution, d, np.where(active, ks, 0), np.where(active, e, 0))


def _by_layer(points: Vector, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `count` points, layer after layer of non-dominated ones, the last one thinned."""
    left = np.arange(len(points))
    chosen: list[int] = []
    while len(left) and len(chosen) < count:
        order = left[np.lexsort((points[left, 1], points[left, 0]))]
        lowest = np.minimum.accumulate(np.concatenate([[np.inf], points[order, 1]]))[:-1]
        layer = order[points[order, 1] < lowest]
        room = count - len(chosen)
        if len(layer) > room:
            layer = layer[np.sort(rng.permutation(len(layer))[:room])]
        chosen += layer.tolist()
        left = np.setdiff1d(left, layer)
    return np.array(chosen, np.int64)


def _join(first: Genes, second: Genes) -> Genes:
    return Genes(
        np.concatenate([first.resolution, second.resolution]),
        np.vstack([first.d, second.d]),
        np.vstack([first.ks, second.ks]),
        np.vstack([first.e, second.e]),
    )
