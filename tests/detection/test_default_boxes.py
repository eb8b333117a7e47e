"""Default boxes by hand values, and offsets that come back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autosinian.detection.anchors import default_box_array
from autosinian.detection.default_boxes import decode, default_boxes, encode, overlaps, to_corners
from autosinian.detection.layout import LAYOUTS


def test_the_first_boxes_at_300_pixels_are_those_of_the_paper() -> None:
    boxes = default_box_array(LAYOUTS[300])
    assert boxes.shape == (8732, 4)
    assert boxes[0] == pytest.approx([4 / 300, 4 / 300, 21 / 300, 21 / 300])
    assert boxes[38 * 38] == pytest.approx([4 / 300, 4 / 300, *[(21 * 45) ** 0.5 / 300] * 2])
    wide = boxes[2 * 38 * 38 + 1]
    assert wide == pytest.approx([12 / 300, 4 / 300, 21 * 2**0.5 / 300, 21 / 2**0.5 / 300])
    assert boxes[-4][:2] == pytest.approx([0.5, 0.5])


def test_the_first_boxes_at_1200_pixels_are_those_of_the_published_network() -> None:
    boxes = default_box_array(LAYOUTS[1200])
    assert boxes.shape == (15130, 4)
    assert boxes[0] == pytest.approx([0.01, 0.01, 84 / 1200, 84 / 1200])
    assert boxes[10_000][2:] == pytest.approx([180 / 1200] * 2)
    assert float(np.abs(boxes).max()) <= 1


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1), st.integers()
)
def test_offsets_decode_to_the_box_they_were_made_of(
    left: float, top: float, width: float, height: float, index: int
) -> None:
    defaults = default_boxes(LAYOUTS[300])
    box = torch.tensor([left, top, left + width, top + height])
    default = defaults[index % len(defaults)]
    assert torch.allclose(decode(encode(box, default), default), box, atol=1e-5)


def test_a_box_that_is_a_default_box_has_no_offset() -> None:
    defaults = default_boxes(LAYOUTS[1200])[:50]
    assert torch.allclose(encode(to_corners(defaults), defaults), torch.zeros(50, 4), atol=1e-3)


def test_overlap_is_intersection_over_union() -> None:
    left = torch.tensor([[0.0, 0.0, 0.4, 0.4]])
    right = torch.tensor([[0.2, 0.2, 0.6, 0.6], [0.5, 0.5, 0.6, 0.6], [0.0, 0.0, 0.4, 0.4]])
    assert torch.allclose(overlaps(left, right), torch.tensor([[0.04 / 0.28, 0.0, 1.0]]))
