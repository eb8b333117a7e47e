"""SQLite as the database of a search: quick commits, and several processes at once."""

import contextlib
import sqlite3

import sqlalchemy as sa


def use_write_ahead_log(engine: sa.Engine) -> None:
    """Let every connection of an SQLite database write ahead; other databases are left alone.

    Asking for a candidate writes one transaction for each dimension, some 60, and each waited 14
    ms for the disk. With the log synced at checkpoints only, a killed process still loses nothing,
    and a power failure the last trials but never the database (https://sqlite.org/wal.html).
    """
    if engine.dialect.name != "sqlite":
        return

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        # Refused while another process uses the database in its old mode, or by its file system.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    engine.dispose()
