"""Two tables in the study's own database: who measures what, and what is known already.

`claims` has one row for each candidate of a study that was ever proposed. Its primary key is what
keeps two searches on one study from measuring the same candidate, whatever the moment. `facts`
holds results by content key, so that nothing known is measured again.
"""

import functools
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from autosinian.errors import InputError
from autosinian.store.database import Database
from autosinian.store.patience import Patience, passing_reason

HEARTBEAT_S = 5.0
STALE_AFTER_S = 60.0
"""Without a heartbeat for so long, a process on another machine is taken for dead."""

STUCK_AFTER_S = 600.0
"""And one on this machine that lives, but has stopped (Ctrl-Z, a frozen container)."""

MAX_ATTEMPTS = 2

_metadata = sa.MetaData()
_claims = sa.Table(
    "autosinian_claims",
    _metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("candidate", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # running | released | done
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("heartbeat", sa.Float, nullable=False),  # seconds since the epoch
    sa.Column("attempts", sa.Integer, nullable=False),
)
_facts = sa.Table(
    "autosinian_facts",
    _metadata,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class Claim:
    """One row of the claims table."""

    candidate: str
    state: str
    trial: int
    owner: str
    heartbeat: float
    attempts: int


@functools.lru_cache(maxsize=4)
def _owner_of(host: str, process: int) -> str:
    return f"{host}:{process}:{psutil.Process(process).create_time():.2f}"


def _host() -> str:
    """This machine, or this container of it: process ids say nothing outside their namespace."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"


def _owner() -> str:
    return _owner_of(_host(), os.getpid())


def _owner_is_gone(owner: str) -> bool | None:
    """Whether the owning process ended; None where it is on another host."""
    host, pid, created = owner.rsplit(":", 2)
    if host != _host():
        return None
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > 1.0
    except psutil.NoSuchProcess:
        return True


class Store:
    """Claims and facts of one study database; safe for several processes at once.

    A claim is a lease: its owner beats for it, and what a process does to a claim that it no
    longer owns has no effect and gives False. `patience` says how long a database that is away is
    waited for; with `database` its connections are used. Raises `InputError` where the database
    cannot be opened or written.
    """

    def __init__(
        self,
        url: str,
        study: str,
        patience: Patience | None = None,
        *,
        database: Database | None = None,
    ) -> None:
        self.url = url
        self.study = study
        self.database = database or Database(url, patience)
        self.database.attempt(functools.partial(_create_tables, self.database.engine))

    def claim(self, candidate: str, trial: int) -> bool:
        """Take a candidate for `trial`; False when it is taken or done already."""
        row = {"trial": trial, "owner": _owner(), "now": time.time()}
        row |= {"study": self.study, "candidate": candidate}
        statement = _claiming(self.database.dialect)
        return (
            self.database.run(lambda connection: connection.execute(statement, row).rowcount) == 1
        )

    def beat(self, candidate: str) -> bool | None:
        """Say that the claim's owner is alive; False where the claim is no longer ours.

        A database that is away is not waited for: then None, for nobody can tell.
        """
        statement = _claims.update().where(self._is(candidate), self._is_mine())
        statement = statement.values(heartbeat=self._now())
        try:
            return self.database.run(lambda c: c.execute(statement).rowcount, Patience()) == 1
        except InputError as error:
            if error.__cause__ is not None and passing_reason(error.__cause__):
                return None
            raise

    def finish(self, candidate: str, connection: sa.Connection | None = None) -> bool:
        """Mark a claim of ours as measured, for good.

        As `release` and `forget`, in the transaction of `connection` where one is given.
        """
        return self._end(candidate, connection, state="done")

    def release(self, candidate: str, connection: sa.Connection | None = None) -> bool:
        """Give a claim of ours back so that it is proposed again."""
        return self._end(candidate, connection, state="released")

    def forget(self, candidate: str, connection: sa.Connection | None = None) -> bool:
        """Give a claim back as if it had never been taken: an interruption is no attempt."""
        return self._end(candidate, connection, state="released", attempts=_claims.c.attempts - 1)

    def reopen(self, candidate: str) -> None:
        """Let a candidate that is done be measured again, its attempts uncounted."""
        statement = _claims.update().where(self._is(candidate), _claims.c.state == "done")
        self._execute(statement.values(state="released", attempts=0))

    def claims(self, *states: str) -> list[Claim]:
        """All claims of the study, or those in some states."""
        return [claim for claim, _ in self._aged_claims(*states)]

    def find(self, candidate: str) -> Claim | None:
        """The claim of a candidate, if there ever was one."""
        return next((claim for claim, _ in self._aged_claims(candidate=candidate)), None)

    def running(self) -> tuple[list[Claim], list[Claim]]:
        """Running claims, and those of them whose owner is dead or stuck as far as can be told.

        Dead: its process on this machine ended, or no heartbeat came from another machine for
        `STALE_AFTER_S`. Ages are by the database's clock where it has one.
        """
        running, stale = [], []
        for claim, age_s in self._aged_claims("running"):
            running.append(claim)
            gone = _owner_is_gone(claim.owner)
            if gone or age_s > (STALE_AFTER_S if gone is None else STUCK_AFTER_S):
                stale.append(claim)
        return running, stale

    def stale(self) -> list[Claim]:
        """Running claims whose owner is dead or stuck; see `running`."""
        return self.running()[1]

    def take_over(self, claim: Claim) -> bool:
        """Become the owner of a stale claim; False when another process did so first.

        Its attempts stay as they were. Whoever took it over closes its trial, then releases or
        finishes it; should it die at that, the claim is stale again.
        """
        mine = {"owner": _owner(), "heartbeat": self._now()}
        theirs = sa.and_(
            _claims.c.owner == claim.owner,
            _claims.c.heartbeat == claim.heartbeat,
            _claims.c.state == "running",
        )
        return self._change(claim.candidate, theirs, mine | {"state": "running"})

    def recall(self, kind: str, key: str) -> Any | None:
        """The fact of this key, or None."""
        statement = sa.select(_facts.c.value).where(_facts.c.kind == kind, _facts.c.key == key)
        return self.database.run(lambda c: c.execute(statement).scalar_one_or_none())

    def recall_all(self, kind: str) -> list[Any]:
        """All facts of a kind that are of this study, in the order they were found."""
        statement = sa.select(_facts.c.value).where(_facts.c.kind == kind)
        statement = statement.order_by(_facts.c.created, _facts.c.key)
        values = self.database.run(lambda c: c.execute(statement).scalars().all())
        return [value for value in values if value.get("study") == self.study]

    def remember(
        self, kind: str, key: str, value: Mapping[str, Any], *, of_study: bool = False
    ) -> None:
        """Keep a fact; the first one of a key stays. One `of_study` is for `recall_all` there."""
        kept = dict(value) | ({"study": self.study} if of_study else {})
        row = {"kind": kind, "key": key, "value": kept, "created": time.time()}
        try:
            self._execute(_facts.insert().values(**row))
        except IntegrityError:
            return

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def _aged_claims(self, *states: str, candidate: str | None = None) -> list[tuple[Claim, float]]:
        """Each claim with the seconds since its last heartbeat."""
        statement = sa.select(_claims, self._now().label("now")).where(
            _claims.c.study == self.study
        )
        if states:
            statement = statement.where(_claims.c.state.in_(states))
        if candidate is not None:
            statement = statement.where(_claims.c.candidate == candidate)
        rows = self.database.run(lambda c: c.execute(statement).all())
        return [(Claim(*row[1:-1]), float(row.now) - float(row.heartbeat)) for row in rows]

    def _now(self) -> sa.ColumnElement[float]:
        """Seconds since the epoch: the server's where there is one, as machines' clocks differ."""
        if self.database.dialect == "postgresql":
            return sa.literal_column(_SERVER_TIME, sa.Float)
        return sa.literal(time.time(), sa.Float)

    def _end(self, candidate: str, connection: sa.Connection | None, **values: Any) -> bool:
        return self._change(candidate, self._is_mine(), values, connection)

    def _change(
        self,
        candidate: str,
        condition: sa.ColumnElement[bool],
        values: Mapping[str, Any],
        connection: sa.Connection | None = None,
    ) -> bool:
        """Give a claim that meets a condition these values; whether it did, or had before the
        connection was lost."""
        statement = _claims.update().where(self._is(candidate), condition).values(**values)
        done = sa.select(_claims.c.trial).where(
            self._is(candidate), _claims.c.owner == _owner(), _claims.c.state == values["state"]
        )
        attempts = 0

        def once(connection: sa.Connection) -> bool:
            nonlocal attempts
            attempts += 1
            if connection.execute(statement).rowcount == 1:
                return True
            return attempts > 1 and connection.execute(done).first() is not None

        return self.database.run(once) if connection is None else once(connection)

    def _execute(self, statement: sa.Insert | sa.Update) -> int:
        """Rows changed by one statement."""
        return self.database.run(lambda connection: connection.execute(statement).rowcount)

    def _is(self, candidate: str) -> sa.ColumnElement[bool]:
        return sa.and_(_claims.c.study == self.study, _claims.c.candidate == candidate)

    def _is_mine(self) -> sa.ColumnElement[bool]:
        return sa.and_(_claims.c.state == "running", _claims.c.owner == _owner())


_SERVER_TIME = "CAST(date_part('epoch', clock_timestamp()) AS float)"


@functools.cache
def _claiming(dialect: str) -> sa.TextClause:
    """Take a claim that is new or was given back, or is ours already: the connection was lost after
    it was written and before we heard of it."""
    now = _SERVER_TIME if dialect == "postgresql" else ":now"
    return sa.text(
        f"INSERT INTO {_claims.name} (study, candidate, state, trial, owner, heartbeat, attempts) "
        f"VALUES (:study, :candidate, 'running', :trial, :owner, {now}, 1) "
        "ON CONFLICT (study, candidate) DO UPDATE SET state = 'running', trial = excluded.trial, "
        "owner = excluded.owner, heartbeat = excluded.heartbeat, attempts = "
        f"{_claims.name}.attempts + CASE WHEN {_claims.name}.state = 'released' THEN 1 ELSE 0 END "
        f"WHERE {_claims.name}.state = 'released' OR ({_claims.name}.state = 'running' AND "
        f"{_claims.name}.owner = excluded.owner AND {_claims.name}.trial = excluded.trial)"
    )


def _create_tables(engine: sa.Engine) -> None:
    for missing in reversed(range(len(_metadata.tables) + 1)):
        # Another process may create a table between the check for it and its creation; so each
        # attempt that fails for that leaves one less to create.
        try:
            _metadata.create_all(engine)
            return
        except (IntegrityError, OperationalError, ProgrammingError):
            if not missing:
                raise
