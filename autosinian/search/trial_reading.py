"""Trials read from Optuna's tables as plain rows; Optuna makes an object of every value."""

import functools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects.postgresql import ARRAY

CHUNK = 50_000
"""Rows that are taken from the database at a time."""
FEW = 200
"""Trials that are named one by one; more are asked for by ranges of their ids."""
SPAN = 2_000

_STUDIES: Any = models.StudyModel.__table__.c
_TRIALS: Any = models.TrialModel.__table__.c
_PARAMS: Any = models.TrialParamModel.__table__.c
_VALUES: Any = models.TrialValueModel.__table__.c
_STEPS: Any = models.TrialIntermediateValueModel.__table__.c
_USER: Any = models.TrialUserAttributeModel.__table__.c
_SYSTEM: Any = models.TrialSystemAttributeModel.__table__.c


@dataclass(frozen=True)
class Head:
    """A trial's own row: all of it that may change without more."""

    trial_id: int
    number: int
    state: TrialState
    start: datetime | None
    end: datetime | None


@dataclass
class _Body:
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    values: list[float] | None = None
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shape:
    """What trials of the same dimensions have in common."""

    names: tuple[str, ...]
    texts: tuple[str, ...]
    distributions: dict[str, BaseDistribution]
    readers: tuple[Callable[[float], Any], ...]


def read_heads(
    connection: sa.Connection, study_id: int, after: int, others: Collection[int]
) -> list[Head]:
    """The trials of a study whose id is above `after` or among `others`, by id."""
    columns = (
        _TRIALS.trial_id,
        _TRIALS.number,
        _TRIALS.state,
        _TRIALS.datetime_start,
        _TRIALS.datetime_complete,
    )
    wanted = _TRIALS.trial_id > sa.bindparam("after")
    if others:
        wanted = sa.or_(wanted, _among(connection, _TRIALS.trial_id))
    statement = (
        sa.select(*columns)
        .where(_TRIALS.study_id == sa.bindparam("study"), wanted)
        .order_by(_TRIALS.trial_id)
    )
    given = {"study": study_id, "after": after, "ids": sorted(others)}
    return [
        Head(trial_id, number, state, _local(start), _local(end))
        for trial_id, number, state, start, end in connection.execute(statement, given)
    ]


def read_head(connection: sa.Connection, trial_id: int) -> tuple[int, Head]:
    """The study and the head of one trial. Raises `KeyError` where there is none."""
    columns = (_TRIALS.study_id, _TRIALS.number, _TRIALS.state)
    times = (_TRIALS.datetime_start, _TRIALS.datetime_complete)
    row = connection.execute(
        sa.select(*columns, *times).where(_TRIALS.trial_id == trial_id)
    ).first()
    if row is None:
        raise KeyError(f"no trial of id {trial_id}")
    return row[0], Head(trial_id, row[1], row[2], _local(row[3]), _local(row[4]))


def check_study(connection: sa.Connection, study_id: int) -> None:
    """Raise `KeyError` unless there is a study of this id."""
    statement = sa.select(_STUDIES.study_id).where(_STUDIES.study_id == study_id)
    if connection.execute(statement).first() is None:
        raise KeyError(f"no study of id {study_id}")


def read_study_attributes(
    connection: sa.Connection, table: sa.Table, study_id: int
) -> dict[str, str]:
    """JSON of a study's attributes by name. Raises `KeyError` where there is no such study."""
    statement = (
        sa.select(table.c.key, table.c.value_json)
        .select_from(sa.outerjoin(_STUDIES.study_id.table, table))
        .where(_STUDIES.study_id == study_id)
    )
    rows = connection.execute(statement).all()
    if not rows:
        raise KeyError(f"no study of id {study_id}")
    return {key: text for key, text in rows if key is not None}


class TrialReader:
    """Reads trials; finished ones of the same dimensions share one mapping of distributions."""

    def __init__(self) -> None:
        self._distributions: dict[str, BaseDistribution] = {}
        self._last: _Shape | None = None

    def read(self, connection: sa.Connection, heads: Sequence[Head]) -> list[FrozenTrial]:
        """The trials of these heads, in their order, as `RDBStorage` gives them."""
        if not heads:
            return []
        bodies = {head.trial_id: _Body() for head in heads}
        ids = sorted(bodies)
        if len(ids) <= FEW:
            self._add(_few_rows(connection, ids), bodies)
        else:
            for part in _parts(connection, ids):
                self._add(_many_rows(connection, part), bodies)
        return [self._trial(head, bodies[head.trial_id]) for head in heads]

    def _add(self, tables: "_Tables", bodies: dict[int, _Body]) -> None:
        self._add_params(tables["params"], bodies)
        found: dict[int, dict[int, float]] = {}
        for trial_id, objective, value, kind in tables["values"]:
            found.setdefault(trial_id, {})[objective] = _number(value, kind)
        for trial_id, values in found.items():
            if trial_id in bodies:
                bodies[trial_id].values = [values[objective] for objective in sorted(values)]
        for trial_id, step, value, kind in tables["steps"]:
            if trial_id in bodies:
                bodies[trial_id].steps[step] = _number(value, kind)
        for trial_id, key, _, text in tables["user"]:
            if trial_id in bodies:
                bodies[trial_id].user[key] = json.loads(text)
        for trial_id, key, _, text in tables["system"]:
            if trial_id in bodies:
                bodies[trial_id].system[key] = json.loads(text)

    def distribution(self, text: str) -> BaseDistribution:
        """A distribution of its JSON; equal texts give one object."""
        found = self._distributions.get(text)
        if found is None:
            found = self._distributions[text] = json_to_distribution(text)
        return found

    def _trial(self, head: Head, body: _Body) -> FrozenTrial:
        distributions = body.distributions
        return FrozenTrial(
            number=head.number,
            state=head.state,
            value=None,
            values=body.values,
            datetime_start=head.start,
            datetime_complete=head.end,
            params=body.params,
            distributions=distributions if head.state.is_finished() else dict(distributions),
            user_attrs=body.user,
            system_attrs=body.system,
            intermediate_values=body.steps,
            trial_id=head.trial_id,
        )

    def _add_params(self, rows: Iterable[Any], bodies: dict[int, _Body]) -> None:
        for trial_id, group in groupby(rows, itemgetter(0)):
            body = bodies.get(trial_id)
            if body is None:
                continue
            _, names, numbers, texts = zip(*group, strict=True)
            shape = self._shape(names, texts)
            readers = zip(shape.names, shape.readers, numbers, strict=True)
            params = {name: reader(number) for name, reader, number in readers}
            if body.params:  # written little by little, while other trials were
                body.params |= params
                body.distributions = body.distributions | shape.distributions
            else:
                body.params, body.distributions = params, shape.distributions

    def _shape(self, names: tuple[str, ...], texts: tuple[str, ...]) -> _Shape:
        last = self._last
        if last is None or last.names != names or last.texts != texts:
            found = [self.distribution(text) for text in texts]
            readers = tuple(distribution.to_external_repr for distribution in found)
            last = _Shape(names, texts, dict(zip(names, found, strict=True)), readers)
            self._last = last
        return last


_Tables = Mapping[str, Iterable[Any]]
"""Rows of each table that belongs to trials: the trial's id, a name, a number and a text."""

_NOTHING: Any = sa.literal_column("NULL")
_COLUMNS: dict[str, tuple[Any, Any, Any, Any, Any]] = {
    "params": (
        _PARAMS.trial_id,
        _PARAMS.param_name,
        _PARAMS.param_value,
        _PARAMS.distribution_json,
        _PARAMS.param_id,
    ),
    "values": (
        _VALUES.trial_id,
        _VALUES.objective,
        _VALUES.value,
        _VALUES.value_type,
        _VALUES.trial_value_id,
    ),
    "steps": (
        _STEPS.trial_id,
        _STEPS.step,
        _STEPS.intermediate_value,
        _STEPS.intermediate_value_type,
        _STEPS.trial_intermediate_value_id,
    ),
    "user": (
        _USER.trial_id,
        _USER.key,
        _NOTHING,
        _USER.value_json,
        _USER.trial_user_attribute_id,
    ),
    "system": (
        _SYSTEM.trial_id,
        _SYSTEM.key,
        _NOTHING,
        _SYSTEM.value_json,
        _SYSTEM.trial_system_attribute_id,
    ),
}
"""For each table what is read of it, and its primary key: rows are wanted as they were written."""


def _few_rows(connection: sa.Connection, ids: list[int]) -> _Tables:
    """All rows of these trials, by one statement."""
    found: dict[str, list[Any]] = {table: [] for table in _COLUMNS}
    result = connection.execute(_one_statement(connection.dialect.name), {"ids": ids})
    for table, _, trial_id, name, number, text in result:
        if table in ("values", "steps"):
            name = int(name)
        found[table].append((trial_id, name, number, text))
    return found


@functools.cache
def _one_statement(dialect: str) -> sa.CompoundSelect[Any]:
    parts: list[Any] = []
    for table, (trial_id, name, number, text, key) in _COLUMNS.items():
        columns: Any = (
            sa.literal_column(f"'{table}'").label("source"),
            key.label("place"),
            trial_id.label("trial"),
            sa.cast(name, sa.Text).label("name"),
            sa.cast(number, sa.Double).label("number"),
            sa.cast(text, sa.Text).label("text"),
        )
        parts.append(sa.select(*columns).where(_among_of(dialect, trial_id)))
    return sa.union_all(*parts).order_by("trial", "place")


def _among(connection: sa.Connection, column: Any) -> Any:
    return _among_of(connection.dialect.name, column)


def _among_of(dialect: str, column: Any) -> Any:
    """That a column is one of `ids`; PostgreSQL knows the statement again however many."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Integer)))
    return column.in_(sa.bindparam("ids", expanding=True))


def _parts(connection: sa.Connection, ids: list[int]) -> list[tuple[int, int] | None]:
    """Ranges of ids, both ends included; None for all trials that the database has."""
    if connection.dialect.name == "sqlite":
        # In the order of its rows SQLite reads a table in half the time, and bit by bit.
        there = connection.execute(sa.select(sa.func.count()).select_from(_TRIALS.trial_id.table))
        if int(there.scalar_one()) <= 2 * len(ids):
            return [None]
    spans = [ids[i : i + SPAN] for i in range(0, len(ids), SPAN)]
    return [(span[0], span[-1]) for span in spans]


def _many_rows(connection: sa.Connection, part: tuple[int, int] | None) -> _Tables:
    return {table: _rows(connection, table, part) for table in _COLUMNS}


def _rows(connection: sa.Connection, table: str, part: tuple[int, int] | None) -> Iterator[Any]:
    """Rows of one table as the driver gives them: SQLAlchemy's take longer to make than to read."""
    trial_id, name, number, text, key = _COLUMNS[table]
    statement = sa.select(trial_id, name, number, text)
    if part is not None:
        statement = statement.where(trial_id.between(*part))
    cursor: Any = connection.execute(statement.order_by(key)).cursor
    while rows := cursor.fetchmany(CHUNK):
        yield from rows


def _number(value: float | None, kind: str) -> float:
    """A number as Optuna keeps it: databases have no infinities."""
    if value is not None:
        return value
    return {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}[kind]


def _local(moment: datetime | None) -> datetime | None:
    """Local time, without its zone, of UTC without its zone."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
