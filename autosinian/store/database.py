"""The one way to a study's database: whole transactions, repeated while the database is away.

A connection may be lost after a transaction was committed and before we hear of it, so whatever is
given to `Database` must come to the same when it is done twice.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from autosinian.errors import InputError
from autosinian.store.connection import connect_arguments
from autosinian.store.patience import Patience
from autosinian.store.sqlite import use_write_ahead_log

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

DIALECTS = ("sqlite", "postgresql")


class Database:
    """Connections to one database; safe for several threads.

    `patience` says how long a database that is away is waited for. Failures are told as
    `InputError` in one line, but for `IntegrityError`: a key that is there already. Raises
    `InputError` for a URL that is none, or neither of SQLite nor of PostgreSQL.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.url = url
        self.patience = patience or Patience()
        try:
            self.engine = sa.create_engine(url, connect_args=connect_arguments(url))
        except (SQLAlchemyError, ImportError) as error:
            raise storage_error(url, error) from error
        self.dialect = self.engine.dialect.name
        if self.dialect not in DIALECTS:
            raise InputError(
                "the storage must be a database of SQLite or PostgreSQL, but got one of "
                f"`{self.dialect}`; name another with `--storage`"
            )
        use_write_ahead_log(self.engine)
        self.batches = self.engine.dialect.driver == "psycopg"
        """Whether several statements may be one message."""
        self._uncommitted = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def transact(self, work: Work[T], patience: Patience | None = None) -> T:
        """`work` in a transaction of its own."""

        def once() -> T:
            with self.engine.begin() as connection:
                if self.dialect == "sqlite":
                    # The lock first: one that is asked for after reading is refused at once.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                return work(connection)

        return self.attempt(once, patience)

    def run(self, work: Work[T], patience: Patience | None = None) -> T:
        """`work` that only reads, or is one statement: without the cost of a transaction."""

        def once() -> T:
            with self._uncommitted.connect() as connection:
                return work(connection)

        return self.attempt(once, patience)

    def attempt(self, action: Callable[[], T], patience: Patience | None = None) -> T:
        """What uses the engine by itself, under the same rules."""
        try:
            return (patience or self.patience).retry(functools.partial(_reconnected, action))
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise storage_error(self.url, error) from error

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()


def _reconnected(action: Callable[[], T]) -> T:
    """`action`, once more at once where its connection was cut: a kept one may be of a server that
    was restarted long ago, and that is no reason to pause."""
    try:
        return action()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        return action()


def storage_error(url: str, error: BaseException) -> InputError:
    """One line about a database that cannot be used; a password in `url` is not shown."""
    try:
        shown = sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        shown = url
    reason = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
    return InputError(
        f"the storage must be a database that can be opened and written, but `{shown}` gave "
        f"`{reason}`; name another with `--storage`"
    )
