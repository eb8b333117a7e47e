"""Runs one search on one problem with workers whose clock is simulated."""

import heapq
import random
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_quality.methods import Exhausted, Method
from search_quality.problem import Answer, Problem

ALONE = (1.0,)
UNEQUAL = (1.0, 1.0, 1.0, 1.3, 1.3, 1.6, 2.0, 3.0)
"""How many times the seconds of a stage each of eight workers takes."""
MOST_ASKS = 4
"""A search ends where it was asked so many times the evaluations it may have."""

Known = dict[int, tuple[float, float]]
"""Objectives that a running trial has told, by index: value and standard deviation."""


@dataclass(frozen=True)
class Evaluation:
    """One distinct trial, in the order of their ends; `seconds` is the clock then.

    `objectives` are None where the search stopped the trial early. `key` tells what was tried.
    """

    objectives: tuple[float, float] | None
    feasible: bool
    seconds: float
    key: str


@dataclass(frozen=True)
class Trace:
    """What a search did: its evaluations, proposals that were known already, its own time."""

    evaluations: tuple[Evaluation, ...]
    repeats: int
    ask_s: float


@dataclass
class _Trial:
    token: Any
    key: Hashable
    answer: Answer
    worker: int
    stage: int = 0
    known: Known = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class _Clock:
    """Trials under way, by when their stages end; each stage's work is paid for once."""

    def __init__(self, workers: Sequence[float]) -> None:
        self._speeds = workers
        self._flying: list[tuple[float, int, _Trial]] = []
        self._paid: set[tuple[str, Hashable]] = set()
        self._pushed = 0
        self.now = 0.0

    def start_stage(self, trial: _Trial) -> None:
        """Begin the trial's next stage."""
        stage = trial.answer.stages[trial.stage]
        fresh = (stage.name, stage.key) not in self._paid
        takes = stage.seconds * self._speeds[trial.worker] if fresh else 0.0
        self._paid.add((stage.name, stage.key))
        if fresh:
            trial.seconds[stage.name] = takes
        heapq.heappush(self._flying, (self.now + takes, self._pushed, trial))
        self._pushed += 1

    def next(self) -> _Trial | None:
        """The trial whose stage ends next; the clock is then."""
        if not self._flying:
            return None
        self.now, _, trial = heapq.heappop(self._flying)
        stage = trial.answer.stages[trial.stage]
        for index, deviation in stage.tells.items():
            # The same part of the same work finds the same.
            error = random.Random(repr((stage.name, stage.key))).gauss(0.0, 1.0) * deviation
            trial.known[index] = (trial.answer.objectives[index] + error, deviation)
        trial.stage += 1
        return trial


def run(problem: Problem, method: Method, budget: int, workers: Sequence[float] = ALONE) -> Trace:
    """`budget` distinct evaluations, or fewer where the search is exhausted.

    A proposal that means the same as an earlier one is answered at once and for nothing, and not
    counted: that is more than a user gets who measures it again. A trial that the method stops
    counts. The clock counts only the stages of trials.
    """
    known: dict[Hashable, Answer] = {}
    done: list[Evaluation] = []
    idle = list(range(len(workers)))
    clock = _Clock(workers)
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
                method.tell(token, known[key], {})
                continue
            answer = known[key] = problem.evaluate(parameters)
            clock.start_stage(_Trial(token, key, answer, idle.pop(0)))
            started += 1
        trial = clock.next()
        if trial is None:
            break
        last = trial.stage == len(trial.answer.stages)
        if not last and method.goes_on(trial.token, trial.known):
            clock.start_stage(trial)
            continue
        if last:
            method.tell(trial.token, trial.answer, trial.seconds)
            figures, feasible = trial.answer.objectives, trial.answer.feasible
            done.append(Evaluation(figures, feasible, clock.now, str(trial.key)))
        else:
            method.stop(trial.token, trial.known, trial.seconds)
            done.append(Evaluation(None, False, clock.now, str(trial.key)))
        idle.append(trial.worker)
        idle.sort()
    return Trace(tuple(done), repeats, spent / max(asked, 1))
