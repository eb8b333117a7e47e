"""Trials of this very process: added by one transaction, then written little by little."""

import copy
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from autosinian.search import trial_writing as writing
from autosinian.search.trial_writing import Param


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

    def write(self, connection: sa.Connection) -> None:
        """Write what waits."""
        trial_id = self.trial._trial_id
        writing.write_params(connection, trial_id, self.params)
        writing.write_attributes(connection, writing.USER, trial_id, self.user)
        writing.write_attributes(connection, writing.SYSTEM, trial_id, self.system)

    def write_if_open(self, connection: sa.Connection) -> bool:
        """Write what waits; False where another process has ended the trial."""
        try:
            writing.check_open(connection, self.trial._trial_id)
        except (KeyError, UpdateFinishedTrialError):
            return False
        self.write(connection)
        return True


class Addition:
    """Adds a trial; done again after its connection was lost, it finds what it has added."""

    def __init__(self, study_id: int, trial: FrozenTrial) -> None:
        self._study_id = study_id
        self._trial = trial
        self._before: int | None = None

    def __call__(self, connection: sa.Connection) -> tuple[int, int]:
        """Id and number of the trial."""
        study_id, trial = self._study_id, self._trial
        writing.lock_study(connection, study_id)
        if self._before is not None:
            found = writing.find_trial(
                connection, study_id, self._before, trial.datetime_start, trial.state
            )
            if found is not None:
                return found
        self._before, number = writing.last_trial(connection, study_id)
        number += 1
        times = (trial.datetime_start, trial.datetime_complete)
        trial_id = writing.add_trial(connection, study_id, number, trial.state, *times)
        params = [
            Param(name, distribution.to_internal_repr(trial.params[name]), distribution)
            for name, distribution in trial.distributions.items()
        ]
        writing.write_params(connection, trial_id, params)
        writing.write_attributes(connection, writing.USER, trial_id, _texts(trial.user_attrs))
        writing.write_attributes(connection, writing.SYSTEM, trial_id, _texts(trial.system_attrs))
        writing.write_values(connection, trial_id, trial.values or ())
        writing.write_steps(connection, trial_id, trial.intermediate_values)
        return trial_id, number


def made(template: FrozenTrial | None) -> FrozenTrial:
    """A copy of the template, or a trial that begins now."""
    if template is not None:
        return copy.deepcopy(template)
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
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
