"""Two tables in the study's own database: who measures what, and what is known already.

`claims` has one row for each candidate of a study that was ever proposed. Its primary key is what
keeps two searches on one study from measuring the same candidate, whatever the moment. `facts`
holds results by content key, so that nothing known is measured again.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from autosinian.errors import InputError
from autosinian.store.sqlite import connect_arguments, use_write_ahead_log

HEARTBEAT_S = 5.0
STALE_AFTER_S = 60.0
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


def _owner() -> str:
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def _owner_is_gone(owner: str) -> bool | None:
    """Whether the owning process ended; None where it is on another host."""
    host, pid, created = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > 1.0
    except psutil.NoSuchProcess:
        return True


class Store:
    """Claims and facts of one study database; safe for several processes at once.

    Raises `InputError` where the database cannot be opened or written.
    """

    def __init__(self, url: str, study: str) -> None:
        self.url = url
        self.study = study
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

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        """A transaction; any failure but a key that is there already is told as `InputError`."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise storage_error(self.url, error) from error

    def claim(self, candidate: str, trial: int) -> bool:
        """Take a candidate for `trial`; False when it is taken or done already."""
        now = time.time()
        row = {
            "study": self.study,
            "candidate": candidate,
            "state": "running",
            "trial": trial,
            "owner": _owner(),
            "heartbeat": now,
        }
        try:
            with self._connection() as connection:
                connection.execute(_claims.insert().values(**row, attempts=1))
            return True
        except IntegrityError:
            retake = (
                _claims.update()
                .where(self._is(candidate), _claims.c.state == "released")
                .values(**row, attempts=_claims.c.attempts + 1)
            )
            with self._connection() as connection:
                return connection.execute(retake).rowcount == 1

    def beat(self, candidate: str) -> None:
        """Say that the claim's owner is alive."""
        with self._connection() as connection:
            statement = _claims.update().where(self._is(candidate))
            connection.execute(statement.values(heartbeat=time.time()))

    def finish(self, candidate: str) -> None:
        """Mark a claim as measured, for good."""
        self._set_state(candidate, "done")

    def release(self, candidate: str) -> None:
        """Give a claim back so that it is proposed again."""
        self._set_state(candidate, "released")

    def forget(self, candidate: str) -> None:
        """Give a claim back as if it had never been taken: an interruption is no attempt."""
        with self._connection() as connection:
            statement = _claims.update().where(self._is(candidate))
            values = {"state": "released", "attempts": _claims.c.attempts - 1}
            connection.execute(statement.values(**values))

    def claims(self) -> list[Claim]:
        """All claims of the study."""
        statement = sa.select(_claims).where(_claims.c.study == self.study)
        with self._connection() as connection:
            rows = connection.execute(statement).mappings().all()
        return [Claim(**{k: v for k, v in row.items() if k != "study"}) for row in rows]

    def stale(self) -> list[Claim]:
        """Running claims whose owner is dead: its process ended, or no heartbeat from its host."""
        found = []
        for claim in self.claims():
            if claim.state != "running":
                continue
            gone = _owner_is_gone(claim.owner)
            if gone is None:
                gone = time.time() - claim.heartbeat > STALE_AFTER_S
            if gone:
                found.append(claim)
        return found

    def take_over(self, claim: Claim) -> bool:
        """Release a stale claim; False when another process did so first."""
        statement = (
            _claims.update()
            .where(
                self._is(claim.candidate),
                _claims.c.state == "running",
                _claims.c.owner == claim.owner,
                _claims.c.heartbeat == claim.heartbeat,
            )
            .values(state="released")
        )
        with self._connection() as connection:
            return connection.execute(statement).rowcount == 1

    def recall(self, kind: str, key: str) -> Any | None:
        """The fact of this key, or None."""
        statement = sa.select(_facts.c.value).where(_facts.c.kind == kind, _facts.c.key == key)
        with self._connection() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def remember(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        """Keep a fact; the first one of a key stays."""
        row = {"kind": kind, "key": key, "value": dict(value), "created": time.time()}
        try:
            with self._connection() as connection:
                connection.execute(_facts.insert().values(**row))
        except IntegrityError:
            return

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _set_state(self, candidate: str, state: str) -> None:
        with self._connection() as connection:
            statement = _claims.update().where(self._is(candidate))
            connection.execute(statement.values(state=state))

    def _is(self, candidate: str) -> sa.ColumnElement[bool]:
        return sa.and_(_claims.c.study == self.study, _claims.c.candidate == candidate)


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
