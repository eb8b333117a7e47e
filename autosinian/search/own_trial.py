"""Trials of this very process: added by one transaction, then written little by little."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from autosinian.search import trial_writing as writing
from autosinian.search.trial_writing import Param, Rows


class OwnTrial:
    """A trial that this process made and runs: what it is, and what of it is not written yet."""

    def __init__(self, study_id: int, trial: FrozenTrial) -> None:
        self.study_id = study_id
        self.trial = trial
        self.params: list[Param] = []
        self.user: dict[str, str] = {}
        self.system: dict[str, str] = {}

    @property
    def unwritten(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self.params or self.user or self.system)

    def written(self) -> None:
        """What waited is in the database."""
        self.params, self.user, self.system = [], {}, {}

    def add(self, param: Param) -> None:
        """One more dimension; one that is there already stays as it is."""
        if param.name not in self.trial.params:
            self.params.append(param)
            value = param.distribution.to_external_repr(param.number)
            self.trial.params[param.name] = value
            self.trial.distributions[param.name] = param.distribution

    def frozen(self) -> FrozenTrial:
        """A copy of it as it is now."""
        trial = self.trial
        return FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=None,
            datetime_start=trial.datetime_start,
            datetime_complete=None,
            params=dict(trial.params),
            distributions=dict(trial.distributions),
            user_attrs=dict(trial.user_attrs),
            system_attrs=dict(trial.system_attrs),
            intermediate_values=dict(trial.intermediate_values),
            trial_id=trial._trial_id,
        )

    @property
    def rows(self) -> tuple[Rows, ...]:
        """What waits to be written."""
        return (
            writing.rows_of_params(self.params),
            writing.rows_of_attributes(writing.USER, self.user),
            writing.rows_of_attributes(writing.SYSTEM, self.system),
        )


class Beginning:
    """Adds an empty trial that begins now; done again after its connection was lost, it finds what
    it has added."""

    def __init__(self, study_id: int, start: datetime, *, at_once: bool) -> None:
        self._study_id = study_id
        self._start = start
        self._at_once = at_once
        self._again = False

    def __call__(self, connection: sa.Connection) -> tuple[int, int]:
        """Id and number of the trial."""
        if self._again:
            running = TrialState.RUNNING
            found = writing.find_trial(connection, self._study_id, -1, self._start, running)
            if found is not None:
                return found
        self._again = True
        begin = writing.begin_trial_at_once if self._at_once else writing.begin_trial
        return begin(connection, self._study_id, self._start)


class Addition:
    """Adds a trial as it is; done again, it finds what it has added."""

    def __init__(self, study_id: int, trial: FrozenTrial) -> None:
        self._study_id = study_id
        self._trial = trial
        self._before: int | None = None

    def __call__(self, connection: sa.Connection) -> tuple[int, int]:
        """Id and number of the trial."""
        study_id, trial = self._study_id, self._trial
        newest = writing.lock_study(connection, study_id)
        if self._before is not None:
            found = writing.find_trial(
                connection, study_id, self._before, trial.datetime_start, trial.state
            )
            if found is not None:
                return found
        self._before = newest
        times = (trial.datetime_start, trial.datetime_complete)
        trial_id, number = writing.add_trial(connection, study_id, trial.state, *times)
        params = [
            Param(name, distribution.to_internal_repr(trial.params[name]), distribution)
            for name, distribution in trial.distributions.items()
        ]
        writing.fill(
            connection,
            trial_id,
            writing.rows_of_params(params),
            writing.rows_of_attributes(writing.USER, _texts(trial.user_attrs)),
            writing.rows_of_attributes(writing.SYSTEM, _texts(trial.system_attrs)),
            writing.rows_of_values(trial.values or ()),
            writing.rows_of_steps(trial.intermediate_values),
        )
        return trial_id, number


def empty_trial(start: datetime) -> FrozenTrial:
    """A running trial without anything."""
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=start,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in attributes.items()}
