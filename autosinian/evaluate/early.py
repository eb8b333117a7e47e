"""Workers of a trial that get ready before their turn."""

import os

from autosinian.engine.processor import usable_cores
from autosinian.engine.protocol import Engine
from autosinian.evaluate.quiet import keep_working
from autosinian.measure import BuildJob, Job
from autosinian.measure.workers import Workers

# Several processes that get ready at once take longer each where cores are few.
_CORES_A_SPARE = 4
_SERVER_RUNS = 3


class EarlyWorkers:
    """Starts workers early where the engine's libraries take long to get ready.

    Of several GPUs each has a process of its own, which the worker starts: then there are none.
    """

    def __init__(self, workers: Workers, engine: Engine, scenarios: tuple[str, ...]) -> None:
        self._workers, self._engine = workers, engine
        self._runs = sum(_SERVER_RUNS if name == "Server" else 1 for name in scenarios)

    def prepare(self, *, first: bool = False, least: int | None = None) -> None:
        """Start the next workers: those of the performance runs, and the `first` of a trial. See
        `Workers.prepare`.

        They hold off performance runs until they only wait. During such a run none is started.
        """
        devices = self._workers.devices
        held = keep_working(devices) if self._worth else None
        if held is None:
            return
        count = max(1, min(self._runs + first, self._at_once))
        try:
            self._workers.prepare(
                self._engine.slow_imports(),
                devices,
                engine=self._engine.name,
                count=count,
                least=least,
                held=held,
            )
        finally:
            for handle in held:
                os.close(handle)

    def prepare_unless_opened(self) -> None:
        """`prepare`, unless the performance run's worker opens its engine file already."""
        if not self._workers.opens_early:
            self.prepare()

    def rehearse(self, job: Job, build: BuildJob) -> None:
        """Have the worker of a performance run get ready while its engine file is built: by
        running the model where it may `open` the file early, else as `prepare` does.
        """
        if self._opens(job):
            self._workers.open_early(job, build=build)
        else:
            self.prepare()

    def open(self, job: Job) -> None:
        """Have the worker of a performance run open the engine file while accuracy is judged.

        Only where cores suffice for two at once. A Server run begins with a search for its rate.
        """
        if self._opens(job) and not self._workers.built(job):
            self._workers.open_early(job)

    def _opens(self, job: Job) -> bool:
        return self._worth and self._at_once >= 2 and job.scenario != "Server"

    @property
    def _worth(self) -> bool:
        return bool(self._engine.slow_imports()) and len(self._workers.devices) <= 1

    @property
    def _at_once(self) -> int:
        """How many workers may get ready at once."""
        return usable_cores() // _CORES_A_SPARE
