"""Shuffled and augmented batches, made on the device in the same two tensors every time."""

import torch

from autosinian.int4.finetune.images import ImageSet
from autosinian.supernet.training.augmentation import Augmentation


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
        side = data.resolution
        self.images = torch.empty(
            (self._size, 3, side, side), device=data.device, memory_format=torch.channels_last
        )
        self.labels = torch.empty(self._size, dtype=torch.long, device=data.device)

    def next(self) -> None:
        """Put the next batch into `images` and `labels`."""
        split = self._data.train
        if len(self._order) < self._size:
            self._order = torch.randperm(
                len(split), generator=self._generator, device=self._data.device
            )
        chosen, self._order = self._order[: self._size], self._order[self._size :]
        raw = split.images[chosen]
        self.images.copy_(self._data.augmented(raw, self._augmentation, self._generator))
        self.labels.copy_(split.labels[chosen])
