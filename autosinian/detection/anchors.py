"""Default boxes of a layout (Liu et al., "SSD: Single Shot MultiBox Detector", 2016), in numpy."""

from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from autosinian.detection.layout import BOX_SHAPES, BOX_SIZES, Layout

CENTRE_VARIANCE = 0.1
"""Offsets of a centre are in tenths of the default box's side."""

SIZE_VARIANCE = 0.2
"""Offsets of a side are in fifths of the logarithm of the sides' ratio."""


@lru_cache(maxsize=4)
def default_box_array(layout: Layout) -> NDArray[np.float32]:
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
        middle = sqrt(small * large)
        shapes = [(small, small), (middle, middle)]
        for ratio in BOX_SHAPES[index]:
            long, short = small * sqrt(ratio), small / sqrt(ratio)
            shapes += [(long, short), (short, long)]
        centres = (np.arange(side) + 0.5) / cells
        y, x = np.meshgrid(centres, centres, indexing="ij")
        for width, height in shapes:
            sides = np.broadcast_to([width, height], (side * side, 2))
            found.append(np.column_stack((x.ravel(), y.ravel(), sides)))
    boxes: NDArray[np.float32] = np.concatenate(found).clip(0, 1).astype(np.float32)
    boxes.flags.writeable = False
    return boxes
