"""What every data set offers, whatever its images come from."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from autosinian.content import content_key
from autosinian.data.arrays import FORMAT, Arrays, find_arrays, write_arrays
from autosinian.data.preprocessing import Preprocessing
from autosinian.data.roles import Role
from autosinian.data.samples import Samples
from autosinian.errors import InputError


class Dataset(ABC):
    """Images and labels of a task, classification unless told, divided into roles by a fixed rule.

    `mean` and `std` are the training images' own, per channel, of pixels in 0..1: the defaults
    where a network brings none.
    """

    task: ClassVar[str] = "classification"
    name: str
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes where the data set has them; of detection, from class 1 on."""
        return ()

    @abstractmethod
    def describe(self) -> str:
        """A few lines for people: where the samples come from and how roles divide them."""

    @abstractmethod
    def fingerprint(self, role: Role) -> str:
        """Content key of the role's sources; cheap, reads no image."""

    @abstractmethod
    def samples(self, role: Role) -> Samples:
        """The role's samples; `InputError` where the source has none."""

    def short_side(self, resolution: int) -> int | None:
        """Short side before the centre crop to `resolution`; None resizes directly to it."""
        return None

    def preprocessing(self, resolution: int) -> Preprocessing:
        """The data set's usual rule: float32, bilinear, its own mean and std."""
        return Preprocessing(resolution, self.mean, self.std, resize=self.short_side(resolution))

    def arrays(
        self,
        role: Role,
        preprocessing: Preprocessing | int,
        cache: Path,
        limit: int | None = None,
    ) -> Arrays:
        """The role's samples preprocessed, in a folder of `cache` named by their content key.

        `preprocessing` may be a resolution, for the usual rule. `limit` takes the first so many of
        a fixed shuffle of the role's samples. What is there is not made again; two processes that
        ask for the same at once share the work of one. Raises `InputError` for sources that cannot
        be read and for a cache that cannot be written; nothing half-written stays.
        """
        rule = self._rule(preprocessing)
        return self.arrays_in(cache / self.key(role, rule, limit), role, rule, limit)

    def arrays_in(
        self,
        folder: Path,
        role: Role,
        preprocessing: Preprocessing | int,
        limit: int | None = None,
    ) -> Arrays:
        """As `arrays`, in a folder of a name of its own; arrays of another key are replaced."""
        rule = self._rule(preprocessing)
        key = self.key(role, rule, limit)
        found = find_arrays(folder, key)
        if found is not None:
            return found
        samples = self.samples(role)
        if limit is not None:
            samples = samples.first_of_shuffle(limit)
        about = {
            "dataset": self.name,
            "classes": self.classes,
            "role": role,
            "source": self.describe(),
            "limit": limit,
        }
        what = f"preprocessing {self.name} {role} at {rule.resolution} px"
        return write_arrays(folder, key, samples, rule, about, what)

    def key(self, role: Role, preprocessing: Preprocessing | int, limit: int | None = None) -> str:
        """Content key of what `arrays` would give."""
        if limit is not None and limit < 1:
            raise InputError(f"a limit must be at least 1 sample, but got {limit} for {role}")
        rule = self._rule(preprocessing).rule()
        return content_key(FORMAT, self.fingerprint(role), rule, limit)

    def _rule(self, preprocessing: Preprocessing | int) -> Preprocessing:
        if isinstance(preprocessing, int):
            return self.preprocessing(preprocessing)
        return preprocessing

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
