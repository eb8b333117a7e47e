"""A box must stay around its object, however the image is changed."""

import torch

from autosinian.detection.augmentation import Augmentation, augment
from autosinian.detection.inputs import DEVIATION, MEAN

SIDE = 96


def _view(rule: Augmentation, seed: int, batch: int) -> tuple[torch.Tensor, ...]:
    """A white rectangle on black in each image, with the box around it."""
    pixels = torch.zeros(batch, 3, 120, 120, dtype=torch.uint8)
    pixels[:, :, 36:72, 24:84] = 255
    box = torch.tensor([0.2, 0.3, 0.7, 0.6]).expand(batch, 1, 4)
    boxes = torch.cat((box, torch.zeros(batch, 1, 4)), dim=1)
    labels = torch.tensor([[2, 0]]).expand(batch, 2)
    generator = torch.Generator().manual_seed(seed)
    images, boxes, labels = augment(pixels, boxes, labels, SIDE, rule, generator)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, DEVIATION))
    return images * deviation + mean, boxes, labels


def _bright(image: torch.Tensor) -> torch.Tensor:
    """Left, top, right, bottom of what is bright, in parts of the image."""
    rows, columns = torch.nonzero(image.mean(0) > 0.7, as_tuple=True)
    ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return torch.stack([end.float() for end in ends]) / SIDE


def test_boxes_follow_cut_outs_canvases_and_flips() -> None:
    rule = Augmentation(kept=0.1, vertical_flip=True, brightness=0, contrast=0, saturation=0, hue=0)
    images, boxes, labels = _view(rule, seed=3, batch=64)
    seen = labels[:, 0] > 0
    assert seen.sum() > 32
    assert not labels[:, 1].any()
    for image, box in zip(images[seen], boxes[seen, 0], strict=True):
        assert torch.allclose(_bright(image), box, atol=2.5 / SIDE)


def test_the_whole_image_is_unchanged_where_nothing_is_asked() -> None:
    rule = Augmentation(
        kept=1.0, horizontal_flip=False, brightness=0, contrast=0, saturation=0, hue=0
    )
    images, boxes, _ = _view(rule, seed=0, batch=2)
    assert torch.allclose(boxes[:, 0], torch.tensor([0.2, 0.3, 0.7, 0.6]))
    assert torch.allclose(_bright(images[0]), boxes[0, 0], atol=1.1 / SIDE)


def test_colours_change_between_images_and_grey_keeps_no_hue() -> None:
    rule = Augmentation(kept=1.0, hue=0.3)
    images, _, _ = _view(rule, seed=1, batch=8)
    assert len(set(images.amax(dim=(1, 2, 3)).tolist())) > 4
    inner = images[..., 2:-2, 2:-2]  # the edge is mixed with the mean colour beyond it
    assert torch.allclose(inner[:, 0], inner[:, 2], atol=1e-3)
    assert images.min() >= 0 and images.max() <= 1.0001


def test_equal_seeds_give_equal_views() -> None:
    first, second = (_view(Augmentation(), seed=5, batch=4) for _ in range(2))
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left, right)
