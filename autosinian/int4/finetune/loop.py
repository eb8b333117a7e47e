"""What all trainings have in common: batches, the schedule, the graph, and what is told of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from autosinian.data.progress import told_duration
from autosinian.int4.finetune.batches import Batches
from autosinian.int4.finetune.graphed import GraphedStep
from autosinian.int4.finetune.images import ImageSet
from autosinian.int4.finetune.record import Record
from autosinian.int4.finetune.schedule import Clock, Schedule
from autosinian.int4.finetune.step_profile import profiled, wait
from autosinian.supernet.training.augmentation import Augmentation

Update = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
AUGMENTATION = Augmentation(affine=0.15, colour=0.1, erase=0.3)


@dataclass(frozen=True, eq=False)
class Stage:
    """One training: its `name`, `update`, its learning rates, and how its success is told.

    `update` takes a batch of images and labels one optimizer step further and gives the loss, a
    scalar on the device; it must not wait for the device, as it becomes a CUDA graph. `rates` are
    the optimizer's learning rates, scalars on the device, each with its factor of the schedule's
    rate. `after` is called after every step; `accuracy` gives that of the search split, 0 to 1.
    """

    name: str
    update: Update
    rates: Sequence[tuple[torch.Tensor, float]]
    accuracy: Callable[[], float]
    after: Callable[[], None] = lambda: None


class Training:
    """One stage by its schedule: `run` once, then `profile` where wanted."""

    def __init__(
        self, stage: Stage, data: ImageSet, schedule: Schedule, record: Record, seed: int
    ) -> None:
        self._stage, self._data, self._schedule, self._record = stage, data, schedule, record
        self._batches = Batches(data, schedule.batch_size, AUGMENTATION, seed)
        self._loss_sum = torch.zeros((), device=data.device)
        self._step = GraphedStep(self._work, data.device, record.say)

    def _work(self) -> None:
        self._loss_sum.add_(self._stage.update(self._batches.images, self._batches.labels))

    def run(self) -> float:
        """Train; gives the epochs done."""
        clock = Clock(self._schedule, len(self._data.train))
        told, since, finished = 0, 0.0, False
        while not finished:
            rate = self._schedule.rate(clock.progress)
            for tensor, factor in self._stage.rates:
                tensor.fill_(rate * factor)
            self._batches.next()
            self._step()
            self._stage.after()
            clock.step += 1
            if clock.due:
                wait(self._data.device)
                clock.plan()
            finished = clock.done
            if clock.step % clock.steps_per_epoch == 0 or finished:
                self._tell(clock, rate, clock.step - told, since)
                told, since = clock.step, clock.seconds
                finished = clock.done  # where the time left is less than a step's
        return clock.epoch

    def profile(self) -> None:
        """Time a step in detail. Its learning rates are zero, but batch-norm statistics and what
        follows a step go on."""
        for tensor, _ in self._stage.rates:
            tensor.zero_()
        parts = (self._batches.next, self._step, self._stage.after)
        self._record.profile(self._stage.name, profiled(*parts, self._data.device))

    def _tell(self, clock: Clock, rate: float, steps: int, since: float) -> None:
        """Log the last `steps`, begun at `since` seconds, and plan the rest by their time."""
        loss = float(self._loss_sum) / steps  # waits for the device
        step_ms = 1e3 * (clock.seconds - since) / steps
        accuracy = self._stage.accuracy()
        self._record.log(
            stage=self._stage.name,
            epoch=round(clock.epoch, 2),
            seconds=round(clock.seconds, 1),
            learning_rate=rate,
            loss=loss,
            accuracy_search=accuracy,
            step_ms=round(step_ms, 2),
        )
        self._loss_sum.zero_()
        clock.plan()
        left = clock.seconds / clock.progress * (1 - clock.progress)
        if self._schedule.seconds is not None:
            left = max(0.0, min(left, self._schedule.seconds - clock.seconds))
        self._record.say(
            f"{self._stage.name}: epoch {clock.epoch:.1f}, loss {loss:.3f}, search "
            f"{accuracy:.2%}, {step_ms:.1f} ms a step, {told_duration(left)} left"
        )
