"""Trials read from Optuna's tables as plain rows; Optuna makes an object of every value."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

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
    of_study = _TRIALS.study_id == study_id
    columns = (
        _TRIALS.trial_id,
        _TRIALS.number,
        _TRIALS.state,
        _TRIALS.datetime_start,
        _TRIALS.datetime_complete,
    )
    wanted = _TRIALS.trial_id > after
    if others:
        wanted = sa.or_(wanted, _TRIALS.trial_id.in_(sorted(others)))
    statement = sa.select(*columns).where(of_study, wanted).order_by(_TRIALS.trial_id)
    return [
        Head(trial_id, number, state, _local(start), _local(end))
        for trial_id, number, state, start, end in connection.execute(statement)
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
        for part in _parts(connection, sorted(bodies)):
            self._add_params(_rows(connection, _PARAMS, _PARAM_NAMES, part), bodies)
            _add_values(connection, part, bodies)
            _add_attributes(connection, part, bodies)
            _add_steps(connection, part, bodies)
        return [self._trial(head, bodies[head.trial_id]) for head in heads]

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

    def _add_params(self, rows: Iterator[Any], bodies: dict[int, _Body]) -> None:
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


Part = list[int] | tuple[int, int] | None
"""Trials by their ids: some, a range with both its ends, or all that the database has."""

_PARAM_NAMES = ("param_name", "param_value", "distribution_json")


def _parts(connection: sa.Connection, ids: list[int]) -> list[Part]:
    if len(ids) <= FEW:
        return [ids]
    if connection.dialect.name == "sqlite":
        # In the order of its rows SQLite reads a table in half the time, and bit by bit.
        there = connection.execute(sa.select(sa.func.count()).select_from(_TRIALS.trial_id.table))
        if int(there.scalar_one()) <= 2 * len(ids):
            return [None]
    spans = [ids[i : i + SPAN] for i in range(0, len(ids), SPAN)]
    return [(span[0], span[-1]) for span in spans]


def _rows(
    connection: sa.Connection, columns: Any, names: Sequence[str], part: Part
) -> Iterator[Any]:
    """Rows of a table that belongs to trials: the trial's id and these columns, as they came."""
    statement = sa.select(columns.trial_id, *(columns[name] for name in names))
    if isinstance(part, list):
        statement = statement.where(columns.trial_id.in_(part))
    elif part is not None:
        statement = statement.where(columns.trial_id.between(*part))
    (key,) = columns.trial_id.table.primary_key
    cursor: Any = connection.execute(statement.order_by(key)).cursor
    # The driver's own tuples: SQLAlchemy's rows take longer to make than to read.
    while rows := cursor.fetchmany(CHUNK):
        yield from rows


def _add_values(connection: sa.Connection, part: Part, bodies: dict[int, _Body]) -> None:
    found: dict[int, dict[int, float]] = {}
    names = ("objective", "value", "value_type")
    for trial_id, objective, value, kind in _rows(connection, _VALUES, names, part):
        found.setdefault(trial_id, {})[objective] = _number(value, kind)
    for trial_id, values in found.items():
        if trial_id in bodies:
            bodies[trial_id].values = [values[objective] for objective in sorted(values)]


def _add_attributes(connection: sa.Connection, part: Part, bodies: dict[int, _Body]) -> None:
    names = ("key", "value_json")
    for trial_id, key, text in _rows(connection, _USER, names, part):
        if trial_id in bodies:
            bodies[trial_id].user[key] = json.loads(text)
    for trial_id, key, text in _rows(connection, _SYSTEM, names, part):
        if trial_id in bodies:
            bodies[trial_id].system[key] = json.loads(text)


def _add_steps(connection: sa.Connection, part: Part, bodies: dict[int, _Body]) -> None:
    names = ("step", "intermediate_value", "intermediate_value_type")
    for trial_id, step, value, kind in _rows(connection, _STEPS, names, part):
        if trial_id in bodies:
            bodies[trial_id].steps[step] = _number(value, kind)


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
