"""Waiting for what is away for a while: a database that is restarted, a disk that is full."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from autosinian.errors import InputError

T = TypeVar("T")
OnMessage = Callable[[str], None]

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0

_PASSING_SQLITE = ("disk is full", "disk i/o error", "is locked", "unable to open database file")
_LASTING_POSTGRESQL = ("28", "3D", "42")  # authorization, no such database, no such table
"""SQLSTATE classes (PostgreSQL, appendix A) that waiting does not mend."""


def passing_reason(error: BaseException) -> str:
    """In words, why the database is away; empty for an error that waiting does not mend.

    Takes what SQLAlchemy raises, also where another exception (Optuna's) wraps it.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        if isinstance(cause, InputError):
            return ""  # told already, or waited for long enough
        # What SQLAlchemy says of a connection that was lost before comes of that loss.
        before = cause.__context__ if isinstance(cause, SQLAlchemyError) else None
        cause = cause.__cause__ or before
    if not isinstance(cause, DBAPIError) or cause.orig is None:
        return ""
    words = (str(cause.orig).strip().splitlines() or [type(cause.orig).__name__])[0]
    if type(cause.orig).__module__.startswith("sqlite3"):
        passing = any(text in words.lower() for text in _PASSING_SQLITE)
        return f"the database gave `{words}`" if passing else ""
    state = getattr(cause.orig, "sqlstate", None) or ""
    lasting = state.startswith(_LASTING_POSTGRESQL)
    away = cause.connection_invalidated or type(cause).__name__ in (
        "OperationalError",
        "InterfaceError",
    )
    return f"the database gave `{words}`" if away and not lasting else ""


class Patience:
    """Repeats what fails because something is away, at most `limit_s` seconds in a row.

    `tell` gets a line when waiting begins and one when it ends. Safe for several threads. With a
    limit of 0 nothing is repeated.
    """

    def __init__(self, limit_s: float = 0.0, tell: OnMessage = lambda text: None) -> None:
        self.limit_s = limit_s
        self._tell = tell
        self._lock = threading.Lock()
        self._away_since: float | None = None

    def retry(
        self, action: Callable[[], T], reason: Callable[[BaseException], str] = passing_reason
    ) -> T:
        """What `action` gives, once it can.

        `reason` says of an error in words why waiting may help, empty where not: such an error is
        raised as it is. Raises `InputError` where the patience is used up.
        """
        wait_s = FIRST_WAIT_S
        start = time.monotonic()
        while True:
            try:
                found = action()
            except Exception as error:
                why = reason(error)
                waited = time.monotonic() - start
                if not why or self.limit_s <= 0:
                    raise
                if waited + wait_s > self.limit_s:
                    raise InputError(
                        f"a search must be able to go on within {self.limit_s:g} s (`--patience`), "
                        f"but {why}; run the same command again when that is mended: nothing that "
                        "was measured is lost"
                    ) from error
                self._began(why)
                self._sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                self._ended()
                return found

    def end(self) -> None:
        """Wait no more from now on: somebody asked to stop."""
        self.limit_s = 0.0

    def _sleep(self, seconds: float) -> None:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            self.end()
            raise

    def _began(self, why: str) -> None:
        with self._lock:
            first = self._away_since is None
            if first:
                self._away_since = time.monotonic()
        if first:
            self._tell(f"paused: {why}; waiting up to {self.limit_s:g} s")

    def _ended(self) -> None:
        if self._away_since is None:
            return
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None:
            self._tell(f"going on after {time.monotonic() - since:.0f} s")
