"""The Optuna dashboard of one study on this machine's own address."""

from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import optuna_dashboard

from autosinian.errors import InputError
from autosinian.search.dashboard import artifact_store
from autosinian.search.storage import work_folder

HOST = "127.0.0.1"
USUAL_PORT = 8080


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking a name service for this machine's name, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are of no interest to who looks at the page."""


class Dashboard:
    """Serves a study and its artifacts at `url`; a context manager.

    Port 0 takes any free one; None takes 8080, or any free one where that is taken. Raises
    `InputError` for a port that cannot be had.
    """

    def __init__(self, study: optuna.Study, port: int | None = None) -> None:
        store = artifact_store(work_folder(study.study_name))
        app = optuna_dashboard.wsgi(study._storage, artifact_store=store)
        self._server = _listen(app, port)
        self.port = int(self._server.server_port)
        self.url = f"http://{HOST}:{self.port}/dashboard/studies/{study._study_id}"

    def serve(self) -> None:
        """Answer until `close` is called in another thread, or Ctrl-C."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop serving and give the port back."""
        self._server.shutdown()

    def __enter__(self) -> "Dashboard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.server_close()


def _listen(app: Any, port: int | None) -> WSGIServer:
    wanted = (USUAL_PORT, 0) if port is None else (port,)
    reason: OSError | OverflowError | None = None
    for number in wanted:
        try:
            return make_server(HOST, number, app, server_class=_Server, handler_class=_Silent)
        except (OSError, OverflowError) as error:
            reason = error
    raise InputError(
        f"the port must be free and from 1 to 65535, but {port} is not ({reason}); leave `--port` "
        "out to take one that is"
    ) from reason
