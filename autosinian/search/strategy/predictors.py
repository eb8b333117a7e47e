"""Predictors of every objective and constraint, trained on what was measured."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autosinian.search.strategy.axes import Array, Axes
from autosinian.search.strategy.front import ranks
from autosinian.search.strategy.history import Facts
from autosinian.search.strategy.process import Kernel, Process, fit_kernel
from autosinian.search.strategy.targets import Target

LEAST_TRIALS = 5
POOR = 0.25
"""Predictors whose rank correlation is below this step aside."""
MOST_TRIALS = 400
"""A process is conditioned on at most so many trials: the near-front ones and an even rest."""
KERNEL_TRIALS = 160
GROWTH = 1.25
"""The kernel is found anew each time the trials have grown by this factor."""
_SAME = 1e-7
"""Relative distance from a straight line at which two figures are the same."""
_LEAST_RATIO = 1e-3
"""Figures smaller than this share of their bound count as that."""
NOISE_SHARE = 0.5
"""Share of the noise that is taken for structure no kernel has found, and so may be a gain."""


@dataclass(frozen=True)
class Quality:
    """Rank correlation (Spearman) of predictions with what was measured, each trial held back."""

    name: str
    rank_correlation: float
    trials: int


class ObjectivePredictor:
    """One objective in modelled values, which are minimised (see `Target`)."""

    def __init__(self, target: Target, process: Process, quality: Quality) -> None:
        self.target = target
        self.process = process
        self.quality = quality


class ConstraintPredictor:
    """The probability that one constraint holds."""

    def __init__(self, process: Process, threshold: float, binary: bool) -> None:
        self._process = process
        self._threshold = threshold
        self._binary = binary

    def log_probability(self, features: Array) -> Array:
        """`n` logarithms of the probability that the constraint holds."""
        mean, deviation = self._process.predict(features)
        if self._binary:
            deviation = np.sqrt(deviation**2 + self._process.kernel.noise)
        return log_ndtr((self._threshold - mean) / deviation)


@dataclass(frozen=True)
class DerivedConstraint:
    """A constraint that is a straight function of an objective: `y <= bound` or `>=`."""

    objective: int
    bound: float
    at_most: bool


def log_ndtr(z: Array) -> Array:
    """Logarithm of the normal distribution function, from below no further than -50."""
    return np.asarray(np.log(np.maximum(ndtr(z), 2e-22)))


class Kernels:
    """Kernels found so far, by output and number of trials: a fit is a function of the trials."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._found: dict[tuple[str, int], Kernel] = {}

    def get(
        self, name: str, features: Array, offset: int, modelled: Callable[[int], Array]
    ) -> Kernel:
        """The kernel for an output, from the first trials up to the last step of growth.

        `modelled` gives the modelled values of that many first rows, as they were then.
        """
        steps = [LEAST_TRIALS]
        while max(steps[-1] + 2, int(steps[-1] * GROWTH) + offset) <= len(features):
            steps.append(max(steps[-1] + 2, int(steps[-1] * GROWTH) + offset))
        key = (name, steps[-1])
        if key not in self._found:
            values = modelled(steps[-1])
            rows = _even(steps[-1], KERNEL_TRIALS)
            self._found[key] = fit_kernel(
                features[rows], values[rows], self._axes.groups, self._axes.kinds
            )
        return self._found[key]


@dataclass(frozen=True)
class Predictors:
    """Everything predicted at a point."""

    axes: Axes
    objectives: tuple[ObjectivePredictor, ...]
    constraints: tuple[ConstraintPredictor, ...]
    derived: tuple[DerivedConstraint, ...]

    def predict(self, features: Array) -> tuple[Array, Array]:
        """`n x m` means and deviations of the objectives, in modelled values."""
        found = [objective.process.predict(features) for objective in self.objectives]
        means = np.stack([mean for mean, _ in found], axis=1)
        noise = [NOISE_SHARE * o.process.kernel.noise for o in self.objectives]
        variances = np.stack([deviation**2 for _, deviation in found], axis=1) + noise
        return means, np.sqrt(variances)

    def log_feasible(self, features: Array, means: Array, deviations: Array) -> Array:
        """`n` logarithms of the probability that all constraints hold."""
        total = np.zeros(len(features))
        for constraint in self.constraints:
            total += constraint.log_probability(features)
        for derived in self.derived:
            j = derived.objective
            bound = self.objectives[j].target.forward(np.asarray([derived.bound]))[0]
            z = (bound - means[:, j]) / deviations[:, j]
            # Modelled values are minimised: "at most" in them is "at least" where maximised.
            smaller_is_inside = derived.at_most == (self.objectives[j].target.sign > 0)
            total += log_ndtr(z if smaller_is_inside else -z)
        return total

    def given(self, points: Array) -> "Predictors":
        """As if `points` had been measured as predicted, for what runs already."""
        if not len(points):
            return self
        features = self.axes.features(points)
        objectives = tuple(
            ObjectivePredictor(o.target, o.process.joined(features), o.quality)
            for o in self.objectives
        )
        return Predictors(self.axes, objectives, self.constraints, self.derived)


def train(
    axes: Axes, kernels: Kernels, facts: Facts, maximized: Sequence[bool], names: Sequence[str]
) -> Predictors | None:
    """Predictors from the facts; None where an objective has too few figures."""
    features = axes.features(facts.points)
    objectives = []
    for j, name in enumerate(names):
        rows = np.flatnonzero(~np.isnan(facts.figures[:, j]))
        if len(rows) < LEAST_TRIALS:
            return None
        kept = _kept(rows, facts, maximized)
        kernel = kernels.get(
            f"objective {j}",
            features[rows],
            j,
            partial(_first_modelled, facts.figures[rows, j], maximized[j]),
        )
        target = Target.of(facts.figures[rows, j], maximized=maximized[j])
        modelled = target.forward(facts.figures[kept, j])
        process = Process(kernel, features[kept], modelled)
        quality = Quality(name, rank_correlation(process.held_back(), modelled), len(kept))
        objectives.append(ObjectivePredictor(target, process, quality))
    derived: list[DerivedConstraint] = []
    straight: set[str] = set()
    for name, violations in _constraints(facts).items():
        line = _derive(facts, violations)
        if line is not None:
            derived.append(line)
            straight.add(name)
    constraints = train_constraints(axes, kernels, facts, without=straight)
    return Predictors(axes, tuple(objectives), tuple(constraints), tuple(derived))


def train_constraints(
    axes: Axes, kernels: Kernels, facts: Facts, *, without: Collection[str] = ()
) -> list[ConstraintPredictor]:
    """A predictor of each constraint whose bound is known to be crossed, but those `without`."""
    told = _constraints(facts)
    if set(told) <= set(without):
        return []
    features = axes.features(facts.points)
    found = []
    for number, (name, violations) in enumerate(told.items()):
        if name not in without:
            found.append(_constraint(kernels, features, violations, name, number, facts))
    return [predictor for predictor in found if predictor is not None]


def _first_modelled(figures: Array, maximized: bool, count: int) -> Array:
    return Target.of(figures[:count], maximized=maximized).forward(figures[:count])


def rank_correlation(one: Array, two: Array) -> float:
    """Spearman's; 0 where either does not vary."""
    if len(one) < 3:
        return 0.0
    a, b = _ranked(one), _ranked(two)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _ranked(values: Array) -> Array:
    """Ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[inverse])


def _constraints(facts: Facts) -> dict[str, Array]:
    found = dict(facts.constraints)
    if facts.failed.any():
        found["ends"] = np.where(facts.failed, 1.0, 0.0)
    return found


def _derive(facts: Facts, violations: Array) -> DerivedConstraint | None:
    """Whether the violation is a straight function of an objective, wherever both are known."""
    for j in range(facts.figures.shape[1]):
        rows = facts.complete & ~np.isnan(violations)
        x, y = facts.figures[rows, j], violations[rows]
        if len(x) < LEAST_TRIALS or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        slope, offset = np.polyfit(x, y, 1)
        if np.abs(slope * x + offset - y).max() < _SAME * np.ptp(y):
            return DerivedConstraint(j, float(-offset / slope), bool(slope > 0))
    return None


def _constraint(
    kernels: Kernels,
    features: Array,
    violations: Array,
    name: str,
    number: int,
    facts: Facts,
) -> ConstraintPredictor | None:
    told = ~np.isnan(violations)
    # A trial that was stopped early tells exactly 0 or 1 of what was never measured.
    measured = told & (facts.complete | ((violations != 0.0) & (violations != 1.0)))
    binary = len(np.unique(violations[measured])) <= 2
    rows = np.flatnonzero(told if binary else measured)
    if len(rows) < LEAST_TRIALS:
        return None
    values = violations[rows]
    if np.ptp(values) == 0 or (binary and (values > 0).all()):
        return None  # always kept, or never: where it would differ is not known

    def modelled(count: int) -> Array:
        return _violations_modelled(values[:count], binary)[0]

    found, threshold = _violations_modelled(values, binary)
    kernel = kernels.get(f"constraint {name} {binary}", features[rows], number + 2, modelled)
    kept = _even(len(rows), MOST_TRIALS)
    process = Process(kernel, features[rows][kept], found[kept])
    return ConstraintPredictor(process, threshold, binary)


def _violations_modelled(values: Array, binary: bool) -> tuple[Array, float]:
    """Violations at mean 0 and deviation 1, and the threshold up to which they are kept."""
    if binary:
        raw = np.where(values > 0, 1.0, -1.0)
    elif values.min() > -1.0:
        # As a share of a bound that a figure exceeds: the figure's own logarithm.
        raw = np.log(np.maximum(1.0 + values, _LEAST_RATIO))
    elif values.max() < 1.0:
        # Likewise where the figure has to reach the bound.
        raw = -np.log(np.maximum(1.0 - values, _LEAST_RATIO))
    else:
        raw = np.arcsinh(values / max(float(np.median(np.abs(values))), 1e-12))
    centre, spread = float(raw.mean()), max(float(raw.std()), 0.1)
    return (raw - centre) / spread, -centre / spread


def _kept(rows: NDArray[np.intp], facts: Facts, maximized: Sequence[bool]) -> NDArray[np.intp]:
    """At most `MOST_TRIALS` of the rows: half the best by front, the rest evenly by number."""
    if len(rows) <= MOST_TRIALS:
        return rows
    signs = np.where(np.asarray(maximized), -1.0, 1.0)
    complete = rows[facts.complete[rows]]
    good = complete[facts.feasible[complete]]
    pool = good if len(good) > MOST_TRIALS // 2 else complete
    order = np.argsort(ranks(facts.figures[pool] * signs), kind="stable")
    best = pool[order[: MOST_TRIALS // 2]]
    rest = np.setdiff1d(rows, best)
    return np.sort(np.concatenate([best, rest[_even(len(rest), MOST_TRIALS - len(best))]]))


def _even(count: int, most: int) -> NDArray[np.intp]:
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))
