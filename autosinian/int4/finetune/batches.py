"""Shuffled and augmented batches, made on the device in the same two tensors every time."""

import torch

from autosinian.int4.finetune.images import ImageSet
from autosinian.supernet.training.augmentation import Augmentation, augment

TOGETHER = 16
"""So many batches are augmented at once: fewer and larger launches."""


class Batches:
    """Batches of the images trained on: `images`, float `n x 3 x r x r`, and `labels`, `n`.

    Every image comes once before any comes again, but for the remainder of a shuffle that makes
    no whole batch. Neither shuffling nor augmentation waits for the device.
    """

    def __init__(
        self, data: ImageSet, batch_size: int, augmentation: Augmentation, seed: int
    ) -> None:
        self._data, self._augmentation = data, augmentation
        self._generator = torch.Generator(data.device).manual_seed(seed)
        self._size = min(batch_size, len(data.train))
        self._order = torch.empty(0, dtype=torch.long, device=data.device)
        self._changed: list[tuple[torch.Tensor, torch.Tensor]] = []
        side = data.resolution
        self.images = torch.empty(
            (self._size, 3, side, side), device=data.device, memory_format=torch.channels_last
        )
        self.labels = torch.empty(self._size, dtype=torch.long, device=data.device)

    def next(self) -> None:
        """Put the next batch into `images` and `labels`."""
        if not self._changed:
            self._change()
        images, labels = self._changed.pop(0)
        self.images.copy_(self._data.normalised(images))
        self.labels.copy_(labels)

    def _change(self) -> None:
        """Augment the next images at their own size."""
        split = self._data.train
        if len(self._order) < self._size:
            self._order = torch.randperm(
                len(split), generator=self._generator, device=self._data.device
            )
        count = min(TOGETHER, len(self._order) // self._size) * self._size
        chosen, self._order = self._order[:count], self._order[count:]
        images = augment(split.images[chosen], self._augmentation, self._generator)
        parts = torch.split(images, self._size), torch.split(split.labels[chosen], self._size)
        self._changed = list(zip(*parts, strict=True))
