"""Runs one search on one problem with workers whose clock is simulated."""

import heapq
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from search_quality.methods import Exhausted, Method
from search_quality.problem import Answer, Problem

ALONE = (1.0,)
UNEQUAL = (1.0, 1.0, 1.0, 1.3, 1.3, 1.6, 2.0, 3.0)
"""How many times the seconds of a stage each of eight workers takes."""
MOST_ASKS = 4
"""A search ends where it was asked so many times the evaluations it may have."""


@dataclass(frozen=True)
class Evaluation:
    """One distinct trial, in the order of their ends; `seconds` is the clock then."""

    objectives: tuple[float, float]
    feasible: bool
    seconds: float


@dataclass(frozen=True)
class Trace:
    """What a search did: its evaluations, proposals that were known already, its own time."""

    evaluations: tuple[Evaluation, ...]
    repeats: int
    ask_s: float


def run(problem: Problem, method: Method, budget: int, workers: Sequence[float] = ALONE) -> Trace:
    """`budget` distinct evaluations, or fewer where the search is exhausted.

    A proposal that means the same as an earlier one is answered at once and for nothing, and not
    counted: that is more than a user gets who measures it again. The clock counts only the stages
    of trials; each stage key is paid for once.
    """
    known: dict[Hashable, Answer] = {}
    paid: set[Hashable] = set()
    done: list[Evaluation] = []
    flying: list[tuple[float, int, int, Any, Answer]] = []
    idle = list(range(len(workers)))
    clock = 0.0
    started = asked = repeats = 0
    spent = 0.0
    ended = False
    while len(done) < budget:
        while idle and started < budget and not ended:
            begin = time.perf_counter()
            try:
                token, parameters = method.ask()
            except Exhausted:
                ended = True
                break
            finally:
                spent += time.perf_counter() - begin
            asked += 1
            ended = asked >= MOST_ASKS * budget
            key = problem.key(parameters)
            if key in known:
                repeats += 1
                method.tell(token, known[key])
                continue
            answer = known[key] = problem.evaluate(parameters)
            fresh = [stage for stage in answer.stages if stage.key not in paid]
            paid.update(stage.key for stage in fresh)
            worker = idle.pop(0)
            takes = sum(stage.seconds for stage in fresh) * workers[worker]
            heapq.heappush(flying, (clock + takes, started, worker, token, answer))
            started += 1
        if not flying:
            break
        clock, _, worker, token, answer = heapq.heappop(flying)
        method.tell(token, answer)
        done.append(Evaluation(answer.objectives, answer.feasible, clock))
        idle.append(worker)
        idle.sort()
    return Trace(tuple(done), repeats, spent / max(asked, 1))
