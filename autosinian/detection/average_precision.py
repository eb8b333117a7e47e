"""COCO's mean average precision, by `pycocotools`."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autosinian.detection.annotations import AnnotatedImages
from autosinian.detection.detections import Detections
from autosinian.errors import AutosinianError, InputError


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's figures in percent: `mean` over overlaps 0.50 to 0.95, `at_50` and `at_75`, and the
    mean by class name (nan for a class without boxes)."""

    mean: float
    at_50: float
    at_75: float
    by_class: dict[str, float]


def average_precision(found: Sequence[Detections], truth: AnnotatedImages) -> AveragePrecision:
    """The figures of `found`, one for each image of `truth` in its order.

    Raises `InputError` where `truth` has no boxes.
    """
    if len(found) != len(truth.images):
        raise InputError(
            f"there must be detections for each of {len(truth.images)} images, but got {len(found)}"
        )
    if not any(len(image.labels) for image in truth.images):
        raise InputError("average precision needs at least one annotated box, but there is none")
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise AutosinianError(
            "average precision needs `pycocotools`: `pip install pycocotools`"
        ) from error
    rows = _rows(found, truth)
    if len(rows) == 0:
        return AveragePrecision(0.0, 0.0, 0.0, dict.fromkeys(truth.class_names, 0.0))
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = _dataset(truth)
        ground.createIndex()
        judge = COCOeval(ground, ground.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    mean, at_50, at_75 = (100 * float(value) for value in judge.stats[:3])
    precision = judge.eval["precision"][..., 0, -1]
    by_class = {}
    for index, label in enumerate(judge.params.catIds):
        known = precision[:, :, index]
        known = known[known > -1]
        name = truth.class_names[label - 1]
        by_class[name] = 100 * float(known.mean()) if known.size else float("nan")
    return AveragePrecision(mean, at_50, at_75, by_class)


def _rows(found: Sequence[Detections], truth: AnnotatedImages) -> np.ndarray[Any, Any]:
    """`n x 7`: image, left, top, width, height (pixels), score, class."""
    parts = []
    for detections, image in zip(found, truth.images, strict=True):
        boxes = detections.boxes.double().cpu().numpy() * np.tile([image.width, image.height], 2)
        boxes[:, 2:] -= boxes[:, :2]
        scores, labels = detections.scores.double().cpu().numpy(), detections.labels.cpu().numpy()
        first = np.full(len(boxes), image.identity)
        parts.append(np.column_stack((first, boxes, scores, labels)))
    return np.concatenate(parts)


def _dataset(truth: AnnotatedImages) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image in truth.images:
        for box, label, area, crowd in zip(
            image.boxes, image.labels, image.areas, image.crowd, strict=True
        ):
            left, top, right, bottom = map(float, box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.identity,
                    "category_id": int(label),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [
            {"id": image.identity, "width": image.width, "height": image.height}
            for image in truth.images
        ],
        "categories": [
            {"id": label, "name": name} for label, name in enumerate(truth.class_names, start=1)
        ],
        "annotations": annotations,
    }
