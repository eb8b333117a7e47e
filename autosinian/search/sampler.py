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
from autosinian.search.parameters import distributions, gates
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
    """Wraps an Optuna sampler so that each trial is a new, claimed candidate.

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
    ) -> None:
        if kind not in SAMPLERS:
            raise InputError(f"a sampler must be one of {', '.join(SAMPLERS)}, but got `{kind}`")
        self._space = space
        self._store = store
        self._first = list(first)
        self._seed = seed
        self._kind = kind
        self._distributions = distributions(space)
        self._free = {n: d for n, d in self._distributions.items() if not d.single()}
        self._joint = JointSampler(
            seed=seed,
            search_space=self._distributions,
            gates=gates(space),
            # A trial that was interrupted is told as failed; one that fails as infeasible.
            failures_teach=False,
        )

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All dimensions, always: a proposal is made and claimed as a whole."""
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of a candidate that this trial now owns. Raises `SpaceExhausted`."""
        taken = {claim.candidate for claim in self._store.claims() if claim.state != "released"}
        for values in self._proposals(study, trial):
            candidate = self._space.decode(values)
            if candidate.key in taken:
                continue
            if self._store.claim(candidate.key, trial.number):
                return {name: values[name] for name in self._distributions}
            taken.add(candidate.key)
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

    def _proposals(self, study: optuna.Study, trial: FrozenTrial) -> Iterator[Mapping[str, Option]]:
        for candidate in self._first:
            yield self._space.encode(candidate)
        yield from self._released(study)
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

    def _released(self, study: optuna.Study) -> Iterator[Mapping[str, Option]]:
        released = {c.candidate: c.trial for c in self._store.claims() if c.state == "released"}
        if not released:
            return
        trials = {t.number: t for t in study.get_trials(deepcopy=False)}
        for number in sorted(released.values()):
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
