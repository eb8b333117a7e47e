"""Trials written to Optuna's tables, all rows of one by as few statements as the database allows.

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

MOST_TEXTS = 4096


@dataclass(frozen=True)
class Param:
    """A dimension of a trial; `number` is Optuna's internal representation of its value."""

    name: str
    number: float
    distribution: BaseDistribution


@dataclass(frozen=True)
class Rows:
    """Rows of one trial in one table, by columns. Of rows of one `key` the first stays, but for
    the columns that are `overwritten`."""

    table: Any
    key: str
    columns: Mapping[str, Sequence[Any]]
    overwritten: tuple[str, ...] = ()


def rows_of_params(params: Sequence[Param]) -> Rows:
    """Dimensions; one that is there already stays as it is."""
    columns: dict[str, list[Any]] = {
        "param_name": [param.name for param in params],
        "param_value": [float(param.number) for param in params],
        "distribution_json": [_text(param.distribution) for param in params],
    }
    return Rows(_PARAMS, "param_name", columns)


def rows_of_attributes(table: Any, texts: Mapping[str, str]) -> Rows:
    """Attributes, by name their JSON; `table` is `USER` or `SYSTEM`."""
    columns = {"key": list(texts), "value_json": list(texts.values())}
    return Rows(table, "key", columns, ("value_json",))


def rows_of_values(values: Sequence[float]) -> Rows:
    """The values of the objectives."""
    stored = [_stored(float(value)) for value in values]
    columns: dict[str, list[Any]] = {
        "objective": list(range(len(stored))),
        "value": [value for value, _ in stored],
        "value_type": [kind for _, kind in stored],
    }
    return Rows(_VALUES, "objective", columns, ("value", "value_type"))


def rows_of_steps(steps: Mapping[int, float]) -> Rows:
    """Intermediate values."""
    stored = [_stored(float(value)) for value in steps.values()]
    columns: dict[str, list[Any]] = {
        "step": list(steps),
        "intermediate_value": [value for value, _ in stored],
        "intermediate_value_type": [kind for _, kind in stored],
    }
    return Rows(_STEPS, "step", columns, ("intermediate_value", "intermediate_value_type"))


def add_trial(
    connection: sa.Connection,
    study_id: int,
    state: TrialState,
    start: datetime | None,
    end: datetime | None,
) -> tuple[int, int]:
    """A trial without anything; gives its id and its number. The study must be locked."""
    times = {"datetime_start": _utc(start), "datetime_complete": _utc(end)}
    row = {"study_id": study_id, "state": state}
    statement = _TRIALS.insert().values(**row, **times)
    number: Any = _next_number(study_id)
    if connection.dialect.name == "postgresql":
        both = statement.values(number=number).returning(_TRIALS.c.trial_id, _TRIALS.c.number)
        found = connection.execute(both).one()
        return found.trial_id, found.number
    number = int(connection.execute(sa.select(number)).scalar_one())
    key = connection.execute(statement.values(number=number)).inserted_primary_key
    assert key is not None
    return int(key[0]), number


def begin_trial(connection: sa.Connection, study_id: int, start: datetime) -> tuple[int, int]:
    """An empty trial that runs; gives its id and its number. Raises `KeyError`."""
    lock_study(connection, study_id)
    return add_trial(connection, study_id, TrialState.RUNNING, start, None)


def begin_trial_at_once(
    connection: sa.Connection, study_id: int, start: datetime
) -> tuple[int, int]:
    """As `begin_trial`, by one message to PostgreSQL and outside of a transaction: no other process
    that wants the study's lock waits for an answer to this one."""
    newest = f"SELECT number FROM trials WHERE study_id = {study_id:d}"
    # Several statements are a transaction, each sees what was committed before it began.
    message = (
        f"SELECT study_id FROM studies WHERE study_id = {study_id:d} FOR NO KEY UPDATE; "
        "INSERT INTO trials (study_id, number, state, datetime_start) "
        f"SELECT study_id, coalesce(({newest} ORDER BY trial_id DESC LIMIT 1), -1) + 1, "
        f"'RUNNING', '{_utc(start)}' "
        f"FROM studies WHERE study_id = {study_id:d} RETURNING trial_id, number"
    )
    cursor: Any = connection.exec_driver_sql(
        message, execution_options={"no_parameters": True}
    ).cursor
    cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        raise KeyError(f"no study of id {study_id}")
    return int(row[0]), int(row[1])


def lock_study(connection: sa.Connection, study_id: int) -> int:
    """Let nobody else add trials until the transaction ends; gives the id of a trial that is older
    than what will be added. Raises `KeyError` where there is no such study."""
    newest = sa.select(sa.func.max(_TRIALS.c.trial_id)).scalar_subquery()
    row = sa.select(_STUDIES.c.study_id, newest.label("newest"))
    row = row.where(_STUDIES.c.study_id == study_id)
    # Others may still write to its trials and attributes.
    found = connection.execute(row.with_for_update(key_share=True, of=_STUDIES)).first()
    if found is None:
        raise KeyError(f"no study of id {study_id}")
    return -1 if found.newest is None else int(found.newest)


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


def write(connection: sa.Connection, trial_id: int, *rows: Rows) -> bool:
    """Write rows of a trial, all or none; False where the trial has ended or is not there."""
    return _write(connection, _OPEN, {"trial_id": trial_id}, rows)


def end(connection: sa.Connection, trial_id: int, state: TrialState, *rows: Rows) -> bool:
    """End a trial and write its last rows, all or none; False where it has ended already."""
    now = _utc(datetime.now())
    return _write(connection, _END, {"trial_id": trial_id, "state": state.name, "now": now}, rows)


def start(connection: sa.Connection, trial_id: int, *rows: Rows) -> bool:
    """Let a waiting trial run; False where it does not wait."""
    return _write(connection, _START, {"trial_id": trial_id, "now": _utc(datetime.now())}, rows)


def fill(connection: sa.Connection, trial_id: int, *rows: Rows) -> None:
    """Write rows of a trial of whatever state."""
    _write(connection, _ANY, {"trial_id": trial_id}, rows)


def check_open(connection: sa.Connection, trial_id: int) -> None:
    """Raise `KeyError` where there is no such trial, `UpdateFinishedTrialError` where it ended."""
    wanted = sa.select(_TRIALS.c.state, _TRIALS.c.number).where(_TRIALS.c.trial_id == trial_id)
    row = connection.execute(wanted).first()
    if row is None:
        raise KeyError(f"no trial of id {trial_id}")
    if row.state.is_finished():
        raise UpdateFinishedTrialError(
            f"Trial#{row.number} has already finished and can not be updated."
        )


def has_state(connection: sa.Connection, trial_id: int, state: TrialState) -> bool:
    """Whether a trial is in a state."""
    statement = sa.select(_TRIALS.c.state).where(_TRIALS.c.trial_id == trial_id)
    return bool(connection.execute(statement).scalar_one_or_none() == state)


def write_study_attribute(
    connection: sa.Connection, table: Any, study_id: int, key: str, text: str
) -> None:
    """Set an attribute of a study, by one statement. Raises `KeyError` where there is none."""
    row = {"study_id": study_id, "key": key, "value_json": text}
    if connection.execute(_study_statement(table), row).rowcount != 1:
        raise KeyError(f"no study of id {study_id}")


_WHERE = "WHERE trial_id = :trial_id AND state"
_OPEN = f"SELECT trial_id FROM trials {_WHERE} IN ('RUNNING', 'WAITING')"
_ANY = "SELECT trial_id FROM trials WHERE trial_id = :trial_id"
_END = (
    "UPDATE trials SET state = {state}, datetime_complete = {now} "
    f"{_WHERE} IN ('RUNNING', 'WAITING')"
)
_START = f"UPDATE trials SET state = 'RUNNING', datetime_start = {{now}} {_WHERE} = 'WAITING'"


def _write(
    connection: sa.Connection, head: str, values: Mapping[str, Any], rows: Sequence[Rows]
) -> bool:
    rows = [part for part in rows if part.columns[part.key]]
    shapes = tuple((r.table, r.key, tuple(r.columns), r.overwritten) for r in rows)
    if connection.dialect.name == "postgresql":
        # One statement for all: as quick as its answer comes back.
        given = dict(values)
        for number, part in enumerate(rows):
            given |= {f"{name}_{number}": column for name, column in part.columns.items()}
        return connection.execute(_on_postgresql(head, shapes), given).first() is not None
    found = connection.execute(_sqlite_head(head), values)
    if (found.first() is None) if found.returns_rows else (found.rowcount != 1):
        return False
    for part, shape in zip(rows, shapes, strict=True):
        connection.execute(
            _on_sqlite(*shape),
            [
                {"trial_id": values["trial_id"], **dict(zip(part.columns, row, strict=True))}
                for row in zip(*part.columns.values(), strict=True)
            ],
        )
    return True


@functools.cache
def _on_postgresql(head: str, shapes: tuple[tuple[Any, ...], ...]) -> sa.TextClause:
    head = head.format(state="CAST(:state AS trialstate)", now="CAST(:now AS timestamp)")
    head += " RETURNING trial_id" if head.startswith("UPDATE") else " FOR UPDATE"
    parts = [f"trial AS ({head})"]
    for number, (table, key, columns, overwritten) in enumerate(shapes):
        lists = [f"CAST(:{name}_{number} AS {_kind(table.c[name])}[])" for name in columns]
        parts.append(
            f"part_{number} AS (INSERT INTO {table.name} (trial_id, {', '.join(columns)}) "
            f"SELECT trial.trial_id, given.* FROM trial, unnest({', '.join(lists)}) AS given "
            f"ON CONFLICT (trial_id, {key}) DO {_then(overwritten)})"
        )
    return sa.text(f"WITH {', '.join(parts)} SELECT trial_id FROM trial")


@functools.cache
def _sqlite_head(head: str) -> sa.TextClause:
    moment = sa.bindparam("now", type_=sa.DateTime())
    statement = sa.text(head.format(state=":state", now=":now"))
    return statement.bindparams(moment) if "{now}" in head else statement


@functools.cache
def _on_sqlite(
    table: Any, key: str, columns: tuple[str, ...], overwritten: tuple[str, ...]
) -> sa.TextClause:
    values = ", ".join(f":{name}" for name in columns)
    return sa.text(
        f"INSERT INTO {table.name} (trial_id, {', '.join(columns)}) VALUES (:trial_id, {values}) "
        f"ON CONFLICT (trial_id, {key}) DO {_then(overwritten)}"
    )


def _then(overwritten: Sequence[str]) -> str:
    if not overwritten:
        return "NOTHING"
    return f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in overwritten)}"


def _kind(column: Any) -> str:
    """PostgreSQL's type of a column."""
    if isinstance(column.type, sa.Enum):
        return str(column.type.name)
    if isinstance(column.type, sa.Float):
        return "float8"
    return "integer" if isinstance(column.type, sa.Integer) else "text"


@functools.cache
def _study_statement(table: Any) -> sa.TextClause:
    return sa.text(
        f"INSERT INTO {table.name} (study_id, key, value_json) "
        "SELECT study_id, CAST(:key AS VARCHAR), CAST(:value_json AS TEXT) FROM studies "
        "WHERE study_id = :study_id "
        "ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json"
    )


def _next_number(study_id: int) -> Any:
    newest = (
        sa.select(_TRIALS.c.number)
        .where(_TRIALS.c.study_id == study_id)
        .order_by(_TRIALS.c.trial_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return sa.func.coalesce(newest, -1) + 1


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
