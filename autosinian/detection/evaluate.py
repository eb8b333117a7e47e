"""Detections and average precision of a network over a split."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autosinian.detection.annotations import AnnotatedImages
from autosinian.detection.average_precision import average_precision
from autosinian.detection.default_boxes import default_boxes
from autosinian.detection.detections import Detections, detect
from autosinian.detection.inputs import input_batches
from autosinian.detection.layout import Layout
from autosinian.detection.precision import AveragePrecision
from autosinian.detection.suppression import Suppression

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From `batch x 3 x s x s` to offsets and scores: a network, simulated INT8, an engine."""


def detections_of(
    forward: Forward,
    layout: Layout,
    batches: Iterable[NDArray[np.float32]],
    *,
    device: torch.device | str = "cpu",
    rule: Suppression | None = None,
) -> list[Detections]:
    """Detections of normalized images, in order, on the processor's memory."""
    defaults = default_boxes(layout).to(device)
    found: list[Detections] = []
    with torch.inference_mode():
        for batch in batches:
            offsets, scores = forward(torch.from_numpy(batch).to(device))
            found += detect(offsets, scores, defaults, rule)
    return [Detections(d.boxes.cpu(), d.scores.cpu(), d.labels.cpu()) for d in found]


def evaluate_split(
    forward: Forward,
    layout: Layout,
    images: AnnotatedImages,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    rule: Suppression | None = None,
) -> tuple[AveragePrecision, Sequence[Detections]]:
    """Average precision and detections of a network over a split, in evaluation mode."""
    batches = input_batches(images, layout.image_size, batch_size)
    found = detections_of(forward, layout, batches, device=device, rule=rule)
    return average_precision(found, images), found
