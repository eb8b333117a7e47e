"""The searches that are compared, each asked for parameters and told what they gave."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from autosinian.search.strategy.acquisition import Estimate
from autosinian.search.strategy.axes import Gate
from autosinian.search.strategy.cost import Stages
from autosinian.search.strategy.history import KNOWN
from autosinian.search.strategy.joint import JointSampler, SpaceExhausted
from search_quality.evolution_finder import EvolutionFinder
from search_quality.linas import Linas
from search_quality.problem import Answer, Parameters, Problem
from search_quality.whole_trials import WholeTrials

SECONDS = "seconds"
LEAST_CHANCE = 0.02
"""A trial less likely to join the front is stopped."""
FIRST = 5
"""The joint sampler begins with so many of the warm start, the extremes, as the product does."""
EARLIER_TRIALS = 200


class Exhausted(Exception):  # noqa: N818  (an end, not a failure)
    """The search has nothing more to propose."""


class Method(Protocol):
    """A search under way. `ask` gives a token and parameters; the rest is called with the token.

    `goes_on` is asked after each stage but the last, with the objectives known so far; where it
    says no, `stop` follows in place of `tell`. Both tell the seconds of the stages that were done.
    """

    def ask(self) -> tuple[Any, Parameters]: ...
    def goes_on(self, token: Any, known: Mapping[int, tuple[float, float]]) -> bool: ...
    def tell(self, token: Any, answer: Answer, seconds: Mapping[str, float]) -> None: ...
    def stop(
        self,
        token: Any,
        known: Mapping[int, tuple[float, float]],
        seconds: Mapping[str, float],
    ) -> None: ...


class OptunaMethod(WholeTrials):
    """A study in memory with one of Optuna's samplers, or one that follows its interface."""

    def __init__(
        self, problem: Problem, sampler: BaseSampler | None, *, enqueue: bool = False
    ) -> None:
        self._problem = problem
        self.study = optuna.create_study(directions=list(problem.directions), sampler=sampler)
        for parameters in problem.warm_start if enqueue else ():
            self.study.enqueue_trial(dict(parameters))

    def ask(self) -> tuple[optuna.Trial, Parameters]:
        """The next trial."""
        try:
            trial = self.study.ask(dict(self._problem.space))
        except SpaceExhausted as end:
            raise Exhausted from end
        return trial, trial.params

    def tell(self, token: optuna.Trial, answer: Answer, seconds: Mapping[str, float]) -> None:
        """Constraints, then the objectives."""
        for name, violation in answer.constraints.items():
            token.set_constraint(name, violation)
        self.study.tell(token, list(answer.objectives))


class StagedJoint(OptunaMethod):
    """The joint sampler with staged fidelity: hopeless trials are stopped, seconds are counted."""

    def __init__(self, problem: Problem, seed: int) -> None:
        stages = Stages(
            keys=lambda parameters: problem.work(parameters),
            seconds=lambda trial: trial.user_attrs.get(SECONDS, {}),
        )
        self._sampler = _joint_sampler(problem, seed, warm=True, stages=stages)
        super().__init__(problem, self._sampler)

    def goes_on(self, token: optuna.Trial, known: Mapping[int, tuple[float, float]]) -> bool:
        """Whether the trial may still join the front, by more than a small chance."""
        if not known:
            return True
        frozen = self.study.get_trials(deepcopy=False)[token.number]
        estimates = {index: Estimate(*value) for index, value in known.items()}
        chance = self._sampler.chance(self.study, frozen, estimates)
        return chance is None or chance >= LEAST_CHANCE

    def tell(self, token: optuna.Trial, answer: Answer, seconds: Mapping[str, float]) -> None:
        """Seconds too."""
        token.set_user_attr(SECONDS, dict(seconds))
        super().tell(token, answer, seconds)

    def stop(
        self,
        token: optuna.Trial,
        known: Mapping[int, tuple[float, float]],
        seconds: Mapping[str, float],
    ) -> None:
        """What is known exactly, then the end."""
        token.set_user_attr(SECONDS, dict(seconds))
        exact = [known[j][0] if j in known and known[j][1] == 0 else None for j in range(2)]
        token.set_user_attr(KNOWN, exact)
        self.study.tell(token, state=TrialState.PRUNED)


def _joint_sampler(
    problem: Problem,
    seed: int,
    *,
    warm: bool,
    stages: Stages | None = None,
    earlier: Sequence[Sequence[FrozenTrial]] = (),
) -> JointSampler:
    return JointSampler(
        seed=seed,
        search_space=problem.space,
        gates={child: Gate(parent, values) for child, (parent, values) in problem.gates.items()},
        warm_start=[*(dict(p) for p in problem.warm_start[:FIRST] if warm), *earlier],
        stages=stages,
    )


def _joint(problem: Problem, seed: int, *, warm: bool) -> Method:
    return OptunaMethod(problem, _joint_sampler(problem, seed, warm=warm))


def _joint_after_another(problem: Problem, seed: int) -> Method:
    """After a search of the same space on another device, which is not counted."""
    if problem.elsewhere is None:
        raise ValueError(f"`{problem.name}` must have a device elsewhere to learn from")
    before = problem.elsewhere()
    first = OptunaMethod(before, _joint_sampler(before, seed, warm=True))
    for _ in range(EARLIER_TRIALS):
        token, parameters = first.ask()
        first.tell(token, before.evaluate(parameters), {})
    trials = first.study.get_trials(deepcopy=False)
    return OptunaMethod(problem, _joint_sampler(problem, seed, warm=True, earlier=[trials]))


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
    "joint-staged": StagedJoint,
    "joint-earlier": _joint_after_another,
    "gp": lambda p, seed: OptunaMethod(p, GPSampler(seed=seed, deterministic_objective=True)),
}
"""From the cheapest to propose to the dearest; `gp` only where it is named."""
DEFAULT_METHODS = tuple(name for name in METHODS if name != "gp")
