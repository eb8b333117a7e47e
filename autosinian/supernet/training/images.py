"""The images that a supernet is trained on, as compact arrays, divided as the data room does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosinian.data.dataset import Dataset


@dataclass(frozen=True)
class TrainingImages:
    """Images as uint8 `N x 3 x h x w` and labels as int64 `N`.

    `train` are trained on; `batch_norm` give batch-norm statistics; `held` (never trained on)
    watch the training; `test` give the final figures only.
    """

    name: str
    classes: int
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    batch_norm_images: NDArray[np.uint8]
    held_images: NDArray[np.uint8]
    held_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def training_images(dataset: Dataset) -> TrainingImages:
    """All of a small data set in memory.

    Raises `InputError` where it has no training images or its images differ in size.
    """

    def planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    train, train_labels = dataset.images("train")
    held, held_labels = dataset.images("search")
    test, test_labels = dataset.images("validation")
    batch_norm, _ = dataset.images("batch_norm")
    # Batches of batch-norm images must mix the classes.
    order = np.random.default_rng(1).permutation(len(batch_norm))
    return TrainingImages(
        name=dataset.name,
        classes=dataset.classes,
        train_images=planes(train),
        train_labels=train_labels,
        batch_norm_images=planes(batch_norm[order]),
        held_images=planes(held),
        held_labels=held_labels,
        test_images=planes(test),
        test_labels=test_labels,
        mean=dataset.mean,
        std=dataset.std,
    )
