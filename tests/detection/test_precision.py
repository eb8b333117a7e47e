"""COCO mAP on cases small enough to do by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from autosinian.detection.precision import precision_of
from autosinian.errors import InputError

TRUTH = np.array(
    [
        [[0.1, 0.1, 0.5, 0.5, 1, 0], [0.6, 0.6, 0.9, 0.9, 2, 0]],
        [[0.2, 0.2, 0.4, 0.4, 1, 0], [0.0, 0.0, 0.0, 0.0, 0, 0]],
    ],
    np.float64,
)


def _found(*rows: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, 7)


def test_the_true_boxes_have_full_precision() -> None:
    found = _found(
        (0, 0.1, 0.1, 0.5, 0.5, 0.9, 1),
        (0, 0.6, 0.6, 0.9, 0.9, 0.8, 2),
        (1, 0.2, 0.2, 0.4, 0.4, 0.7, 1),
    )
    figures = precision_of(found, TRUTH, 3)
    assert figures.mean == pytest.approx(100)
    assert figures.by_class == pytest.approx((100, 100))


def test_one_of_two_boxes_found_is_half_the_recall() -> None:
    # COCO reads precision at recalls 0, 0.01, ... 1: 51 of 101 are at most one half.
    found = _found((0, 0.1, 0.1, 0.5, 0.5, 0.9, 1))
    figures = precision_of(found, TRUTH, 3)
    assert figures.by_class == pytest.approx((100 * 51 / 101, 0))
    assert figures.mean == pytest.approx(50 * 51 / 101)


def test_a_shifted_box_counts_below_its_overlap() -> None:
    # Overlap 0.32 / 0.36 of each truth's width moved: (0.4 - 0.05) / (0.4 + 0.05) = 0.778.
    found = _found((0, 0.15, 0.1, 0.55, 0.5, 0.9, 1), (1, 0.2, 0.2, 0.4, 0.4, 0.8, 1))
    figures = precision_of(found, TRUTH[:, :1], 2)
    assert figures.at_50 == pytest.approx(100)
    assert figures.at_75 == pytest.approx(100)
    # Above it a wrong box ranks first: precision one half up to recall one half.
    low, high = 6, 4
    assert figures.mean == pytest.approx((low * 100 + high * 50 * 51 / 101) / 10)


def test_a_crowd_is_neither_missed_nor_counted_wrong() -> None:
    truth = TRUTH.copy()
    truth[0, 1] = [0.5, 0.5, 1.0, 1.0, 1, 1]
    found = _found(
        (0, 0.1, 0.1, 0.5, 0.5, 0.9, 1),
        (0, 0.6, 0.6, 0.8, 0.8, 0.95, 1),
        (1, 0.2, 0.2, 0.4, 0.4, 0.7, 1),
    )
    assert precision_of(found, truth, 2).mean == pytest.approx(100)


def test_nothing_found_is_zero_and_nothing_to_find_is_refused() -> None:
    assert precision_of(_found(), TRUTH, 3).mean == 0
    with pytest.raises(InputError, match="at least one annotated box"):
        precision_of(_found(), np.zeros((2, 1, 6)), 3)
