"""Trials written to Optuna's tables, many rows by one statement.

Whatever is written twice is there once: a transaction whose end was not heard of is repeated.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb import models
from optuna.trial import TrialState

_STUDIES: Any = models.StudyModel.__table__
_TRIALS: Any = models.TrialModel.__table__
_PARAMS: Any = models.TrialParamModel.__table__
_VALUES: Any = models.TrialValueModel.__table__
_STEPS: Any = models.TrialIntermediateValueModel.__table__
USER: Any = models.TrialUserAttributeModel.__table__
SYSTEM: Any = models.TrialSystemAttributeModel.__table__
STUDY_USER: Any = models.StudyUserAttributeModel.__table__
STUDY_SYSTEM: Any = models.StudySystemAttributeModel.__table__

OPEN = (TrialState.RUNNING, TrialState.WAITING)
MOST_TEXTS = 4096


@dataclass(frozen=True)
class Param:
    """A dimension of a trial; `number` is Optuna's internal representation of its value."""

    name: str
    number: float
    distribution: BaseDistribution


def lock_study(connection: sa.Connection, study_id: int) -> None:
    """Let nobody else add trials until the transaction ends. Raises `KeyError`."""
    row = sa.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
    # Others may still write to its trials and attributes.
    if connection.execute(row.with_for_update(key_share=True)).first() is None:
        raise KeyError(f"no study of id {study_id}")


def last_trial(connection: sa.Connection, study_id: int) -> tuple[int, int]:
    """Id and number of a study's newest trial; -1 and -1 where it has none."""
    statement = (
        sa.select(_TRIALS.c.trial_id, _TRIALS.c.number)
        .where(_TRIALS.c.study_id == study_id)
        .order_by(_TRIALS.c.trial_id.desc())
        .limit(1)
    )
    row = connection.execute(statement).first()
    return (-1, -1) if row is None else (row.trial_id, row.number)


def find_trial(
    connection: sa.Connection, study_id: int, after: int, start: datetime | None, state: TrialState
) -> tuple[int, int] | None:
    """Id and number of a trial that was added after the one of id `after`, by its start."""
    statement = sa.select(_TRIALS.c.trial_id, _TRIALS.c.number).where(
        _TRIALS.c.study_id == study_id,
        _TRIALS.c.trial_id > after,
        _TRIALS.c.datetime_start == _utc(start),
        _TRIALS.c.state == state,
    )
    row = connection.execute(statement).first()
    return None if row is None else (row.trial_id, row.number)


def add_trial(
    connection: sa.Connection,
    study_id: int,
    number: int,
    state: TrialState,
    start: datetime | None,
    end: datetime | None,
) -> int:
    """A trial without anything; gives its id."""
    row = {"study_id": study_id, "number": number, "state": state}
    times = {"datetime_start": _utc(start), "datetime_complete": _utc(end)}
    found = connection.execute(_TRIALS.insert().values(**row, **times)).inserted_primary_key
    assert found is not None
    return int(found[0])


def check_open(connection: sa.Connection, trial_id: int) -> None:
    """Keep a trial from being ended by others until the transaction ends.

    Raises `KeyError` where there is none, `UpdateFinishedTrialError` where it has ended.
    """
    wanted = sa.select(_TRIALS.c.state, _TRIALS.c.number).where(_TRIALS.c.trial_id == trial_id)
    row = connection.execute(wanted.with_for_update()).first()
    if row is None:
        raise KeyError(f"no trial of id {trial_id}")
    if row.state.is_finished():
        raise UpdateFinishedTrialError(
            f"Trial#{row.number} has already finished and can not be updated."
        )


def set_state(connection: sa.Connection, trial_id: int, state: TrialState) -> bool:
    """Change a trial's state; False where it has ended, or runs already and shall run."""
    now = _utc(datetime.now())
    values: dict[str, Any] = {"state": state}
    if state == TrialState.RUNNING:
        values["datetime_start"] = now
    if state.is_finished():
        values["datetime_complete"] = now
    before = (TrialState.WAITING,) if state == TrialState.RUNNING else OPEN
    statement = _TRIALS.update().where(_TRIALS.c.trial_id == trial_id, _TRIALS.c.state.in_(before))
    return bool(connection.execute(statement.values(**values)).rowcount == 1)


def has_state(connection: sa.Connection, trial_id: int, state: TrialState) -> bool:
    """Whether a trial is in a state."""
    statement = sa.select(_TRIALS.c.state).where(_TRIALS.c.trial_id == trial_id)
    return connection.execute(statement).scalar_one_or_none() == state


def write_params(connection: sa.Connection, trial_id: int, params: Sequence[Param]) -> None:
    """Add dimensions; one that is there already stays as it is."""
    columns: dict[str, list[Any]] = {
        "param_name": [param.name for param in params],
        "param_value": [float(param.number) for param in params],
        "distribution_json": [_text(param.distribution) for param in params],
    }
    _put(connection, _PARAMS, trial_id, columns, "param_name")


def write_attributes(
    connection: sa.Connection, table: Any, trial_id: int, texts: Mapping[str, str]
) -> None:
    """Set attributes, by name their JSON; `table` is `USER` or `SYSTEM`."""
    columns = {"key": list(texts), "value_json": list(texts.values())}
    _put(connection, table, trial_id, columns, "key", "value_json")


def write_study_attribute(
    connection: sa.Connection, table: Any, study_id: int, key: str, text: str
) -> None:
    """Set an attribute of a study, by one statement. Raises `KeyError` where there is none."""
    statement = _study_statement(table)
    row = {"study_id": study_id, "key": key, "value_json": text}
    if connection.execute(statement, row).rowcount != 1:
        raise KeyError(f"no study of id {study_id}")


def write_values(connection: sa.Connection, trial_id: int, values: Sequence[float]) -> None:
    """Set the values of the objectives."""
    stored = [_stored(float(value)) for value in values]
    columns: dict[str, list[Any]] = {
        "objective": list(range(len(stored))),
        "value": [value for value, _ in stored],
        "value_type": [kind for _, kind in stored],
    }
    _put(connection, _VALUES, trial_id, columns, "objective", "value", "value_type")


def write_steps(connection: sa.Connection, trial_id: int, steps: Mapping[int, float]) -> None:
    """Set intermediate values."""
    stored = [_stored(float(value)) for value in steps.values()]
    value, kind = "intermediate_value", "intermediate_value_type"
    columns: dict[str, list[Any]] = {
        "step": list(steps),
        value: [value for value, _ in stored],
        kind: [kind for _, kind in stored],
    }
    _put(connection, _STEPS, trial_id, columns, "step", value, kind)


def _put(
    connection: sa.Connection,
    table: Any,
    trial_id: int,
    columns: Mapping[str, Sequence[Any]],
    key: str,
    *overwritten: str,
) -> None:
    """Rows of one trial, by one statement: PostgreSQL is given columns, SQLite's driver rows."""
    if not columns[key]:
        return
    dialect = connection.dialect.name
    statement = _statement(table, tuple(columns), key, overwritten, dialect)
    if dialect == "postgresql":
        connection.execute(statement, {"trial_id": trial_id, **columns})
    else:
        rows = zip(*columns.values(), strict=True)
        connection.execute(
            statement, [{"trial_id": trial_id, **dict(zip(columns, r, strict=True))} for r in rows]
        )


@functools.cache
def _statement(
    table: Any, columns: tuple[str, ...], key: str, overwritten: tuple[str, ...], dialect: str
) -> sa.TextClause:
    if dialect == "postgresql":
        kinds = [_POSTGRESQL.get(name) or _kind(table.c[name]) for name in columns]
        lists = [f"CAST(:{n} AS {kind}[])" for n, kind in zip(columns, kinds, strict=True)]
        source = f"SELECT :trial_id, given.* FROM unnest({', '.join(lists)}) AS given"
    else:
        source = f"VALUES (:trial_id, {', '.join(f':{name}' for name in columns)})"
    then = ", ".join(f"{name} = excluded.{name}" for name in overwritten)
    return sa.text(
        f"INSERT INTO {table.name} (trial_id, {', '.join(columns)}) {source} "
        f"ON CONFLICT (trial_id, {key}) DO {f'UPDATE SET {then}' if then else 'NOTHING'}"
    )


@functools.cache
def _study_statement(table: Any) -> sa.TextClause:
    return sa.text(
        f"INSERT INTO {table.name} (study_id, key, value_json) "
        "SELECT study_id, CAST(:key AS VARCHAR), CAST(:value_json AS TEXT) FROM studies "
        "WHERE study_id = :study_id "
        "ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json"
    )


_POSTGRESQL = {"value": "float8", "intermediate_value": "float8", "param_value": "float8"}


def _kind(column: Any) -> str:
    if isinstance(column.type, sa.Enum):
        return str(column.type.name)
    return "integer" if isinstance(column.type, sa.Integer) else "text"


_TEXTS: dict[int, tuple[BaseDistribution, str]] = {}
"""JSON of distributions by their identity: equal choices may be of different kinds, as 1 and True.
A distribution that is kept here keeps its identity."""


def _text(distribution: BaseDistribution) -> str:
    found = _TEXTS.get(id(distribution))
    if found is None:
        if len(_TEXTS) > MOST_TEXTS:
            _TEXTS.clear()
        found = _TEXTS[id(distribution)] = (distribution, distribution_to_json(distribution))
    return found[1]


def _stored(value: float) -> tuple[float | None, str]:
    """A number as Optuna keeps it: databases have no infinities."""
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return value, "FINITE"


def _utc(moment: datetime | None) -> datetime | None:
    """UTC, without its zone, of local time without its zone."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
