"""Average precision of torch detections over annotated images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autosinian.detection.annotations import AnnotatedImages, truth_of
from autosinian.detection.detections import Detections
from autosinian.detection.precision import AveragePrecision, precision_of
from autosinian.errors import InputError


def average_precision(found: Sequence[Detections], truth: AnnotatedImages) -> AveragePrecision:
    """The figures of `found`, one for each image of `truth` in its order.

    Raises `InputError` where `truth` has no boxes or other images.
    """
    if len(found) != len(truth.images):
        raise InputError(
            f"there must be detections for each of {len(truth.images)} images, but got {len(found)}"
        )
    rows = [_rows(index, detections) for index, detections in enumerate(found)]
    return precision_of(np.concatenate(rows), truth_of(truth.images), truth.classes)


def _rows(index: int, found: Detections) -> NDArray[np.float64]:
    boxes, scores, labels = (
        t.double().cpu().numpy() for t in (found.boxes, found.scores, found.labels)
    )
    return np.column_stack((np.full(len(boxes), float(index)), boxes, scores, labels))
