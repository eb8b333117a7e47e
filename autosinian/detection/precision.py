"""COCO's mean average precision of detections in parts of the image, by `pycocotools`."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import AutosinianError, InputError

TRUTH_COLUMNS = 6
"""Of a true box: left, top, right, bottom (parts of the image), class, 1 for a crowd."""

SCALE = 1000.0
"""COCO's own sums are of pixels; overlaps do not depend on the unit."""


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's figures in percent: `mean` over overlaps 0.50 to 0.95, `at_50`, `at_75`, and the
    mean of each class, from class 1 on (nan for one without boxes)."""

    mean: float
    at_50: float
    at_75: float
    by_class: tuple[float, ...]


def precision_of(
    found: NDArray[np.floating[Any]], truth: NDArray[np.float64], classes: int
) -> AveragePrecision:
    """The figures of detections `found`, `n x 7`: image, then the columns of `decoded`.

    `truth` is `images x most x 6`, rows of class 0 are padding; `classes` counts the background.
    Raises `InputError` where `truth` has no boxes, `AutosinianError` without pycocotools.
    """
    if not truth[..., 4].any():
        raise InputError("average precision needs at least one annotated box, but there is none")
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise AutosinianError(
            "average precision needs `pycocotools`: `pip install pycocotools`"
        ) from error
    if len(found) == 0:
        return AveragePrecision(0.0, 0.0, 0.0, (0.0,) * (classes - 1))
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = _dataset(truth, classes)
        ground.createIndex()
        judge = COCOeval(ground, ground.loadRes(_rows(found)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    mean, at_50, at_75 = (100 * float(value) for value in judge.stats[:3])
    precision = judge.eval["precision"][..., 0, -1]
    by_class = []
    for index in range(classes - 1):
        known = precision[:, :, index]
        known = known[known > -1]
        by_class.append(100 * float(known.mean()) if known.size else float("nan"))
    return AveragePrecision(mean, at_50, at_75, tuple(by_class))


def _rows(found: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """`n x 7` as pycocotools reads it: image, left, top, width, height, score, class."""
    rows = found.astype(np.float64)
    rows[:, 3:5] -= rows[:, 1:3]
    rows[:, 1:5] *= SCALE
    return rows


def _dataset(truth: NDArray[np.float64], classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, rows in enumerate(truth):
        for left, top, right, bottom, label, crowd in rows[rows[:, 4] > 0].tolist():
            width, height = SCALE * (right - left), SCALE * (bottom - top)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": [SCALE * left, SCALE * top, width, height],
                    "area": width * height,
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [{"id": image} for image in range(len(truth))],
        "categories": [{"id": label, "name": str(label)} for label in range(1, classes)],
        "annotations": annotations,
    }
