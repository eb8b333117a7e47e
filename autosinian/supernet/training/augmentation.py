"""Augmentation of uint8 images on the device that trains, at native size, then enlarged."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed; all lengths are parts of the image side.

    A random flip, shift, and (with probability `affine`) rotation in degrees, scale and shear;
    brightness and contrast by up to `colour`; a square of side `erase` set to the mean.
    """

    flip: bool = True
    shift: float = 0.125
    affine: float = 0.5
    rotate: float = 15.0
    scale: float = 0.15
    shear: float = 0.15
    colour: float = 0.25
    erase: float = 0.3


def normalise(
    images: torch.Tensor, resolution: int, mean: torch.Tensor, std: torch.Tensor
) -> torch.Tensor:
    """uint8 or [0, 255] float `n x c x h x w` to normalised float `n x 3 x r x r` (bilinear)."""
    x = images.float().div(255)
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if x.shape[-1] != resolution:
        x = F.interpolate(
            x, size=(resolution, resolution), mode="bilinear", align_corners=False, antialias=True
        )
    return (x - mean) / std


def augment(images: torch.Tensor, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Change uint8 `n x c x h x w` images at random; gives float32, [0, 255], same shape."""
    n, _, side, _ = images.shape
    device = images.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape or (n,), generator=generator, device=device) * (high - low) + low

    changed = (uniform(0, 1) < how.affine).float()
    angle = changed * uniform(-how.rotate, how.rotate) * (torch.pi / 180)
    scale = 1 + changed * uniform(-how.scale, how.scale)
    shear = changed * uniform(-how.shear, how.shear)
    # Whole pixels: a fractional shift would blur every image.
    pixels = round(how.shift * side)
    shift = (uniform(-pixels - 0.5, pixels + 0.5, n, 2).round() * 2 / side).clamp(-1, 1)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if how.flip else torch.ones_like(angle)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = torch.stack(
        [
            torch.stack([mirror * cosine, -sine + shear, shift[:, 0]], 1),
            torch.stack([mirror * sine, cosine, shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    x = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    if how.colour > 0:
        contrast = uniform(1 - how.colour, 1 + how.colour).view(-1, 1, 1, 1)
        brightness = uniform(-how.colour, how.colour).view(-1, 1, 1, 1) * 128
        centre = x.mean((1, 2, 3), keepdim=True)
        x = ((x - centre) * contrast + centre + brightness).clamp(0, 255)
    if how.erase > 0:
        half = how.erase * side / 2
        middle = uniform(0, side, n, 2)
        line = torch.arange(side, device=device) + 0.5
        rows = (line[None] - middle[:, :1]).abs() < half
        columns = (line[None] - middle[:, 1:]).abs() < half
        hole = (rows[:, None, :, None] & columns[:, None, None, :]).expand_as(x)
        x = torch.where(hole, x.mean((2, 3), keepdim=True), x)
    return x
