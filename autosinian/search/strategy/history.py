"""What a study's trials teach, as arrays; each finished trial is read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from autosinian.search.strategy.axes import Array, Axes

KNOWN = "joint:known"
"""User attribute of a trial that was stopped early: its objectives, `None` where not measured."""


@dataclass(frozen=True)
class Facts:
    """`n` finished trials in the order of their numbers.

    `points` is `n x d`; `figures` is `n x m`, NaN where not measured; `constraints` maps a name
    to `n` violations, NaN where not told; `failed` says that a trial ended without any figure and
    without a violated constraint that would explain it. `complete` trials have all figures.
    """

    numbers: NDArray[np.intp]
    points: Array
    figures: Array
    constraints: dict[str, Array]
    failed: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    seconds: Array

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Complete trials with no constraint violated."""
        found = self.complete.copy()
        for values in self.constraints.values():
            found &= ~(values > 0)
        return found


@dataclass
class _Row:
    number: int
    point: Array
    figures: list[float]
    constraints: Mapping[str, float]
    failed: bool
    complete: bool
    seconds: float


@dataclass
class History:
    """Reads trials of one study; `failures_teach` says that FAIL is evidence, not interruption."""

    axes: Axes
    objectives: int
    failures_teach: bool
    _rows: dict[int, _Row] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _facts: Facts | None = None

    def read(self, trials: Sequence[FrozenTrial]) -> Facts:
        """The facts of all finished trials."""
        before = len(self._rows)
        for trial in trials:
            if trial.number in self._seen or not trial.state.is_finished():
                continue
            self._seen.add(trial.number)
            row = self._row(trial)
            if row is not None:
                self._rows[trial.number] = row
        if self._facts is None or len(self._rows) != before:
            self._facts = self._collect()
        return self._facts

    def _row(self, trial: FrozenTrial) -> _Row | None:
        if not trial.params or (trial.state == TrialState.FAIL and not self.failures_teach):
            return None
        constraints = {k: float(v) for k, v in trial.constraints.items() if np.isfinite(v)}
        values: Sequence[Any]
        if trial.state == TrialState.COMPLETE:
            values = trial.values
        else:
            values = trial.user_attrs.get(KNOWN, [None] * self.objectives)
        figures = [float("nan") if v is None else float(v) for v in values]
        figures = [v if np.isfinite(v) else float("nan") for v in figures]
        complete = trial.state == TrialState.COMPLETE and not np.isnan(figures).any()
        explained = any(v > 0 for v in constraints.values()) or not np.isnan(figures).all()
        return _Row(
            trial.number,
            self.axes.encode(trial.params),
            figures,
            constraints,
            not complete and not explained,
            complete,
            trial.duration.total_seconds() if trial.duration else float("nan"),
        )

    def _collect(self) -> Facts:
        rows = [self._rows[number] for number in sorted(self._rows)]
        names = list(dict.fromkeys(name for row in rows for name in row.constraints))
        count = len(rows)
        return Facts(
            numbers=np.asarray([row.number for row in rows], dtype=np.intp),
            points=np.stack([row.point for row in rows]) if rows else np.zeros((0, len(self.axes))),
            figures=np.asarray([row.figures for row in rows], dtype=float).reshape(
                count, self.objectives
            ),
            constraints={
                name: np.asarray([row.constraints.get(name, np.nan) for row in rows], dtype=float)
                for name in names
            },
            failed=np.asarray([row.failed for row in rows], dtype=bool),
            complete=np.asarray([row.complete for row in rows], dtype=bool),
            seconds=np.asarray([row.seconds for row in rows], dtype=float),
        )
