"""The samples of one role, before preprocessing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHUFFLE_SEED = 0


@dataclass(frozen=True)
class Samples:
    """Labelled or unlabelled images that are read one at a time.

    `identities` names the source of each (a path in a folder or archive, an index of an idx
    file): two samples of one data set are the same exactly where their identities are equal.
    `labels` is int64 `N`, None, or for
    detection float64 `N x most x 6`. `read(i)` gives image `i` in mode RGB and is safe to call from
    several threads; it raises `InputError` for an image that cannot be read.
    """

    identities: tuple[str, ...]
    labels: NDArray[Any] | None
    read: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.identities)

    def take(self, positions: NDArray[np.int64]) -> "Samples":
        """The samples at `positions`, in that order."""
        return Samples(
            identities=tuple(self.identities[i] for i in positions),
            labels=None if self.labels is None else self.labels[positions],
            read=lambda i: self.read(int(positions[i])),
        )

    def first_of_shuffle(self, limit: int) -> "Samples":
        """The first `limit` of a fixed shuffle; all, in their own order, where there are fewer.

        A smaller limit gives a prefix of a larger one.
        """
        if limit >= len(self):
            return self
        return self.take(np.random.default_rng(SHUFFLE_SEED).permutation(len(self))[:limit])
