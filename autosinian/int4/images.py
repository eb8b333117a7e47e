"""Images as networks of integers read them, and arrays of such images from files.

The rule is that of the first publication: short side to 8/7 of the side (256 for 224), centre
crop, ImageNet's mean and deviation, then int8 steps of 2.64 / 127 up to 2.64 deviations.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosinian.content import atomic_folder
from autosinian.data.decode import decode
from autosinian.data.maps import read_map
from autosinian.data.preprocessing import Preprocessing, imagenet_short_side
from autosinian.data.progress import Progress
from autosinian.errors import InputError

STEP = 2.64 / 127
"""What one step of an input value stands for, in deviations from the mean."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INPUTS, LABELS = "inputs.npy", "labels.npy"


def preprocessing(side: int) -> Preprocessing:
    """The rule for square images of `side` pixels."""
    return Preprocessing(
        side, MEAN, DEVIATION, resize=imagenet_short_side(side), dtype="int8", scale=STEP
    )


def make_arrays(folder: Path, val_map: Path, side: int, out: Path) -> int:
    """Write `inputs.npy` and `labels.npy` to the new folder `out`; returns how many images.

    Raises `InputError` where `out` exists, the map is wrong or an image cannot be read.
    """
    if out.exists():
        raise InputError(f"`{out}` must not exist yet; remove it or name another")
    rule, lines = preprocessing(side), read_map(val_map, labels_needed=True, classes=None)
    if not lines:
        raise InputError(f"map `{val_map}` must name images, but is empty")
    progress = Progress("preprocessing", len(lines))
    with atomic_folder(out) as temporary:
        images = np.lib.format.open_memmap(
            temporary / INPUTS, mode="w+", dtype=np.int8, shape=(len(lines), *rule.shape)
        )
        for number, line in enumerate(lines):
            images[number] = rule.apply(decode(folder / line.name, line.where))
            progress.advance(number + 1)
        images.flush()
        np.save(temporary / LABELS, np.array([line.label for line in lines], np.int64))
    return len(lines)


def read_array(path: Path) -> NDArray[np.int8]:
    """An int8 array `N x C x H x W`, mapped from a `.npy` file. Raises `InputError`."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` must be a .npy file of int8 images, but: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.int8 or array.ndim != 4:
        told = getattr(array, "dtype", "an archive"), getattr(array, "shape", ())
        raise InputError(f"`{path}` must be int8, N x C x H x W, got {told[0]}, {told[1]}")
    return array


def read_labels(path: Path) -> NDArray[np.int64]:
    """Labels, int64, `N`, of a `.npy` file. Raises `InputError`."""
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` must be a .npy file of labels, but: {error}") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"`{path}` must be whole numbers, one an image, but it is not")
    return labels.astype(np.int64)
