"""How a database is connected to, so that a connection that died is noticed and not waited for."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

WAIT_S = 60.0
"""How long a process waits for another's transaction in SQLite."""

_LIBPQ = ("psycopg", "psycopg2")

_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 10,
    # A server whose machine is gone answers nothing at all: found out after half a minute.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect_arguments(url: str) -> dict[str, Any]:
    """What a connection to this database needs."""
    try:
        parsed = sa.make_url(url)
        backend, driver = parsed.get_backend_name(), parsed.get_driver_name()
    except SQLAlchemyError:
        return {}  # told by whoever opens it
    if backend == "sqlite":
        return {"timeout": WAIT_S}
    if backend == "postgresql" and driver in _LIBPQ:
        return dict(_POSTGRESQL)
    return {}
