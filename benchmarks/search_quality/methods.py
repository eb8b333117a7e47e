"""The searches that are compared, each asked for parameters and told what they gave."""

from collections.abc import Callable
from typing import Any, Protocol

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from search_quality.evolution_finder import EvolutionFinder
from search_quality.linas import Linas
from search_quality.problem import Answer, Parameters, Problem


class Exhausted(Exception):  # noqa: N818  (an end, not a failure)
    """The search has nothing more to propose."""


class Method(Protocol):
    """A search under way. `ask` gives a token and parameters; `tell` is called with the token."""

    def ask(self) -> tuple[Any, Parameters]: ...
    def tell(self, token: Any, answer: Answer) -> None: ...


class OptunaMethod:
    """A study in memory with one of Optuna's samplers, or one that follows its interface."""

    def __init__(
        self, problem: Problem, sampler: BaseSampler | None, *, enqueue: bool = False
    ) -> None:
        self._problem = problem
        self._study = optuna.create_study(directions=list(problem.directions), sampler=sampler)
        for parameters in problem.warm_start if enqueue else ():
            self._study.enqueue_trial(dict(parameters))

    def ask(self) -> tuple[optuna.Trial, Parameters]:
        """The next trial."""
        from autosinian.search.strategy.joint import SpaceExhausted

        try:
            trial = self._study.ask(dict(self._problem.space))
        except SpaceExhausted as end:
            raise Exhausted from end
        return trial, trial.params

    def tell(self, token: optuna.Trial, answer: Answer) -> None:
        """Constraints, then the objectives."""
        for name, violation in answer.constraints.items():
            token.set_constraint(name, violation)
        self._study.tell(token, list(answer.objectives))


def _joint(problem: Problem, seed: int, *, warm: bool) -> Method:
    from autosinian.search.strategy.axes import Gate
    from autosinian.search.strategy.joint import JointSampler

    sampler = JointSampler(
        seed=seed,
        search_space=problem.space,
        gates={child: Gate(parent, values) for child, (parent, values) in problem.gates.items()},
        warm_start=[dict(parameters) for parameters in problem.warm_start] if warm else (),
    )
    return OptunaMethod(problem, sampler)


def _tpe(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


METHODS: dict[str, Callable[[Problem, int], Method]] = {
    "random": lambda p, seed: OptunaMethod(p, RandomSampler(seed=seed)),
    "nsga2": lambda p, seed: OptunaMethod(p, NSGAIISampler(seed=seed)),
    "linas": lambda p, seed: Linas(p, seed),
    "linas-warm": lambda p, seed: Linas(p, seed, warm=True),
    "evolution-finder": lambda p, seed: EvolutionFinder(p, seed),
    # What `create_study` takes where no sampler is named, with a seed.
    "optuna-default": lambda p, seed: OptunaMethod(p, TPESampler(seed=seed)),
    "tpe": lambda p, seed: OptunaMethod(p, _tpe(seed)),
    "tpe-warm": lambda p, seed: OptunaMethod(p, _tpe(seed), enqueue=True),
    "joint": lambda p, seed: _joint(p, seed, warm=False),
    "joint-warm": lambda p, seed: _joint(p, seed, warm=True),
    "gp": lambda p, seed: OptunaMethod(p, GPSampler(seed=seed, deterministic_objective=True)),
}
"""From the cheapest to propose to the dearest; `gp` only where it is named."""
DEFAULT_METHODS = tuple(name for name in METHODS if name != "gp")
