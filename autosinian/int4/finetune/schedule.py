"""How long a training is and how fast it learns."""

import math
import time
from dataclasses import dataclass

from autosinian.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """Ends after `epochs` or after `seconds`, whichever is first; cosine to zero there.

    The rate rises for the first `warm_up` part. `learning_rate` is the greatest one.
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
    """The progress of one training by steps and by time."""

    def __init__(self, schedule: Schedule, images: int) -> None:
        self.schedule = schedule
        self.steps_per_epoch = max(1, images // schedule.batch_size)
        self.total = max(1, round(schedule.epochs * self.steps_per_epoch))
        self.step = 0
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Part that is done, 0 to 1."""
        limit = self.schedule.seconds
        by_time = 0.0 if limit is None else self.seconds / limit
        return min(1.0, max(self.step / self.total, by_time))
