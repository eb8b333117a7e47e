"""Data sets by name."""

from pathlib import Path

from autosinian.data.cifar import Cifar10
from autosinian.data.dataset import Dataset
from autosinian.data.fashion import FashionMnist
from autosinian.data.mapped import MapFiles, MappedImages
from autosinian.errors import InputError

NAMES = ("cifar10", "coco", "fashion_mnist", "folder", "imagenet", "voc")
DETECTION_NAMES = ("coco", "voc")
IMAGENET_CLASSES = 1000


def open_dataset(
    name: str,
    path: Path | None = None,
    *,
    maps: MapFiles | None = None,
    classes: int | None = None,
) -> Dataset:
    """The data set of that name; `path` is the user's folder or archive.

    `fashion_mnist` needs no path: a part is shipped. `maps` and `classes` are for `imagenet`
    (1,000 classes unless told otherwise) and `folder` (one more than the largest label); `voc` and
    `coco` are for detection. Raises
    `InputError` for an unknown name or a path that does not hold the data set.
    """
    if name in ("imagenet", "folder"):
        if classes is None and name == "imagenet":
            classes = IMAGENET_CLASSES
        if classes is not None and classes < 1:
            raise InputError(f"classes must be at least 1, but got {classes}")
        return MappedImages(name, path, classes, maps)
    if name not in NAMES:
        raise InputError(f"a data set is one of {', '.join(NAMES)}, but got `{name}`")
    if (maps is not None and maps != MapFiles()) or classes is not None:
        raise InputError(f"map files and classes are for imagenet and folder, not for `{name}`")
    if name in DETECTION_NAMES:
        from autosinian.detection.dataset import DetectionDataset

        return DetectionDataset(name, path)
    return FashionMnist(path) if name == "fashion_mnist" else Cifar10(path)
