"""Annotated images as a study's data set."""

from pathlib import Path

import numpy as np
import pytest

from autosinian.data import open_dataset
from autosinian.data.preprocessing import Preprocessing
from autosinian.detection.annotations import truth_of
from autosinian.detection.inputs import DEVIATION, MEAN, input_batches
from autosinian.detection.voc import read_voc
from autosinian.errors import InputError

RULE = Preprocessing(300, MEAN, DEVIATION, resize=None)


def test_roles_are_splits_and_labels_their_boxes(drawn: Path, tmp_path: Path) -> None:
    dataset = open_dataset("voc", drawn)
    assert (dataset.task, dataset.classes) == ("detection", 3)
    assert dataset.class_names == ("large", "small")
    arrays = dataset.arrays("search", RULE, tmp_path)
    split = read_voc(drawn, "val")
    assert arrays.samples == 4
    assert arrays.labels is not None
    assert np.array_equal(np.load(arrays.labels), truth_of(split.images))
    (expected,) = input_batches(split, 300, 4)
    assert np.allclose(arrays.open_inputs(), expected, atol=1e-6)


def test_a_limit_takes_boxes_with_their_images(drawn: Path, tmp_path: Path) -> None:
    arrays = open_dataset("voc", drawn).arrays("validation", RULE, tmp_path, limit=2)
    assert arrays.labels is not None
    assert np.load(arrays.labels).shape[0] == arrays.samples == 2


def test_other_roles_and_no_path_are_refused(drawn: Path) -> None:
    with pytest.raises(InputError, match="no samples for batch_norm"):
        open_dataset("voc", drawn).samples("batch_norm")
    with pytest.raises(InputError, match="needs the path"):
        open_dataset("voc")
