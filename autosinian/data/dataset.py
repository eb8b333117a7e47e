"""What every data set offers, whatever its images come from."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.data.roles import Role
from autosinian.data.samples import Samples
from autosinian.errors import InputError


class Dataset(ABC):
    """Images and labels of a classification task, divided into roles by a fixed rule.

    `mean` and `std` are the training images' own, per channel, of pixels in 0..1: the defaults
    where a network brings none.
    """

    name: str
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @abstractmethod
    def describe(self) -> str:
        """A few lines for people: where the samples come from and how roles divide them."""

    @abstractmethod
    def fingerprint(self, role: Role) -> str:
        """Content key of the role's sources; cheap, reads no image."""

    @abstractmethod
    def samples(self, role: Role) -> Samples:
        """The role's samples; `InputError` where the source has none."""

    def images(self, role: Role) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All images, `N x H x W x 3`, and labels, `N`, in memory: for small sets.

        Raises `InputError` where images differ in size or have no labels.
        """
        samples = self.samples(role)
        if samples.labels is None:
            raise InputError(f"`{self.name}` has no labels for {role}")
        first = np.asarray(samples.read(0))
        images = np.empty((len(samples), *first.shape), np.uint8)
        for position in range(len(samples)):
            image = np.asarray(samples.read(position))
            if image.shape != first.shape:
                raise InputError(
                    f"images of one size are needed here, but `{samples.identities[position]}` "
                    f"is {image.shape[1]} x {image.shape[0]} and the first is "
                    f"{first.shape[1]} x {first.shape[0]}; preprocess to arrays instead"
                )
            images[position] = image
        return images, samples.labels


def require_folder(name: str, path: Path | None, what: str) -> Path:
    """`path` where it is given and exists; `InputError` naming `what` is expected otherwise."""
    if path is None:
        raise InputError(f"data set `{name}` needs the path of {what}")
    if not path.exists():
        raise InputError(f"data set `{name}` needs {what}, but `{path}` does not exist")
    return path
