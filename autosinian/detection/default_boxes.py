"""Default boxes of a layout, and the offsets by which boxes are told relative to them (Liu et al.,
"SSD: Single Shot MultiBox Detector", 2016)."""

from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

from autosinian.detection.layout import BOX_SHAPES, BOX_SIZES, Layout

CENTRE_VARIANCE = 0.1
"""Offsets of a centre are in tenths of the default box's side."""

SIZE_VARIANCE = 0.2
"""Offsets of a side are in fifths of the logarithm of the sides' ratio."""


@lru_cache(maxsize=4)
def default_boxes(layout: Layout) -> Tensor:
    """All default boxes, `boxes x 4` (x, y of the centre, width, height; parts of the image).

    They are in the order of the network's outputs: feature map, box shape, row, column.
    """
    found = []
    for index, (side, cells) in enumerate(zip(layout.grids, layout.cells, strict=True)):
        # Whole pixels, as the published boxes have them (1200: 84, 180, ...; 300: 21, 45, ...).
        small, large = (
            int(part * layout.image_size + 1e-6) / layout.image_size
            for part in BOX_SIZES[index : index + 2]
        )
        shapes = [(small, small), (sqrt(small * large), sqrt(small * large))]
        for ratio in BOX_SHAPES[index]:
            long, short = small * sqrt(ratio), small / sqrt(ratio)
            shapes += [(long, short), (short, long)]
        for width, height in shapes:
            for row in range(side):
                for column in range(side):
                    found.append(((column + 0.5) / cells, (row + 0.5) / cells, width, height))
    return torch.tensor(found, dtype=torch.float64).clamp(0, 1).float()


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
