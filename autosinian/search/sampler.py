"""An Optuna sampler that never proposes the same candidate twice, in any process.

It proposes in this order: the warm-start candidates, candidates whose process died, then what the
joint strategy, or one of Optuna's own samplers, suggests. Every proposal is claimed in the store
before it is given out; what cannot be claimed is proposed by somebody else already and is not.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from autosinian.content import content_key
from autosinian.errors import AutosinianError, InputError
from autosinian.search.earlier import Earlier
from autosinian.search.lessons import earlier_trials, stages_of
from autosinian.search.parameters import distributions, gates
from autosinian.search.strategy.acquisition import Estimate
from autosinian.search.strategy.joint import JointSampler, SpaceExhausted
from autosinian.space.candidate import Candidate, Option
from autosinian.space.space import Space
from autosinian.store import Store

SAMPLERS = ("joint", "tpe", "nsga2", "gp", "random")
STARTUP_TRIALS = 8
INNER_ATTEMPTS = {"tpe": 6, "nsga2": 6, "gp": 1, "random": 6}
"""Draws of Optuna's samplers before one is changed at random; a Gaussian process is slow to ask."""
MUTATIONS = 400
UNIFORM_DRAWS = 5_000


class DistinctSampler(BaseSampler):
    """Wraps a sampler so that each trial is a new, claimed candidate.

    `earlier` are other studies' trials to learn from, `rebuilt` the engine's options that need an
    engine file of their own.

    `seed` and the trial's number decide the random draws, so that a resumed search continues as
    an uninterrupted one would, up to measured values.
    """

    def __init__(
        self,
        space: Space,
        store: Store,
        first: Sequence[Candidate],
        *,
        seed: int = 0,
        kind: str = "joint",
        earlier: Sequence[Earlier] = (),
        rebuilt: Sequence[str] = (),
    ) -> None:
        if kind not in SAMPLERS:
            raise InputError(f"a sampler must be one of {', '.join(SAMPLERS)}, but got `{kind}`")
        self._space = space
        self._store = store
        self._first = list(first)
        self._seed = seed
        self._kind = kind
        self._distributions = distributions(space)
        self._taken: set[str] | None = None
        self._free = {n: d for n, d in self._distributions.items() if not d.single()}
        self._joint = JointSampler(
            seed=seed,
            search_space=self._distributions,
            gates=gates(space),
            # A trial that was interrupted is told as failed; one that fails as infeasible.
            failures_teach=False,
            warm_start=earlier_trials(earlier, space),
            stages=stages_of(space, rebuilt),
        )

    def chance(
        self, study: optuna.Study, trial: FrozenTrial, known: Mapping[int, Estimate]
    ) -> float | None:
        """See `JointSampler.chance`; None with another sampler."""
        return self._joint.chance(study, trial, known) if self._kind == "joint" else None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All dimensions, always: a proposal is made and claimed as a whole."""
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of a candidate that this trial now owns. Raises `SpaceExhausted`."""
        if self._taken is None:
            self._taken = {claim.candidate for claim in self._store.claims()}
        released = {c.candidate: c.trial for c in self._store.claims("released")}
        # What others have claimed since is found out by claiming it.
        self._taken -= set(released)
        for values in self._proposals(study, trial, sorted(released.values())):
            candidate = self._space.decode(values)
            if candidate.key in self._taken:
                continue
            self._taken.add(candidate.key)
            if self._store.claim(candidate.key, trial.number):
                return {name: values[name] for name in self._distributions}
        raise SpaceExhausted(trial.number)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Never reached through `study.ask(fixed_distributions=distributions(space))`."""
        raise AutosinianError(f"`{param_name}` is no dimension of the search space")

    def _proposals(
        self, study: optuna.Study, trial: FrozenTrial, released: Sequence[int]
    ) -> Iterator[Mapping[str, Option]]:
        for candidate in self._first:
            yield self._space.encode(candidate)
        yield from self._again(study, released)
        if self._kind == "joint":
            yield from self._joint.proposals(study, trial, self._distributions)
        seed = int(content_key(self._seed, trial.number)[:8], 16)
        rng = random.Random(seed)
        last: dict[str, Option] = self._space.sample(rng)
        for _ in range(INNER_ATTEMPTS.get(self._kind, 0)):
            inner = self._inner(rng.getrandbits(31))
            suggested = inner.sample_relative(study, trial, self._free)
            last = self._space.sample(rng) | suggested
            yield last
        names = list(self._free)
        for attempt in range(MUTATIONS if names else 0):
            changed = rng.sample(names, min(len(names), 1 + attempt // 40))
            yield last | {name: self._space.dimensions[name].sample(rng) for name in changed}
        for _ in range(UNIFORM_DRAWS):
            yield self._space.sample(rng)

    def _again(
        self, study: optuna.Study, released: Sequence[int]
    ) -> Iterator[Mapping[str, Option]]:
        """What trials of these numbers were of, whose claims were given back."""
        if not released:
            return
        trials = {t.number: t for t in study.get_trials(deepcopy=False)}
        for number in released:
            if number in trials and set(trials[number].params) >= set(self._distributions):
                yield trials[number].params

    def _inner(self, seed: int) -> BaseSampler:
        if self._kind == "random":
            return RandomSampler(seed=seed)
        if self._kind == "nsga2":
            return NSGAIISampler(seed=seed)
        if self._kind == "gp":
            return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        return TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
        )


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial was measured or found infeasible (and not merely interrupted)."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
