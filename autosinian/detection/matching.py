"""Which default box learns which true box, and the loss of SSD (Liu et al., 2016, section 2.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from autosinian.detection.default_boxes import encode, overlaps, to_corners

MATCH_OVERLAP = 0.5
"""A default box learns a true box that it overlaps this much."""

NEGATIVES_PER_POSITIVE = 3
"""Background boxes that count in the loss, those of the highest loss, for each matched one."""


def match(boxes: Tensor, labels: Tensor, defaults: Tensor) -> tuple[Tensor, Tensor]:
    """Targets of a batch.

    `boxes` is `batch x n x 4` (corners, parts of the image) and `labels` `batch x n`, 0 where a
    row is padding. Gives offsets `batch x boxes x 4` and classes `batch x boxes` (0: background).
    Each true box gets the default box it overlaps most, whatever the overlap.
    """
    overlap = overlaps(boxes, to_corners(defaults)).masked_fill((labels == 0).unsqueeze(-1), -1.0)
    best, owner = overlap.max(dim=1)
    favourite = overlap.argmax(dim=2)
    index = torch.arange(boxes.shape[1], device=boxes.device).expand_as(favourite)
    # A scatter with padding rows sent to a spare last column, so that they own nothing.
    spare = defaults.shape[0]
    favourite = favourite.masked_fill(labels == 0, spare)
    forced = owner.new_full((boxes.shape[0], spare + 1), -1)
    forced.scatter_(1, favourite, index)
    forced = forced[:, :spare]
    owner = torch.where(forced >= 0, forced, owner)
    matched = (forced >= 0) | (best >= MATCH_OVERLAP)
    targets = encode(boxes.gather(1, owner.unsqueeze(-1).expand(-1, -1, 4)), defaults.unsqueeze(0))
    classes = labels.gather(1, owner) * matched
    return targets, classes


def detection_loss(
    offsets: Tensor, logits: Tensor, targets: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """The box loss (smooth L1) and the class loss (cross entropy, hardest negatives), scalars.

    `offsets` `batch x 4 x boxes` and `logits` `batch x classes x boxes` are the network's,
    `targets` and `classes` are of `match`. Both are sums over the batch for each matched box.
    """
    positive = classes > 0
    matched = positive.sum(dim=1)
    total = matched.sum().clamp_min(1)
    distance = F.smooth_l1_loss(offsets.transpose(1, 2), targets, reduction="none").sum(-1)
    box_loss = (distance * positive).sum() / total
    entropy = F.cross_entropy(logits, classes, reduction="none")
    negative = entropy.detach().masked_fill(positive, -1.0)
    rank = negative.argsort(dim=1, descending=True).argsort(dim=1)
    wanted = (NEGATIVES_PER_POSITIVE * matched).clamp(max=classes.shape[1]).unsqueeze(1)
    counted = positive | ((rank < wanted) & ~positive)
    class_loss = (entropy * counted).sum() / total
    return box_loss, class_loss
