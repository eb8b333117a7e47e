"""Which default box learns what, and the loss by hand."""

import math

import torch

from autosinian.detection.default_boxes import default_boxes, encode, overlaps, to_corners
from autosinian.detection.layout import LAYOUTS
from autosinian.detection.matching import detection_loss, match

DEFAULTS = default_boxes(LAYOUTS[300])


def test_every_true_box_gets_the_default_box_it_overlaps_most() -> None:
    tiny = torch.tensor([[[0.50, 0.50, 0.51, 0.51], [0.1, 0.1, 0.4, 0.4], [0.0, 0.0, 0.0, 0.0]]])
    targets, classes = match(tiny, torch.tensor([[2, 1, 0]]), DEFAULTS)
    overlap = overlaps(tiny[0], to_corners(DEFAULTS))
    favourite = int(overlap[0].argmax())
    assert overlap[0, favourite] < 0.5
    assert classes[0, favourite] == 2
    assert torch.allclose(targets[0, favourite], encode(tiny[0, 0], DEFAULTS[favourite]))
    above = overlap[1] >= 0.5
    assert above.sum() > 1
    assert (classes[0][above] == 1).all()
    assert (classes[0] > 0).sum() == above.sum() + 1


def test_an_image_without_boxes_is_background() -> None:
    _, classes = match(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64), DEFAULTS)
    assert not classes.any()


def test_the_loss_counts_matched_boxes_and_three_negatives_each() -> None:
    classes = torch.tensor([[1, 0, 0, 0, 0, 0]])
    logits = torch.zeros(1, 2, 6)
    logits[0, 0, 4] = 50.0  # sure of the background: the first to be left out
    logits[0, 1, 5] = 10.0  # sure of an object that is not there
    offsets, targets = torch.zeros(1, 4, 6), torch.zeros(1, 6, 4)
    targets[0, 0] = torch.tensor([0.5, 0.0, 2.0, 0.0])
    targets[0, 3] = 100.0  # not matched, so not counted
    boxes, scores = detection_loss(offsets, logits, targets, classes)
    assert math.isclose(float(boxes), 0.5 * 0.5**2 + (2.0 - 0.5), rel_tol=1e-6)
    negatives = 10.0 + math.log1p(math.exp(-10.0)) + 2 * math.log(2)
    assert math.isclose(float(scores), math.log(2) + negatives, rel_tol=1e-5)


def test_the_loss_of_a_batch_without_boxes_is_zero_and_has_a_gradient() -> None:
    logits = torch.zeros(1, 2, 6, requires_grad=True)
    classes = torch.zeros(1, 6, dtype=torch.int64)
    boxes, scores = detection_loss(torch.zeros(1, 4, 6), logits, torch.zeros(1, 6, 4), classes)
    (boxes + scores).backward()  # type: ignore[no-untyped-call]
    assert float(scores.detach()) == 0.0
