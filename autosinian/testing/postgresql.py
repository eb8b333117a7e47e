"""A PostgreSQL server of one's own for a test or a benchmark, from the binaries that are there."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

DEBIAN = Path("/usr/lib/postgresql")
START_S = 30.0
OWNERS = ("postgres", "nobody")
"""Who runs the server where we are root, whom it refuses."""


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest where there are several; None without."""
    places = sorted(DEBIAN.glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    named = shutil.which("postgres")
    if named is not None:
        places.insert(0, Path(named).parent)
    return next((p for p in places if (p / "initdb").exists() and (p / "postgres").exists()), None)


def server_version() -> str:
    """What the server says it is, e.g. `postgres (PostgreSQL) 15.8`; empty where there is none."""
    binaries = find_binaries()
    if binaries is None:
        return ""
    told = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True)
    return told.stdout.strip()


class TemporaryServer:
    """A server in a folder of its own, reached by a socket there only; a context manager.

    `stop` and `start` let it go away and come back with everything it has committed.
    """

    def __init__(self) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError(f"no PostgreSQL server under {DEBIAN} and none on the path")
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        # Not below a test's own folder, which only its owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="autosinian-postgresql-"))

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of its database."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    @property
    def process(self) -> int | None:
        """Its process, which has one of its own for each connection; None while it is stopped."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *self._as_owner(),
                *(str(self._binaries / "postgres"), "-D", str(self.folder / "data")),
                *("-k", str(self.folder), "-c", "listen_addresses=", "-c", "max_connections=200"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "server.log").open("ab"),
            start_new_session=True,
        )
        self._wait()

    def stop(self, *, crash: bool = False) -> None:
        """Stop it: every connection is cut. `crash` is without a last word to the disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._process.wait(START_S)
            self._process = None

    def __enter__(self) -> "TemporaryServer":
        self.folder.chmod(0o755)
        if os.getuid() == 0:
            owner = _owner()
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        try:
            subprocess.run(
                [
                    *self._as_owner(),
                    *(str(self._binaries / "initdb"), "-D", str(self.folder / "data")),
                    *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
                ],
                check=True,
                capture_output=True,
            )
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        self.stop(crash=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _as_owner(self) -> list[str]:
        if os.getuid() != 0:
            return []
        owner = _owner()
        ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, "--pdeathsig=QUIT", "--"]

    def _wait(self) -> None:
        import psycopg

        begin = time.monotonic()
        while True:
            try:
                psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres").close()
                return
            except psycopg.OperationalError:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() - begin > START_S:
                    log = (self.folder / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {log[-1000:]}") from None
            time.sleep(0.05)


def _owner() -> pwd.struct_passwd:
    for name in OWNERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(f"one of the users {', '.join(OWNERS)} must exist to run PostgreSQL as")
