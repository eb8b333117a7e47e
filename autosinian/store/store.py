"""Two tables in the study's own database: who measures what, and what is known already.

`claims` has one row for each candidate of a study that was ever proposed. Its primary key is what
keeps two searches on one study from measuring the same candidate, whatever the moment. `facts`
holds results by content key, so that nothing known is measured again.
"""

import functools
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from autosinian.errors import InputError
from autosinian.store.connection import connect_arguments
from autosinian.store.patience import Patience
from autosinian.store.sqlite import use_write_ahead_log

T = TypeVar("T")

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
    waited for. Raises `InputError` where the database cannot be opened or written.
    """

    def __init__(self, url: str, study: str, patience: Patience | None = None) -> None:
        self.url = url
        self.study = study
        self._patience = patience or Patience()
        try:
            self._engine = sa.create_engine(url, connect_args=connect_arguments(url))
            use_write_ahead_log(self._engine)
            for missing in reversed(range(len(_metadata.tables) + 1)):
                # Another process may create a table between the check for it and its creation;
                # so each attempt that fails for that leaves one less to create.
                try:
                    _metadata.create_all(self._engine)
                    break
                except SQLAlchemyError:
                    if not missing:
                        raise
        except (SQLAlchemyError, ImportError) as error:
            raise storage_error(url, error) from error

    def claim(self, candidate: str, trial: int) -> bool:
        """Take a candidate for `trial`; False when it is taken or done already."""
        owner = _owner()
        row = {"state": "running", "trial": trial, "owner": owner, "heartbeat": self._now()}
        try:
            new = {"study": self.study, "candidate": candidate, "attempts": 1}
            self._execute(_claims.insert().values(**row, **new))
            return True
        except IntegrityError:
            retake = (
                _claims.update()
                .where(self._is(candidate), _claims.c.state == "released")
                .values(**row, attempts=_claims.c.attempts + 1)
            )
            if self._execute(retake) == 1:
                return True
        # Ours already: the connection was lost after the claim was written and before we heard.
        statement = sa.select(_claims.c.trial).where(self._is(candidate), self._is_mine())
        return self._transact(lambda c: c.execute(statement).scalar_one_or_none()) == trial

    def beat(self, candidate: str) -> bool:
        """Say that the claim's owner is alive; False where the claim is no longer ours.

        Does not wait for a database that is away.
        """
        statement = _claims.update().where(self._is(candidate), self._is_mine())
        statement = statement.values(heartbeat=self._now())
        return self._transact(lambda c: c.execute(statement).rowcount, Patience()) == 1

    def holds(self, candidate: str) -> bool:
        """Whether a running claim is ours."""
        statement = sa.select(_claims.c.trial).where(self._is(candidate), self._is_mine())
        return self._transact(lambda c: c.execute(statement).first()) is not None

    def finish(self, candidate: str) -> bool:
        """Mark a claim of ours as measured, for good."""
        return self._end(candidate, state="done")

    def release(self, candidate: str) -> bool:
        """Give a claim of ours back so that it is proposed again."""
        return self._end(candidate, state="released")

    def forget(self, candidate: str) -> bool:
        """Give a claim back as if it had never been taken: an interruption is no attempt."""
        return self._end(candidate, state="released", attempts=_claims.c.attempts - 1)

    def reopen(self, candidate: str) -> None:
        """Let a candidate that is done be measured again, its attempts uncounted."""
        statement = _claims.update().where(self._is(candidate), _claims.c.state == "done")
        self._execute(statement.values(state="released", attempts=0))

    def claims(self) -> list[Claim]:
        """All claims of the study."""
        return [claim for claim, _ in self._aged_claims()]

    def stale(self) -> list[Claim]:
        """Running claims whose owner is dead or stuck, as far as can be told from here.

        Dead: its process on this machine ended, or no heartbeat came from another machine for
        `STALE_AFTER_S`. Ages are by the database's clock where it has one.
        """
        found = []
        for claim, age_s in self._aged_claims():
            if claim.state != "running":
                continue
            gone = _owner_is_gone(claim.owner)
            if gone or age_s > (STALE_AFTER_S if gone is None else STUCK_AFTER_S):
                found.append(claim)
        return found

    def take_over(self, claim: Claim) -> bool:
        """Become the owner of a stale claim; False when another process did so first.

        Its attempts stay as they were. Whoever took it over closes its trial, then releases or
        finishes it; should it die at that, the claim is stale again.
        """
        statement = (
            _claims.update()
            .where(
                self._is(claim.candidate),
                _claims.c.state == "running",
                _claims.c.owner == claim.owner,
                _claims.c.heartbeat == claim.heartbeat,
            )
            .values(owner=_owner(), heartbeat=self._now())
        )
        return self._execute(statement) == 1

    def recall(self, kind: str, key: str) -> Any | None:
        """The fact of this key, or None."""
        statement = sa.select(_facts.c.value).where(_facts.c.kind == kind, _facts.c.key == key)
        return self._transact(lambda c: c.execute(statement).scalar_one_or_none())

    def recall_all(self, kind: str) -> list[Any]:
        """All facts of a kind that are of this study, in the order they were found."""
        statement = sa.select(_facts.c.value).where(_facts.c.kind == kind)
        statement = statement.order_by(_facts.c.created, _facts.c.key)
        values = self._transact(lambda c: c.execute(statement).scalars().all())
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
        self._engine.dispose()

    def _aged_claims(self) -> list[tuple[Claim, float]]:
        """Each claim with the seconds since its last heartbeat."""
        statement = sa.select(_claims, self._now().label("now")).where(
            _claims.c.study == self.study
        )
        rows = self._transact(lambda c: c.execute(statement).mappings().all())
        found = []
        for row in rows:
            values = {k: v for k, v in row.items() if k not in ("study", "now")}
            found.append((Claim(**values), float(row["now"]) - float(row["heartbeat"])))
        return found

    def _now(self) -> sa.ColumnElement[float]:
        """Seconds since the epoch: the server's where there is one, as machines' clocks differ."""
        if self._engine.dialect.name == "postgresql":
            now = sa.func.date_part("epoch", sa.func.clock_timestamp())
            return sa.cast(now, sa.Float)
        return sa.literal(time.time(), sa.Float)

    def _end(self, candidate: str, **values: Any) -> bool:
        statement = _claims.update().where(self._is(candidate), self._is_mine())
        return self._execute(statement.values(**values)) == 1

    def _execute(self, statement: sa.Insert | sa.Update) -> int:
        """Rows changed, in a transaction of its own."""
        return self._transact(lambda connection: connection.execute(statement).rowcount)

    def _transact(self, work: Callable[[sa.Connection], T], patience: Patience | None = None) -> T:
        """A transaction; any failure but a key that is there already is told as `InputError`."""

        def once() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        try:
            return (patience or self._patience).retry(once)
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise storage_error(self.url, error) from error

    def _is(self, candidate: str) -> sa.ColumnElement[bool]:
        return sa.and_(_claims.c.study == self.study, _claims.c.candidate == candidate)

    def _is_mine(self) -> sa.ColumnElement[bool]:
        return sa.and_(_claims.c.state == "running", _claims.c.owner == _owner())


def storage_error(url: str, error: Exception) -> InputError:
    """One line about a database that cannot be used; a password in `url` is not shown."""
    try:
        shown = sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        shown = url
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    return InputError(
        f"the storage must be a database that can be opened and written, but `{shown}` gave "
        f"`{reason}`; name another with `--storage`"
    )
