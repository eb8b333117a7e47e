"""From a network's outputs to detections: decoding and non-maximum suppression by class."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from autosinian.detection.default_boxes import decode
from autosinian.detection.suppression import Suppression


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first: `boxes` `n x 4` (left, top, right, bottom; parts of
    the image), `scores` `n` and `labels` `n` (from 1)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def detect(
    offsets: Tensor, scores: Tensor, defaults: Tensor, rule: Suppression | None = None
) -> list[Detections]:
    """Detections of a batch from offsets `batch x 4 x boxes` and scores `batch x classes x boxes`.

    `defaults` is `boxes x 4` of `default_boxes`.
    """
    rule = rule or Suppression()
    corners = decode(offsets.float().transpose(1, 2), defaults.to(offsets.device)).clamp(0, 1)
    return [
        _detect_one(boxes, image, rule)
        for boxes, image in zip(corners, scores.float(), strict=True)
    ]


def _detect_one(boxes: Tensor, scores: Tensor, rule: Suppression) -> Detections:
    objects = scores[1:]
    best, index = objects.topk(min(rule.candidates, objects.shape[1]), dim=1)
    labels = torch.arange(1, scores.shape[0], device=scores.device).unsqueeze(1).expand_as(index)
    likely = best > rule.score
    best, index, labels = best[likely], index[likely], labels[likely]
    chosen = boxes[index]
    kept = batched_nms(chosen, best, labels, rule.overlap)[: rule.kept]
    return Detections(chosen[kept], best[kept], labels[kept])
