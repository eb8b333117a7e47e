"""A search by predictors and a genetic algorithm in turn, after LINAS.

Cummings et al., *A Hardware-Aware Framework for Accelerating Neural Architecture Search Across
Modalities* (2022): measure a batch, train a predictor for each objective on all that was measured,
run NSGA-II on the predictors, measure the best batch of what it found, and so on.
"""

import numpy as np

from search_quality.grid import Grid, Rows, words
from search_quality.hypervolume import best_of
from search_quality.predictors import Predictors
from search_quality.problem import Answer, Parameters, Problem

FIRST = 25
BATCH = 25
POPULATION = 100
GENERATIONS = 40


class Linas:
    """Batches of measurements chosen by NSGA-II on ridge predictors; random at first."""

    def __init__(self, problem: Problem, seed: int, *, warm: bool = False) -> None:
        self._problem = problem
        self._grid = Grid(problem.space, problem.gates)
        self._rng = np.random.default_rng(seed)
        self._rows: list[Rows] = []
        self._answers: list[Answer] = []
        self._taken: set[bytes] = set()
        first = [self._grid.encode(p) for p in problem.warm_start] if warm else []
        missing = max(FIRST - len(first), 0)
        self._waiting = first + self._random(missing)

    def ask(self) -> tuple[Rows, Parameters]:
        """The next of the batch; a new batch where there is none."""
        if not self._waiting:
            self._waiting = self._batch() if self._answers else self._random(BATCH)
        row = self._waiting.pop(0)
        self._taken.add(row.tobytes())
        return row, self._grid.decode(row)

    def tell(self, token: Rows, answer: Answer) -> None:
        """Keep what was measured."""
        self._rows.append(token)
        self._answers.append(answer)

    def _random(self, count: int) -> list[Rows]:
        return list(self._grid.sample(count, self._rng))

    def _batch(self) -> list[Rows]:
        """The best of what a genetic search on the predictors has seen, none of it measured."""
        measured = np.array(self._rows)
        predictors = Predictors(self._grid, self._problem, measured, self._answers)
        points = np.array([a.objectives for a in self._answers]) * self._problem.signs
        violation = np.array(
            [sum(max(v, 0.0) for v in a.constraints.values()) for a in self._answers]
        )
        population = measured[best_of(points, violation, POPULATION)]
        seen: dict[bytes, Rows] = {}
        for _ in range(GENERATIONS):
            children = self._grid.children(
                population, POPULATION, 1.0 / len(self._grid.names), self._rng
            )
            fresh = [
                row
                for key, row in zip(words(children), children, strict=True)
                if key not in self._taken
            ]
            seen.update((row.tobytes(), row) for row in fresh)
            pool = np.unique(np.vstack([population, children]), axis=0)
            population = pool[best_of(*predictors(pool), POPULATION)]
        if not seen:
            return self._random(BATCH)
        found = np.array(list(seen.values()))
        return list(found[best_of(*predictors(found), BATCH)])
