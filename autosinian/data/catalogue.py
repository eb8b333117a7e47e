"""Data sets by name."""

from pathlib import Path

from autosinian.data.cifar import Cifar10
from autosinian.data.dataset import Dataset
from autosinian.data.fashion import FashionMnist
from autosinian.errors import InputError

NAMES = ("cifar10", "fashion_mnist", "folder", "imagenet")


def open_dataset(name: str, path: Path | None = None) -> Dataset:
    """The data set of that name; `path` is the user's folder or archive.

    Raises `InputError` for an unknown name or a path that does not hold the data set.
    """
    if name == "fashion_mnist":
        return FashionMnist(path)
    if name == "cifar10":
        return Cifar10(path)
    raise InputError(f"a data set is one of {', '.join(NAMES)}, but got `{name}`")
