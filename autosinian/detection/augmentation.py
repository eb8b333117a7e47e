"""Augmentation of a batch on its device: crops, zooms, flips, colour (Liu et al., 2016, 2.2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from autosinian.detection.inputs import DEVIATION, MEAN

CROP_TRIES = 32


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed.

    `zoom_out` is the largest side of the canvas an image is laid on, in images; `crop` the
    smallest side of a cut-out, in images; `aspect` the largest ratio of a cut-out's sides to the
    image's; `kept` the chance that the whole image is taken, `zoom_share` that of a canvas among
    the others; colour factors are drawn from
    `1 - c .. 1 + c`, hue in turns.
    """

    zoom_out: float = 1.6
    crop: float = 0.4
    aspect: float = 2.0
    kept: float = 0.3
    zoom_share: float = 0.4
    horizontal_flip: bool = True
    vertical_flip: bool = False
    brightness: float = 0.3
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.04


def augment(
    pixels: Tensor,
    boxes: Tensor,
    labels: Tensor,
    side: int,
    rule: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random views of a batch, normalized.

    `pixels` is uint8 `batch x 3 x h x w`, `boxes` `batch x n x 4` (corners, parts of the image)
    and `labels` `batch x n` (0: padding). Gives float32 `batch x 3 x side x side`, and boxes and
    labels in the view; a box whose centre is outside the view becomes padding.
    """
    window = _windows(boxes, labels, rule, generator)
    flips = torch.rand(2, len(pixels), generator=generator, device=pixels.device) < 0.5
    flips &= torch.tensor([[rule.horizontal_flip], [rule.vertical_flip]], device=pixels.device)
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=pixels.device).view(3, 1, 1)
    # Outside the image is the mean colour: 0 once it is taken off, which grid_sample pads with.
    centred = pixels.float().div_(255) - mean
    # Twice as fine, then averaged: a view larger than the image would alias otherwise.
    images = F.avg_pool2d(_view(centred, window, flips, 2 * side), 2)
    images = _coloured(images + mean, rule, generator)
    boxes, labels = _seen(boxes, labels, window, flips)
    return (images - mean) / deviation, boxes, labels


def _uniform(generator: torch.Generator, *size: int) -> Tensor:
    return torch.rand(*size, generator=generator, device=generator.device)


def _windows(
    boxes: Tensor, labels: Tensor, rule: Augmentation, generator: torch.Generator
) -> Tensor:
    """One window for each image, `batch x 4` (corners in parts of the image, may lie outside).

    A cut-out must hold at least one box to a drawn share of its area, where a try does.
    """
    batch = len(boxes)
    scale = rule.crop + (1 - rule.crop) * _uniform(generator, batch, CROP_TRIES, 1)
    log_aspect = torch.log(torch.tensor(rule.aspect))
    stretch = ((_uniform(generator, batch, CROP_TRIES, 1) - 0.5) * log_aspect).exp()
    size = torch.cat((scale * stretch, scale / stretch), dim=2).clamp(max=1.0)
    low = _uniform(generator, batch, CROP_TRIES, 2) * (1 - size)
    tries = torch.cat((low, low + size), dim=2)

    a, b = tries.unsqueeze(2), boxes.unsqueeze(1)
    common = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    area = (b[..., 2:] - b[..., :2]).prod(-1).clamp_min(1e-9)
    covered = common.clamp_min(0).prod(-1) / area * (labels > 0).unsqueeze(1)
    wanted = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], device=boxes.device)
    drawn = wanted[(_uniform(generator, batch, 1) * 5).long().clamp(max=4)]
    good = covered.amax(2) >= drawn
    cut = tries[torch.arange(batch, device=boxes.device), good.float().argmax(1)]

    whole = torch.tensor([0.0, 0.0, 1.0, 1.0], device=boxes.device).expand(batch, 4)
    zoom = 1 + (rule.zoom_out - 1) * _uniform(generator, batch, 1)
    corner = -_uniform(generator, batch, 2) * (zoom - 1)
    wide = torch.cat((corner, corner + zoom), dim=1)

    choice = _uniform(generator, batch, 1)
    window = torch.where(good.any(1, keepdim=True), cut, whole)
    window = torch.where(choice < rule.kept + (1 - rule.kept) * rule.zoom_share, wide, window)
    return torch.where(choice < rule.kept, whole, window)


def _view(images: Tensor, window: Tensor, flips: Tensor, side: int) -> Tensor:
    """`batch x 3 x side x side`: what each window shows."""
    size = window[:, 2:] - window[:, :2]
    middle = window[:, :2] + window[:, 2:] - 1
    sign = 1 - 2 * flips.float()
    zero = torch.zeros_like(size[:, 0])
    theta = torch.stack(
        (
            torch.stack((size[:, 0] * sign[0], zero, middle[:, 0]), dim=1),
            torch.stack((zero, size[:, 1] * sign[1], middle[:, 1]), dim=1),
        ),
        dim=1,
    )
    grid = F.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _seen(boxes: Tensor, labels: Tensor, window: Tensor, flips: Tensor) -> tuple[Tensor, Tensor]:
    low, size = window[:, None, :2], (window[:, 2:] - window[:, :2]).unsqueeze(1)
    corners = torch.cat(((boxes[..., :2] - low) / size, (boxes[..., 2:] - low) / size), dim=-1)
    for axis in (0, 1):
        flip = flips[axis].view(-1, 1)
        begin, end = corners[..., axis].clone(), corners[..., axis + 2].clone()
        corners[..., axis] = torch.where(flip, 1 - end, begin)
        corners[..., axis + 2] = torch.where(flip, 1 - begin, end)
    centre = (corners[..., :2] + corners[..., 2:]) / 2
    inside = ((centre > 0) & (centre < 1)).all(-1)
    return corners.clamp(0, 1), labels * inside


def _coloured(images: Tensor, rule: Augmentation, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, each drawn for each image; values stay 0..1."""

    def factor(strength: float) -> Tensor:
        return 1 + strength * (2 * _uniform(generator, len(images), 1, 1, 1) - 1)

    grey_weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(3, 1, 1)
    images = images * factor(rule.brightness)
    average = images.mean(dim=(1, 2, 3), keepdim=True)
    images = average + (images - average) * factor(rule.contrast)
    grey = (images * grey_weights).sum(1, keepdim=True)
    images = grey + (images - grey) * factor(rule.saturation)
    # Hue turns the colours about the grey axis: Rodrigues' formula about (1, 1, 1) / sqrt(3).
    angle = (factor(rule.hue) - 1).view(-1) * 2 * torch.pi
    cosine, third = angle.cos(), (1 - angle.cos()) / 3
    sine = angle.sin() / 3**0.5
    rows = torch.stack((cosine + third, third - sine, third + sine), dim=1)
    turn = torch.stack([rows.roll(shift, dims=1) for shift in range(3)], dim=1)
    batch, _, height, width = images.shape
    return torch.bmm(turn, images.flatten(2)).view(batch, 3, height, width).clamp(0, 1)
