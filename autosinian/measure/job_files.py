"""The files through which a parent and a worker talk, and the words between them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosinian.content import write_json

READY, OPENED = b"r", b"o"
"""What a spare writes on stdout: that it waits for a job, and that it has opened the job's file."""
BUILT, GO = b"built\n", b"go\n"
"""To a process that was given its job early: the engine file is there; leave to measure."""


@dataclass(frozen=True)
class JobFiles:
    """Those of one job of one `kind` (`build`, `describe`, `run`) in its output folder."""

    folder: Path
    kind: str

    @property
    def job(self) -> Path:
        """What is to be done, as `autosinian.measure.worker.read_job` reads it."""
        return self.folder / f"{self.kind}_job.json"

    @property
    def result(self) -> Path:
        """What was found: `{"result": {...}}` or `{"failure": {...}}`; absent after a crash."""
        return self.folder / f"{self.kind}_result.json"

    @property
    def stderr(self) -> Path:
        """What the worker and its libraries print."""
        return self.folder / f"{self.kind}_stderr.txt"

    def write(self, job: dict[str, Any]) -> None:
        """Write the job and remove what an earlier one has left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.result.unlink(missing_ok=True)
        write_json(self.job, job)
