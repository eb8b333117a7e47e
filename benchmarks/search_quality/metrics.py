"""What a trace is worth, as one row of figures."""

import functools

import numpy as np

from search_quality.methods import METHODS
from search_quality.problem import Measure, Points, Problem
from search_quality.runner import Trace, run

MARKS = (10, 25, 50, 75, 100, 150, 200, 300, 400, 500)
BOUND_MARKS = (50, 100, 200, 500)
GOALS = (0.95, 0.98)


def row(problem: Problem, trace: Trace, second_marks: tuple[float, ...]) -> dict[str, object]:
    """Hypervolume at each mark of evaluations and of seconds, and what the issue of searches is.

    A goal that was not reached is an empty field; so is a mark that the run did not get to.
    """
    shares = share_curve(problem, trace)
    strict = share_curve(problem, trace, "strict")
    nadir = share_curve(problem, trace, "nadir")
    clock = np.array([evaluation.seconds for evaluation in trace.evaluations])
    found: dict[str, object] = {"evaluations": len(shares)}
    for mark in MARKS:
        found[f"hypervolume_{mark}"] = _round(shares[mark - 1]) if mark <= len(shares) else ""
    for mark, second in zip(MARKS, second_marks, strict=True):
        reached = int(np.searchsorted(clock, second, side="right"))
        found[f"hypervolume_s{mark}"] = _round(shares[reached - 1]) if reached else 0.0
    for name, curve in (("strict", strict), ("nadir", nadir)):
        for mark in MARKS:
            found[f"{name}_{mark}"] = _round(curve[mark - 1]) if mark <= len(curve) else ""
    for prefix, curve in (("", shares), ("strict_", strict)):
        for goal in GOALS:
            first = np.flatnonzero(curve >= goal)
            found[f"{prefix}evaluations_to_{goal}"] = int(first[0]) + 1 if len(first) else ""
            found[f"{prefix}seconds_to_{goal}"] = (
                round(float(clock[first[0]]), 1) if len(first) else ""
            )
    for mark in BOUND_MARKS:
        found[f"accuracy_missed_{mark}"] = _round(missed(problem, trace, mark))
    ran = [e.feasible for e in trace.evaluations if e.objectives is not None]
    found["infeasible_share"] = _round(1 - float(np.mean(ran)))
    found["stopped_share"] = _round(1 - len(ran) / len(trace.evaluations))
    found["repeats"] = trace.repeats
    found["ask_s"] = round(trace.ask_s, 4)
    return found


def share_curve(problem: Problem, trace: Trace, measure: Measure = "worst") -> Points:
    """The share of the front's hypervolume after each evaluation."""
    shares, points = np.zeros(len(trace.evaluations)), list[tuple[float, float]]()
    for index, evaluation in enumerate(trace.evaluations):
        if evaluation.feasible and evaluation.objectives is not None:
            points.append(evaluation.objectives)
            shares[index] = problem.share(np.array(points), measure)
        elif index:
            shares[index] = shares[index - 1]
    return shares


def missed(problem: Problem, trace: Trace, count: int) -> float:
    """Accuracy that the best found within the bound lacks to the best there is.

    All of it where nothing was found there.
    """
    best = max(
        (
            evaluation.objectives[0]
            for evaluation in trace.evaluations[:count]
            if evaluation.feasible
            and evaluation.objectives is not None
            and problem.within(evaluation.objectives[1])
        ),
        default=problem.strict[0],
    )
    return problem.best_within - best


@functools.cache
def _random_seconds(problem_name: str, workers: tuple[float, ...]) -> tuple[float, ...]:
    from search_quality.problems import problem_of

    problem = problem_of(problem_name)
    trace = run(problem, METHODS["random"](problem, 0), MARKS[-1], workers)
    return tuple(trace.evaluations[mark - 1].seconds for mark in MARKS)


def second_marks(problem: Problem, workers: tuple[float, ...]) -> tuple[float, ...]:
    """The clock after each mark of a random search (seed 0): the marks of seconds for all."""
    return _random_seconds(problem.name, workers)


def _round(value: float) -> float:
    return round(float(value), 5)
