"""Images as the network takes them: stretched to a square, scaled and centred."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosinian.detection.annotations import AnnotatedImages

MEAN = (0.485, 0.456, 0.406)
"""Means of ImageNet's red, green, blue in parts of 255, as the published network was trained."""

DEVIATION = (0.229, 0.224, 0.225)
"""Standard deviations of the same."""


def square_pixels(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """`3 x side x side` of an image in RGB, stretched (the aspect is not kept), bilinear."""
    stretched = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(stretched, np.uint8).transpose(2, 0, 1))


def normalized(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`... x 3 x s x s` of 0..255 as the network takes it, float32."""
    mean = np.array(MEAN, np.float32).reshape(3, 1, 1)
    deviation = np.array(DEVIATION, np.float32).reshape(3, 1, 1)
    scaled: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    return (scaled - mean) / deviation


def input_batches(
    images: AnnotatedImages, side: int, batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """The images of a split in order, `batch x 3 x side x side` at a time."""
    for start in range(0, len(images.images), batch_size):
        chosen = images.images[start : start + batch_size]
        yield normalized(np.stack([square_pixels(images.pixels(i), side) for i in chosen]))
