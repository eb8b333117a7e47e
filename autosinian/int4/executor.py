"""What runs a network of integers, on whatever device: int8 images in, int32 logits out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError


class Executor(Protocol):
    """A network made ready for a device; every executor gives the same bits."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`C x H x W` of an image."""
        ...

    @property
    def classes(self) -> int:
        """Length of a row of logits."""
        ...

    def logits(self, images: NDArray[np.int8]) -> NDArray[np.int32]:
        """Logits before scaling, `N x classes`, of `images`, `N x C x H x W`, for any N >= 1.

        Raises `InputError` for images of another type or size.
        """
        ...


def check_images(images: NDArray[np.generic], shape: tuple[int, int, int]) -> None:
    """Raise `InputError` unless `images` is int8, `N x C x H x W`, with `C x H x W` as `shape`."""
    if images.dtype != np.int8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise InputError(
            f"images must be int8, N x {' x '.join(map(str, shape))} with N >= 1 for this network, "
            f"got {images.dtype}, {' x '.join(map(str, images.shape))}"
        )
