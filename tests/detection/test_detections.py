"""Suppression by hand, and the worker's decoding equal to torchvision's."""

import numpy as np
import torch

from autosinian.detection.decoded import Decoder
from autosinian.detection.default_boxes import default_boxes, encode
from autosinian.detection.detections import detect
from autosinian.detection.layout import LAYOUTS
from autosinian.detection.suppression import Suppression

LAYOUT = LAYOUTS[300]
DEFAULTS = default_boxes(LAYOUT)


def _outputs(found: list[tuple[int, list[float], int, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Offsets and scores with the given (place, box, class, score) and background else."""
    offsets, scores = torch.zeros(1, 4, 8732), torch.zeros(1, 4, 8732)
    scores[0, 0] = 1.0
    for place, box, label, score in found:
        offsets[0, :, place] = encode(torch.tensor(box), DEFAULTS[place])
        scores[0, label, place] = score
    return offsets, scores


def test_a_worse_box_of_the_same_class_is_suppressed_and_of_another_kept() -> None:
    box, shifted = [0.2, 0.2, 0.6, 0.6], [0.22, 0.2, 0.62, 0.6]
    outputs = _outputs(
        [(5, box, 1, 0.9), (9, shifted, 1, 0.8), (7, shifted, 2, 0.7), (3, box, 3, 0.04)]
    )
    (found,) = detect(*outputs, DEFAULTS)
    assert found.labels.tolist() == [1, 2]
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.7]))
    assert torch.allclose(found.boxes, torch.tensor([box, shifted]), atol=1e-4)


def test_boxes_end_at_the_image() -> None:
    outputs = _outputs([(0, [-0.2, 0.3, 0.5, 1.4], 2, 0.6)])
    (found,) = detect(*outputs, DEFAULTS)
    assert torch.allclose(found.boxes, torch.tensor([[0.0, 0.3, 0.5, 1.0]]), atol=1e-4)


def test_decoding_without_torch_gives_the_same_detections() -> None:
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(3, 4, 8732, generator=generator)
    logits = 2.5 * torch.randn(3, 4, 8732, generator=generator)
    logits[:, 0] += 3
    scores = logits.softmax(1)
    rule = Suppression(candidates=150, kept=120)
    rows = torch.cat((offsets, scores), 1).flatten(1).numpy()
    decoder = Decoder(300, 4, rule)
    assert rows.shape[1] == decoder.row_length
    for row, expected in zip(rows, detect(offsets, scores, DEFAULTS, rule), strict=True):
        found = decoder.decode(row)
        assert len(found) == len(expected.boxes) == 120
        assert np.allclose(found[:, :4], expected.boxes.numpy(), atol=1e-5)
        assert np.array_equal(found[:, 4], expected.scores.numpy())
        assert np.array_equal(found[:, 5], expected.labels.numpy())


def test_nothing_likely_gives_no_detections() -> None:
    offsets, scores = _outputs([])
    row = torch.cat((offsets, scores), 1).flatten().numpy()
    assert Decoder(300, 4).decode(row).shape == (0, 6)
    assert len(detect(offsets, scores, DEFAULTS)[0].boxes) == 0
