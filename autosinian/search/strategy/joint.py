"""The joint sampler: Optuna's interface to the strategy."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.samplers._base import _process_constraints_after_trial
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autosinian.errors import AutosinianError
from autosinian.search.strategy.acquisition import Estimate, weigh
from autosinian.search.strategy.axes import Array, Axes, Gate, infer_gates
from autosinian.search.strategy.beliefs import beliefs_of, best_of
from autosinian.search.strategy.cost import CostModel, Stages
from autosinian.search.strategy.history import Facts, History
from autosinian.search.strategy.predictors import (
    POOR,
    Kernels,
    Predictors,
    train,
    train_constraints,
)
from autosinian.search.strategy.proposals import Proposer, enumerated
from autosinian.search.strategy.quiet import one_thread
from autosinian.search.strategy.screen import best_parents, screened

QUALITY_ATTRIBUTE = "autosinian:predictors"
"""Study attribute: for each objective the predictor's rank correlation on held-back trials."""
POOR_FROM = 16
"""Trials from which on a poor rank correlation is believed."""
PARENTS = 40
MOST_STUDIES = 3
"""Other studies that are learnt from, those of most trials."""
FALLBACK_DRAWS = 3_000
ENUMERABLE = 200_000


class SpaceExhausted(AutosinianError):  # noqa: N818  (an end, not a failure)
    """Every candidate that could be found in the space was proposed already.

    `trial` is the number of the trial that was to have one.
    """

    def __init__(self, trial: int) -> None:
        super().__init__("the search space is exhausted: every candidate found in it was measured")
        self.trial = trial


class JointSampler(BaseSampler):
    """Proposes the trial that promises most hypervolume, by what all trials so far have taught.

    It works on any Optuna space with one or two objectives and with constraints (told by
    `Trial.set_constraint`, or by `constraints_func` as for Optuna's own samplers). No candidate is
    proposed twice; `SpaceExhausted` is raised where none is left.

    Args:
        seed: Of all random draws; the same seed and history propose the same.
        warm_start: What to begin with: parameters are proposed first, in their order; of trials
            of another study (or of several, a list each, for their figures may not compare) the
            feasible front is, and what they teach is believed as far as this study's trials agree.
        constraints_func: Violations of a finished trial; zero or less is feasible.
        search_space: The whole space where it is known before the first trial.
        gates: Parameters that matter only where another has certain values. What an objective
            that suggests in branches leaves out is found without.
        failures_teach: Whether a trial that ended as FAIL is evidence that its like fail too.
        stages: How a trial's work divides; with it, what counts is hypervolume a second.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        warm_start: Sequence[Mapping[str, Any] | FrozenTrial | Sequence[FrozenTrial]] = (),
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        gates: Mapping[str, Gate] | None = None,
        failures_teach: bool = True,
        stages: Stages | None = None,
    ) -> None:
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._warm_start = [dict(w) for w in warm_start if isinstance(w, Mapping)]
        one = [w for w in warm_start if isinstance(w, FrozenTrial)]
        several = [list(w) for w in warm_start if not isinstance(w, Mapping | FrozenTrial)]
        self._earlier = [one, *several] if one else several
        self._cost = CostModel(stages) if stages is not None else None
        self._constraints_func = constraints_func
        self._known_space = dict(search_space) if search_space is not None else None
        self._gates = dict(gates or {})
        self._failures_teach = failures_teach
        self._mind: _Mind | None = None
        self._lock = threading.Lock()
        self._told_quality: dict[str, dict[str, float]] | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters that trials have had, unless the space was given."""
        if self._known_space is not None:
            return dict(self._known_space)
        return known_space(study.get_trials(deepcopy=False))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The best proposal. Raises `SpaceExhausted`, `ValueError` for three objectives."""
        if not search_space:
            return {}
        for values in self.proposals(study, trial, search_space):
            return values
        raise SpaceExhausted(trial.number)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that no trial had before: the warm start's value, else a uniform draw."""
        if trial.number < len(self._warm_start):
            value = self._warm_start[trial.number].get(param_name)
            if value is not None and _holds(param_distribution, value):
                return value
        letters = [ord(c) for c in param_name]
        seed = np.random.SeedSequence([self._seed, trial.number, *letters]).generate_state(1)[0]
        return RandomSampler(seed=int(seed)).sample_independent(
            study, trial, param_name, param_distribution
        )

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Keep the constraints' violations."""
        if self._constraints_func is not None:
            _process_constraints_after_trial(self._constraints_func, study, trial, state)

    def chance(
        self, study: optuna.Study, trial: FrozenTrial, known: Mapping[int, Estimate]
    ) -> float | None:
        """Probability that a running trial will be feasible and join the front.

        `known` are the objectives that were measured so far, by index, exactly or about. None
        where there are no predictors yet, or poor ones: then nobody can tell.
        """
        space = self.infer_relative_search_space(study, trial)
        maximized = [d == StudyDirection.MAXIMIZE for d in study.directions]
        trials = study.get_trials(deepcopy=False)
        with self._lock, one_thread():
            mind = self._remember(space, trials, maximized)
            facts = mind.history.read(trials)
            if facts.complete.sum() < _design_size(mind.axes):
                return None
            names = [f"objective {j}" for j in range(len(maximized))]
            predictors = train(mind.axes, mind.kernels, facts, maximized, names)
            if predictors is None or _poor(predictors):
                return None
            worth = weigh(predictors, facts, np.zeros((0, len(mind.axes))))
            return worth.chance(mind.axes.encode(trial.params), known)

    def proposals(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> Iterator[dict[str, Any]]:
        """Candidates that no trial has, the most promising first, until the space is exhausted."""
        if len(study.directions) > 2:
            raise ValueError(
                "the joint sampler must have one objective or two, but the study has "
                f"{len(study.directions)}; let constraints tell the others"
            )
        maximized = [d == StudyDirection.MAXIMIZE for d in study.directions]
        trials = study.get_trials(deepcopy=False)
        names = study.metric_names or [f"objective {j}" for j in range(len(maximized))]
        rng = np.random.default_rng([self._seed, trial.number])
        with self._lock, one_thread():
            mind = self._remember(search_space, trials, maximized)
            if self._cost is not None:
                self._cost.read(trials)
            facts = mind.history.read(trials)
            running = _running(mind.axes, trials, trial)
            taken = set(mind.axes.keys(facts.points)) | set(mind.axes.keys(running))
        axes = mind.axes
        for values in [*self._warm_start, *mind.earlier_best]:
            if set(axes.position) - set(mind.gated) <= set(values):
                point = axes.encode(values)
                if not taken & set(axes.keys(point[None])):
                    taken |= set(axes.keys(point[None]))
                    yield axes.decode(point)
        proposer = Proposer(axes, rng)
        with self._lock, one_thread():
            first = self._first(mind, facts, proposer, maximized, names, running, taken, study)
        for point in first:
            taken.add(point.tobytes())
            yield axes.decode(point)
        yield from self._fallback(axes, proposer, facts, maximized, taken)

    def _first(
        self,
        mind: "_Mind",
        facts: Facts,
        proposer: Proposer,
        maximized: list[bool],
        names: Sequence[str],
        running: Array,
        taken: set[bytes],
        study: optuna.Study,
    ) -> Array:
        """The design before there are predictors, their choice after."""
        axes = mind.axes
        if facts.complete.sum() < _design_size(axes):
            if len(facts.numbers) >= _design_size(axes):
                return _without(axes, self._likely(mind, facts, proposer, maximized), taken)
            design = [proposer.structured(40), proposer.uniform(10)]
            if len(axes.families):
                design.insert(0, axes_corners(axes, proposer, len(facts.numbers) + len(running)))
            return _without(axes, np.concatenate(design), taken)
        predictors = train(axes, mind.kernels, facts, maximized, names)
        if predictors is None:
            return _without(axes, proposer.structured(40), taken)
        self._tell_quality(study, predictors)
        parents = best_parents(facts, maximized, PARENTS)
        if _poor(predictors) and proposer.chance(0.5):
            return _without(axes, proposer.mutated(np.repeat(parents[:10], 4, axis=0)), taken)
        worth = weigh(predictors, facts, running)
        return screened(axes, proposer, worth, parents, taken, self._log_seconds(axes))

    def _likely(
        self, mind: "_Mind", facts: Facts, proposer: Proposer, maximized: list[bool]
    ) -> Array:
        """Points that probably meet the constraints first, where most trials missed one: what is
        known of the objectives is too little yet to choose by them."""
        axes = mind.axes
        pools = [proposer.structured(60), proposer.uniform(60)]
        parents = best_parents(facts, maximized, PARENTS)
        if len(parents):
            pools.insert(0, proposer.mutated(np.repeat(parents[:10], 12, axis=0)))
        points = np.concatenate(pools)
        features = axes.features(points)
        total = np.zeros(len(points))
        for predictor in train_constraints(axes, mind.kernels, facts):
            total += predictor.log_probability(features)
        # All that are more likely than not count as equal, so that they spread.
        return points[np.argsort(-np.minimum(total, np.log(0.5)), kind="stable")]

    def _fallback(
        self,
        axes: Axes,
        proposer: Proposer,
        facts: Facts,
        maximized: list[bool],
        taken: set[bytes],
    ) -> Iterator[dict[str, Any]]:
        """What the screened proposals have left out: near the front, anywhere, then all."""
        parents = best_parents(facts, maximized, PARENTS)
        pools = [proposer.uniform(FALLBACK_DRAWS)]
        if len(parents):
            pools.insert(0, proposer.mutated(np.repeat(parents, 10, axis=0)))
        if axes.size <= ENUMERABLE:
            pools.append(enumerated(axes, ENUMERABLE))
        for pool in pools:
            for point in _without(axes, pool, taken):
                taken.add(point.tobytes())
                yield axes.decode(point)

    def _remember(
        self,
        search_space: Mapping[str, BaseDistribution],
        trials: Sequence[FrozenTrial],
        maximized: list[bool],
    ) -> "_Mind":
        gates = dict(self._gates)
        if self._known_space is None and not gates:
            gates = infer_gates(search_space, [t.params for t in trials if t.params])
        if (
            self._mind is None
            or self._mind.space != dict(search_space)
            or self._mind.gated != gates
            or self._mind.maximized != maximized
        ):
            self._mind = _Mind(
                dict(search_space), gates, maximized, self._failures_teach, self._earlier
            )
        return self._mind

    def _log_seconds(self, axes: Axes) -> Callable[[Array], Array] | None:
        cost = self._cost
        if cost is None:
            return None
        return lambda points: cost.log_seconds([axes.decode(point) for point in points])

    def _tell_quality(self, study: optuna.Study, predictors: Predictors) -> None:
        told = {
            o.quality.name: {
                "rank_correlation": round(o.quality.rank_correlation, 4),
                "trials": o.quality.trials,
            }
            for o in predictors.objectives
        }
        if told != self._told_quality:
            self._told_quality = told
            study.set_user_attr(QUALITY_ATTRIBUTE, told)


class _Mind:
    """What is kept between proposals; all of it is a function of the trials."""

    def __init__(
        self,
        space: dict[str, BaseDistribution],
        gated: dict[str, Gate],
        maximized: list[bool],
        failures_teach: bool,
        earlier: Sequence[Sequence[FrozenTrial]],
    ) -> None:
        self.space = space
        self.gated = gated
        self.maximized = maximized
        largest = sorted(earlier, key=len, reverse=True)[:MOST_STUDIES]
        beliefs = [b for trials in largest for b in beliefs_of(trials, space, gated, maximized)]
        self.axes = Axes(space, gated, beliefs)
        self.earlier_best = [values for trials in largest for values in best_of(trials, maximized)]
        self.history = History(self.axes, len(maximized), failures_teach)
        self.kernels = Kernels(self.axes)


def _design_size(axes: Axes) -> int:
    """Measured trials before predictors propose."""
    return min(10, 4 + len(axes) // 5)


def _poor(predictors: Predictors) -> bool:
    return any(
        o.quality.trials >= POOR_FROM and o.quality.rank_correlation < POOR
        for o in predictors.objectives
    )


def known_space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Every parameter that trials have had, in one distribution only, by name."""
    found: dict[str, BaseDistribution] = {}
    changing = set()
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if found.setdefault(name, distribution) != distribution:
                changing.add(name)
    return {name: found[name] for name in sorted(found) if name not in changing}


def _running(axes: Axes, trials: Sequence[FrozenTrial], but: FrozenTrial) -> Array:
    rows = [
        axes.encode(t.params)
        for t in trials
        if t.state == TrialState.RUNNING and t.number != but.number and t.params
    ]
    return np.stack(rows) if rows else np.zeros((0, len(axes)))


def _without(axes: Axes, points: Array, taken: set[bytes]) -> Array:
    seen = set(taken)
    rows = []
    for row, key in enumerate(axes.keys(points)):
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return points[rows]


def axes_corners(axes: Axes, proposer: Proposer, number: int) -> Array:
    """The corners of the space, as long as there are fewer trials than corners."""
    corners = proposer.corners()
    return corners if number < len(corners) else corners[:0]


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False
