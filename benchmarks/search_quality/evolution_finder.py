"""A search for the best accuracy under one bound on a cost, after once-for-all's.

Cai et al., *Once-for-All* (2020): measure random networks, train an accuracy predictor, then evolve
under a bound on the predicted cost and measure the winner. Here the bounds form a ladder over the
costs seen, the problem's own first, so that a front comes out; predictors are trained again with
what was measured; and a round in which nothing keeps the bound ends with what misses it least.
"""

import numpy as np

from search_quality.grid import Grid, Rows, words
from search_quality.predictors import Predictors
from search_quality.problem import Answer, Parameters, Points, Problem

FIRST = 40
POPULATION = 100
PARENTS = 25
GENERATIONS = 25
MUTATION = 0.1
BOUNDS = 10
TRAIN_EVERY = 10


class EvolutionFinder:
    """Random networks first, then the predicted best under each bound of the ladder in turn."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._grid = Grid(problem.space, problem.gates)
        self._rng = np.random.default_rng(seed)
        self._rows: list[Rows] = []
        self._answers: list[Answer] = []
        self._taken: set[bytes] = set()
        self._asked = 0
        self._predictors: Predictors | None = None
        self._trained_at = 0

    def ask(self) -> tuple[Rows, Parameters]:
        """A random network, or the winner of one round of evolution."""
        if self._asked < FIRST or not self._answers:
            row = self._random()
        else:
            row = self._evolve(self._bound((self._asked - FIRST) % BOUNDS))
        self._asked += 1
        self._taken.add(row.tobytes())
        return row, self._grid.decode(row)

    def tell(self, token: Rows, answer: Answer) -> None:
        """Keep what was measured."""
        self._rows.append(token)
        self._answers.append(answer)

    def _random(self) -> Rows:
        row: Rows = self._grid.sample(1, self._rng)[0]
        return row

    def _bound(self, step: int) -> float:
        """A bound on the second objective, minimised: the problem's, then quantiles of the seen."""
        sign = float(self._problem.signs[1])
        if step == 0:
            return self._problem.bound * sign
        seen = [answer.objectives[1] * sign for answer in self._answers]
        return float(np.quantile(seen, step / BOUNDS))

    def _evolve(self, bound: float) -> Rows:
        """The best new network that was bred; the one that misses least where none keeps all."""
        if self._predictors is None or len(self._answers) >= self._trained_at + TRAIN_EVERY:
            rows = np.array(self._rows)
            self._predictors = Predictors(self._grid, self._problem, rows, self._answers)
            self._trained_at = len(self._answers)
        population = self._grid.sample(POPULATION, self._rng)
        seen: dict[bytes, Rows] = {}
        for _ in range(GENERATIONS):
            seen.update(
                (key, row)
                for key, row in zip(words(population), population, strict=True)
                if key not in self._taken
            )
            parents = population[self._order(population, bound)[:PARENTS]]
            bred = self._grid.children(parents, POPULATION - PARENTS, MUTATION, self._rng)
            population = np.unique(np.vstack([parents, bred]), axis=0)
        if not seen:
            return self._random()
        found = np.array(list(seen.values()))
        winner: Rows = found[self._order(found, bound)[0]]
        return winner

    def _order(self, rows: Rows, bound: float) -> Rows:
        """Indices from the most accurate that keeps the bound to the one that misses it most."""
        assert self._predictors is not None
        points, violation = self._predictors(rows)
        scale = max(abs(bound), 1e-12)
        missed: Points = violation + np.maximum(points[:, 1] - bound, 0.0) / scale
        order: Rows = np.lexsort((points[:, 0], missed)).astype(np.int64)
        return order
