"""Optuna's database storage, waiting for a database that is away, quick at many dimensions.

Optuna writes each dimension of a new trial in a transaction of its own, and gives up at the first
lost connection. Here what a trial is made of is written at once, and whatever fails because the
database is away is done again.
"""

import functools
from collections.abc import Callable, Container, Sequence
from typing import Any, cast

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError

from autosinian.search.quick_reading import read_trials
from autosinian.store.connection import connect_arguments
from autosinian.store.patience import Patience

_CALLED_BY_OPTUNAS_CACHE = ("_create_new_trial",)


class PatientStorage(RDBStorage):
    """An `RDBStorage` whose every method is repeated as `patience` says."""

    def __init__(self, url: str, patience: Patience) -> None:
        self.patience = patience
        self._unwritten: dict[int, list[tuple[str, float, BaseDistribution]]] = {}
        super().__init__(url, engine_kwargs={"connect_args": connect_arguments(url)})

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        """Keep a dimension's value until the next call of any other method writes all of them.

        Distributions are not compared with earlier trials' here: a study of another space is
        refused when it is opened.
        """
        written = (param_name, param_value_internal, distribution)
        self._unwritten.setdefault(trial_id, []).append(written)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """End a trial; also where the connection was lost after that and before we heard of it."""
        self.write_params()
        attempts = 0

        def once() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts == 1 or self.get_trial(trial_id).state != state:
                    raise
                return True

        return self.patience.retry(once)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Optuna's own, but quicker for all trials of a study, as when it is opened."""
        self.write_params()

        def once() -> list[FrozenTrial]:
            if states is not None or trial_id_greater_than > -1:
                return super(PatientStorage, self)._get_trials(
                    study_id, states, included_trial_ids, trial_id_greater_than
                )
            with _create_scoped_session(self.scoped_session) as session:
                models.StudyModel.find_or_raise_by_id(study_id, session)
                return read_trials(session, study_id)

        return self.patience.retry(once)

    def write_params(self) -> None:
        """Write the dimensions that wait, all of a trial in one transaction."""
        while self._unwritten:
            trial_id, params = next(iter(self._unwritten.items()))
            try:
                self.patience.retry(functools.partial(self._write, trial_id, params))
            finally:
                self._unwritten.pop(trial_id, None)

    def _write(self, trial_id: int, params: list[tuple[str, float, BaseDistribution]]) -> None:
        try:
            with _create_scoped_session(self.scoped_session) as session:
                trial = models.TrialModel.find_or_raise_by_id(trial_id, session)
                self.check_trial_is_updatable(trial_id, TrialState(cast("int", trial.state)))
                session.execute(
                    models.TrialParamModel.__table__.insert(),
                    [
                        {
                            "trial_id": trial_id,
                            "param_name": name,
                            "param_value": value,
                            "distribution_json": distribution_to_json(distribution),
                        }
                        for name, value, distribution in params
                    ],
                )
        except IntegrityError:
            return  # they are there: the connection was lost after they were written


def _patient(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    @functools.wraps(plain)
    def method(self: PatientStorage, *arguments: Any, **named: Any) -> Any:
        self.write_params()
        return self.patience.retry(functools.partial(plain, self, *arguments, **named))

    return method


for _name in (*BaseStorage.__abstractmethods__, *_CALLED_BY_OPTUNAS_CACHE):
    if _name not in ("set_trial_param", "set_trial_state_values"):
        setattr(PatientStorage, _name, _patient(_name))
