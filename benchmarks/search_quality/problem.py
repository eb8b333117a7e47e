"""What a search is tried on: a plain Optuna space with an exact answer to every question."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from search_quality.hypervolume import hypervolume

Parameters = Mapping[str, Any]
Direction = Literal["maximize", "minimize"]
Measure = Literal["worst", "strict", "nadir"]
"""What hypervolume counts from."""
Points = NDArray[np.float64]
Gates = Mapping[str, tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True)
class Stage:
    """A part of a trial's work, of `seconds`; work of one name and `key` is done once.

    `tells` are the objectives that are known after it, by index, with the standard deviation of
    what it finds: 0 where that is exact.
    """

    name: str
    key: Hashable
    seconds: float
    tells: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a trial finds: two objectives, violations (0 or less is feasible), its stages in order.

    After the last stage everything is known.
    """

    objectives: tuple[float, float]
    constraints: Mapping[str, float]
    stages: tuple[Stage, ...]

    @property
    def feasible(self) -> bool:
        """Whether no constraint is violated."""
        return all(value <= 0 for value in self.constraints.values())


@dataclass(frozen=True)
class Problem:
    """A space of parameters, what each point of it gives, and the best that there is.

    The first objective is accuracy, to be maximised; the second is maximised or minimised as
    `directions` says. `gates` names for a parameter the parent and the parent's values at which
    it matters. `key` is equal for parameters that mean the same. `front` (`n x 2`) is the front
    of the feasible, exact or the best known. Hypervolume is measured from `worst`, the worst
    feasible value of each objective in the space, from `strict`, what a user would take at least,
    and from the nadir of the front. `bound` is on the second objective, for the best accuracy that
    keeps it. `work` tells the key of each stage by its name, without doing it. `elsewhere` is the
    same space on another device, where an earlier search may have been.
    """

    name: str
    space: Mapping[str, BaseDistribution]
    directions: tuple[Direction, Direction]
    evaluate: Callable[[Parameters], Answer]
    key: Callable[[Parameters], Hashable]
    worst: tuple[float, float]
    strict: tuple[float, float]
    front: Points
    bound: float
    gates: Gates = field(default_factory=dict)
    warm_start: Sequence[Parameters] = ()
    work: Callable[[Parameters], Mapping[str, Hashable]] = lambda _: {}
    elsewhere: "Callable[[], Problem] | None" = None

    @property
    def signs(self) -> Points:
        """What objectives are multiplied with to be minimised."""
        return np.array([-1.0 if d == "maximize" else 1.0 for d in self.directions])

    @cached_property
    def references(self) -> dict[Measure, Points]:
        """Each reference point, minimised."""
        minimised = self.front * self.signs
        return {
            "worst": np.array(self.worst) * self.signs,
            "strict": np.array(self.strict) * self.signs,
            "nadir": minimised.max(0),
        }

    def share(self, points: Points, measure: Measure = "worst") -> float:
        """Hypervolume of feasible `n x 2` objectives, as a fraction of the front's."""
        own = np.asarray(points, float).reshape(-1, 2) * self.signs
        return hypervolume(own, self.references[measure]) / self._whole[measure]

    @cached_property
    def _whole(self) -> dict[Measure, float]:
        minimised = self.front * self.signs
        return {name: hypervolume(minimised, point) for name, point in self.references.items()}

    def within(self, second: float) -> bool:
        """Whether a value of the second objective keeps the bound."""
        sign = float(self.signs[1])
        return second * sign <= self.bound * sign

    @property
    def best_within(self) -> float:
        """The front's best accuracy that keeps the bound."""
        return max(float(a) for a, second in self.front if self.within(float(second)))
