"""The arrays that a trial needs, by role and resolution, made once and kept on disk."""

from pathlib import Path
from typing import Protocol

from autosinian.data import Dataset, Role
from autosinian.data.arrays import Arrays
from autosinian.data.preprocessing import Preprocessing
from autosinian.space.document import MeasurementSpec


class InputRule(Protocol):
    """How a network wants its images, at any resolution it takes."""

    def at(self, resolution: int) -> Preprocessing: ...


class ArrayCache:
    """Opens a data set's arrays under a network's preprocessing rule.

    Memory-mapped float32, `N x 3 x r x r`. How many samples each role gives comes from the
    space's measurement settings; None is all of them.
    """

    def __init__(
        self, dataset: Dataset, rule: InputRule, spec: MeasurementSpec, cache: Path
    ) -> None:
        self._dataset = dataset
        self._rule = rule
        self._cache = cache
        self._limits: dict[Role, int | None] = {
            "batch_norm": spec.batch_norm_samples,
            "calibration": spec.calibration_samples,
            "search": spec.search_samples,
            "validation": spec.validation_samples,
        }
        self._known: dict[tuple[Role, int], Arrays] = {}

    def rule(self, resolution: int) -> Preprocessing:
        """How an image becomes an input of this resolution."""
        return self._rule.at(resolution)

    def get(self, role: Role, resolution: int) -> Arrays:
        """The arrays of a role. Raises `InputError` where the data set cannot give them."""
        if (role, resolution) not in self._known:
            self._known[role, resolution] = self._dataset.arrays(
                role, self.rule(resolution), self._cache, limit=self._limits.get(role)
            )
        return self._known[role, resolution]

    def part(self, role: Role, resolution: int, samples: int) -> Arrays:
        """The arrays of a random part of a role, the same part every time."""
        return self._dataset.arrays(role, self.rule(resolution), self._cache, limit=samples)
