from pathlib import Path

import pytest

from autosinian.data import MapFiles, open_dataset
from autosinian.errors import InputError


def test_an_unknown_data_set_is_told_with_the_known_ones() -> None:
    known = "cifar10, coco, fashion_mnist, folder, imagenet, voc"
    with pytest.raises(InputError, match=f"one of {known}, but"):
        open_dataset("mnist")


def test_maps_and_classes_are_refused_where_they_mean_nothing() -> None:
    with pytest.raises(InputError, match="are for imagenet and folder, not for `fashion_mnist`"):
        open_dataset("fashion_mnist", maps=MapFiles(val=Path("val_map.txt")))
    with pytest.raises(InputError, match="are for imagenet and folder"):
        open_dataset("fashion_mnist", classes=10)
    with pytest.raises(InputError, match="classes must be at least 1"):
        open_dataset("imagenet", Path(), classes=0)
