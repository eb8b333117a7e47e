"""Boxes as offsets from default boxes, and their overlap, in torch (Liu et al., 2016)."""

from functools import lru_cache

import torch
from torch import Tensor

from autosinian.detection.anchors import CENTRE_VARIANCE, SIZE_VARIANCE, default_box_array
from autosinian.detection.layout import Layout


@lru_cache(maxsize=4)
def default_boxes(layout: Layout) -> Tensor:
    """`default_box_array` as a tensor, `boxes x 4`."""
    return torch.from_numpy(default_box_array(layout).copy())


def to_corners(boxes: Tensor) -> Tensor:
    """`... x 4` from centre and size to left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def to_centres(boxes: Tensor) -> Tensor:
    """`... x 4` from left, top, right, bottom to centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def encode(corners: Tensor, defaults: Tensor) -> Tensor:
    """Offsets `... x 4` of boxes `corners` (left, top, right, bottom) from `defaults`."""
    boxes = to_centres(corners)
    centre = (boxes[..., :2] - defaults[..., :2]) / defaults[..., 2:] / CENTRE_VARIANCE
    size = (boxes[..., 2:].clamp_min(1e-6) / defaults[..., 2:]).log() / SIZE_VARIANCE
    return torch.cat((centre, size), dim=-1)


def decode(offsets: Tensor, defaults: Tensor) -> Tensor:
    """Boxes `... x 4` (left, top, right, bottom) of `offsets` from `defaults`."""
    centre = offsets[..., :2] * CENTRE_VARIANCE * defaults[..., 2:] + defaults[..., :2]
    size = (offsets[..., 2:] * SIZE_VARIANCE).exp() * defaults[..., 2:]
    return to_corners(torch.cat((centre, size), dim=-1))


def overlaps(left: Tensor, right: Tensor) -> Tensor:
    """Intersection over union of `... x n x 4` with `... x m x 4` corners, as `... x n x m`."""
    a, b = left.unsqueeze(-2), right.unsqueeze(-3)
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clamp_min(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return common / union.clamp_min(1e-12)
