"""What a trial costs in seconds: stages whose work was done before are free."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from autosinian.search.strategy.axes import Array

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Stages:
    """How trials divide into stages.

    `keys` tells the key of each stage's work for parameters: equal keys are done once. A stage
    whose key is None is done for every trial. `seconds` tells what each stage of a finished trial
    took.
    """

    keys: Callable[[Parameters], Mapping[str, Hashable | None]]
    seconds: Callable[[FrozenTrial], Mapping[str, float]]


class CostModel:
    """Median seconds of each stage, among the trials that did its work first."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._done: set[tuple[str, Hashable]] = set()
        self._seconds: dict[str, list[float]] = {}
        self._read: set[int] = set()

    def read(self, trials: Sequence[FrozenTrial]) -> None:
        """Learn from the finished trials that were not read before."""
        for trial in trials:
            if trial.number in self._read or not trial.state.is_finished():
                continue
            self._read.add(trial.number)
            took = self._stages.seconds(trial)
            if not took:
                continue
            for name, key in self._stages.keys(trial.params).items():
                if name not in took or (key is not None and (name, key) in self._done):
                    continue
                self._seconds.setdefault(name, []).append(float(took[name]))
                if key is not None:
                    self._done.add((name, key))

    def log_seconds(self, several: Sequence[Parameters]) -> Array:
        """`n` logarithms of the seconds that trials of these parameters would take."""
        medians = {name: float(np.median(took)) for name, took in self._seconds.items()}
        total = sum(medians.values())
        if total <= 0:
            return np.zeros(len(several))
        found = []
        for parameters in several:
            spent = sum(
                medians.get(name, 0.0)
                for name, key in self._stages.keys(parameters).items()
                if key is None or (name, key) not in self._done
            )
            found.append(max(spent, 0.01 * total))
        return np.log(np.asarray(found) / total)
