"""Optuna's own storage, for what is rare: its tables' creation and version, and whole studies."""

import time

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from autosinian.store.connection import connect_arguments
from autosinian.store.sqlite import use_write_ahead_log

CREATION_WAITS_S = (0.1, 0.3, 1.0)


def open_tables(url: str) -> RDBStorage:
    """Optuna's storage; tried again where another process created its tables at the same moment.

    It holds no connection between two calls. Raises `RuntimeError` where the tables are of another
    version of Optuna.
    """
    for wait_s in CREATION_WAITS_S:
        try:
            return _open(url)
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            text = str(error)
            if "UNIQUE" not in text and "exist" not in text and "duplicate" not in text:
                raise
            time.sleep(wait_s)
    return _open(url)


def _open(url: str) -> RDBStorage:
    arguments = {"connect_args": connect_arguments(url), "poolclass": sa.NullPool}
    try:
        tables = RDBStorage(url, engine_kwargs=arguments)
    except StorageInternalError as error:
        raise cause_of(error) from error
    use_write_ahead_log(tables.engine)
    return tables


def cause_of(error: StorageInternalError) -> Exception:
    """What the database said, where Optuna wraps it."""
    return error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
