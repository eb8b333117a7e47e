"""How long a training is and how fast it learns."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from autosinian.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """Ends after `epochs` or after `seconds`, whichever is first; cosine to zero there.

    The rate rises for the first `warm_up` part of the steps. `learning_rate` is the greatest one.
    """

    epochs: float
    learning_rate: float
    batch_size: int
    seconds: float | None = None
    warm_up: float = 0.1

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.learning_rate <= 0 or self.batch_size < 1:
            raise InputError(
                "epochs, learning rate and batch size must be above 0, but got "
                f"{self.epochs}, {self.learning_rate}, {self.batch_size}"
            )
        if self.seconds is not None and self.seconds <= 0:
            raise InputError(f"a time limit must be above 0 s, but got {self.seconds}")

    def rate(self, progress: float) -> float:
        """The learning rate at `progress`, 0 to 1."""
        warm = min(1.0, progress / self.warm_up) if self.warm_up > 0 else 1.0
        return self.learning_rate * max(warm, 0.01) * 0.5 * (1 + math.cos(math.pi * progress))


class Clock:
    """The progress of one training by steps, fitted to its time once a step has been timed.

    Without a time limit `total` steps are done. With one, the first steps (a GPU's search for
    convolution algorithms, a graph's capture) are not taken for typical: `SETTLING` of them pass
    at the start of the schedule, the next `TIMED` are timed, and the rest of the time is divided
    by what one took; so again whenever `plan` is called. The schedule ends where time does.
    """

    SETTLING = 6
    TIMED = 20
    LARGEST_SETTLING, LARGEST_TIMED = 0.3, 0.05
    """Of the time limit: where steps are so slow that it takes longer, fewer of them are."""

    def __init__(
        self, schedule: Schedule, images: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.schedule = schedule
        self.steps_per_epoch = max(1, images // schedule.batch_size)
        self._most = max(1, round(schedule.epochs * self.steps_per_epoch))
        self.total = self._most
        self.step = 0
        self._now = now
        self._start = now()
        self._base, self._base_step = 0.0, 0
        self._marked: tuple[int, float] | None = None
        self._planned = False

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._now() - self._start

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Part that is done, 0 to 1."""
        if self.done:
            return 1.0
        part = (self.step - self._base_step) / (self.total - self._base_step)
        return self._base + (1 - self._base) * part

    @property
    def done(self) -> bool:
        """Whether all steps are done or the time is over."""
        limit = self.schedule.seconds
        return self.step >= self.total or (limit is not None and self.seconds >= limit)

    @property
    def due(self) -> bool:
        """Whether `plan` should be called now, the device having been waited for."""
        limit = self.schedule.seconds
        if limit is None or self._planned:
            return False
        if self._marked is None:
            return self.step >= self.SETTLING or self.seconds > self.LARGEST_SETTLING * limit
        step, start = self._marked
        timed = self.step - step
        slow = self._now() - start > self.LARGEST_TIMED * limit
        return timed >= self.TIMED or (timed > 0 and slow)

    def plan(self) -> None:
        """Divide the time that is left by the time of a step since the last call."""
        limit = self.schedule.seconds
        if limit is None or self.done:
            return
        now = self._now()
        if self._marked is not None and self.step > self._marked[0]:
            step, start = self._marked
            step_seconds = max((now - start) / (self.step - step), 1e-9)
            progress = self.progress
            left = int((limit - self.seconds) / step_seconds)
            self._base, self._base_step = progress, self.step
            self.total = min(self._most, self.step + left)
            self._planned = True
        self._marked = (self.step, now)
