"""All trials of a study read from its tables at once; Optuna makes an object of every value."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session

CHUNK = 50_000


def read_trials(session: Session, study_id: int) -> list[FrozenTrial]:
    """The trials of a study, by number, as `RDBStorage` gives them.

    Finished trials of the same dimensions share one mapping of distributions.
    """
    model: Any = models.TrialModel
    rows = session.query(model).where(model.study_id == study_id).order_by(model.trial_id).all()
    params = _params(session, study_id)
    values = _values(session, study_id)
    user = _attributes(session, study_id, models.TrialUserAttributeModel)
    system = _attributes(session, study_id, models.TrialSystemAttributeModel)
    steps = _steps(session, study_id)
    nothing: tuple[dict[str, Any], dict[str, BaseDistribution]] = ({}, {})
    found = []
    for row in rows:
        trial_id = row.trial_id
        chosen, distributions = params.get(trial_id, nothing)
        found.append(
            FrozenTrial(
                number=row.number,
                state=row.state,
                value=None,
                values=values.get(trial_id),
                datetime_start=row.datetime_start,
                datetime_complete=row.datetime_complete,
                params=chosen,
                distributions=distributions if row.state.is_finished() else dict(distributions),
                user_attrs=user.get(trial_id, {}),
                system_attrs=system.get(trial_id, {}),
                intermediate_values=steps.get(trial_id, {}),
                trial_id=trial_id,
            )
        )
    return found


def _rows(session: Session, study_id: int, columns: Any, names: str, order: str) -> Iterator[Any]:
    """Rows of a table that belongs to trials: the trial's and the columns `names`, ordered."""
    trials = models.TrialModel.__table__.c
    statement = (
        sa.select(columns.trial_id, *(columns[name] for name in names.split()))
        .where(columns.trial_id == trials.trial_id, trials.study_id == study_id)
        .order_by(columns.trial_id, columns[order])
    )
    # Rows of the table itself: the session would make more of each than a tuple.
    result = session.connection().execute(statement)
    while part := result.fetchmany(CHUNK):
        yield from part


def _params(
    session: Session, study_id: int
) -> dict[int, tuple[dict[str, Any], dict[str, BaseDistribution]]]:
    columns = models.TrialParamModel.__table__.c
    read: dict[str, BaseDistribution] = {}
    shared: dict[tuple[tuple[str, int], ...], dict[str, BaseDistribution]] = {}
    found: dict[int, tuple[dict[str, Any], dict[str, BaseDistribution]]] = {}
    names = "param_name param_value distribution_json"
    for trial_id, name, value, text in _rows(session, study_id, columns, names, "param_id"):
        distribution = read.get(text)
        if distribution is None:
            distribution = read[text] = json_to_distribution(text)
        params, distributions = found.setdefault(trial_id, ({}, {}))
        params[name] = distribution.to_external_repr(value)
        distributions[name] = distribution
    for trial_id, (params, distributions) in found.items():
        key = tuple((name, id(distribution)) for name, distribution in distributions.items())
        found[trial_id] = (params, shared.setdefault(key, distributions))
    return found


def _values(session: Session, study_id: int) -> dict[int, list[float]]:
    model = models.TrialValueModel
    found: dict[int, list[float]] = {}
    columns, names = model.__table__.c, "value value_type"
    for trial_id, value, kind in _rows(session, study_id, columns, names, "objective"):
        found.setdefault(trial_id, []).append(model.stored_repr_to_value(value, kind))
    return found


def _attributes(session: Session, study_id: int, model: Any) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    columns = model.__table__.c
    for trial_id, key, text in _rows(session, study_id, columns, "key value_json", "key"):
        found.setdefault(trial_id, {})[key] = json.loads(text)
    return found


def _steps(session: Session, study_id: int) -> dict[int, dict[int, float]]:
    model = models.TrialIntermediateValueModel
    found: dict[int, dict[int, float]] = {}
    columns, names = model.__table__.c, "step intermediate_value intermediate_value_type"
    for trial_id, step, value, kind in _rows(session, study_id, columns, names, "step"):
        number = model.stored_repr_to_intermediate_value(value, kind)
        found.setdefault(trial_id, {})[step] = number
    return found
