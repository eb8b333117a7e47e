"""Detections in numpy: what a worker makes of an engine's output, without torch.

The same rule as `detections`: offsets to boxes, the best candidates of each class, non-maximum
suppression by class, the best of all.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autosinian.detection.anchors import CENTRE_VARIANCE, SIZE_VARIANCE, default_box_array
from autosinian.detection.layout import layout_for
from autosinian.detection.suppression import Suppression

COLUMNS = 6
"""Of a row of detections: left, top, right, bottom (parts of the image), score, class."""


@dataclass(frozen=True)
class Decoder:
    """Detections from rows of a detector of `classes` (with the background) at `image_size`.

    A row is an image's `(4 + classes) x boxes` flattened: offsets, then scores.
    """

    image_size: int
    classes: int
    rule: Suppression = field(default_factory=Suppression)

    @property
    def row_length(self) -> int:
        """Numbers in a row."""
        return (4 + self.classes) * layout_for(self.image_size).boxes

    def decode(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """Detections of one image, `n x 6`, best first."""
        table = row.reshape(4 + self.classes, -1)
        scores = table[5:]
        likely = np.flatnonzero((scores > self.rule.score).any(axis=0))
        boxes = _corners(table[:4, likely], default_box_array(layout_for(self.image_size))[likely])
        found = [
            kept
            for label, of_class in enumerate(scores[:, likely], start=1)
            if len(kept := self._of_class(boxes, of_class, label))
        ]
        if not found:
            return np.empty((0, COLUMNS), np.float32)
        rows = np.concatenate(found)
        best = np.argsort(-rows[:, 4], kind="stable")[: self.rule.kept]
        result: NDArray[np.float32] = rows[best]
        return result

    def _of_class(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], label: int
    ) -> NDArray[np.float32]:
        chosen = np.flatnonzero(scores > self.rule.score)
        order = np.argsort(-scores[chosen], kind="stable")[: self.rule.candidates]
        chosen = chosen[order]
        kept = chosen[_suppress(boxes[chosen], self.rule.overlap)]
        labels = np.full((len(kept), 1), label, np.float32)
        return np.concatenate((boxes[kept], scores[kept, None], labels), axis=1)


def _corners(offsets: NDArray[np.float32], defaults: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes `n x 4` (left, top, right, bottom), within the image, from offsets `4 x n`."""
    centre = offsets[:2].T * np.float32(CENTRE_VARIANCE) * defaults[:, 2:] + defaults[:, :2]
    half = np.exp(offsets[2:].T * np.float32(SIZE_VARIANCE)) * defaults[:, 2:] / 2
    corners: NDArray[np.float32] = np.concatenate((centre - half, centre + half), axis=1)
    return corners.clip(0, 1)


def _suppress(boxes: NDArray[np.float32], overlap: float) -> NDArray[np.int64]:
    """Positions kept of `boxes`, `n x 4`, best first."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = areas[:, None] + areas[None] - common
    covers = common > np.float32(overlap) * union
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if alive[index]:
            alive[index + 1 :] &= ~covers[index, index + 1 :]
    return np.flatnonzero(alive)
