"""The rule that turns an image into a network's input, as data."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosinian.errors import InputError

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
DTYPES = ("float32", "int8")
LAYOUTS = ("NCHW", "chw4")
LARGEST_INT8 = 127
MAX_RESOLUTION = 4096

InputArray = NDArray[np.float32] | NDArray[np.int8]


def imagenet_short_side(resolution: int) -> int:
    """The short side before a centre crop of `resolution`: `ceil(resolution / 0.875)`.

    224 -> 256 as is usual for ImageNet, 176 -> 202 as in Alibaba's MLPerf v1.0 submission.
    """
    return -(-8 * resolution // 7)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, normalise, and quantize where `dtype` is int8.

    `resize` is the short side in pixels before a centre crop to `resolution` x `resolution`; None
    resizes directly to that square, whatever the image's shape. A pixel becomes
    `(pixel / 255 - mean) / std` in float32; for int8 that is divided by `scale`, rounded half to
    even and clipped to -127..127. `layout` is `NCHW` (`3 x r x r` a sample) or, for int8 only,
    `chw4` (`r x r x 4` a sample, the fourth channel 0).
    """

    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: int | None = None
    interpolation: str = "bilinear"
    dtype: str = "float32"
    layout: str = "NCHW"
    scale: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.resolution <= MAX_RESOLUTION:
            raise InputError(f"resolution must be 1..{MAX_RESOLUTION}, but got {self.resolution}")
        if self.resize is not None and not self.resolution <= self.resize <= 2 * MAX_RESOLUTION:
            raise InputError(
                f"resize must be at least the resolution {self.resolution} and at most "
                f"{2 * MAX_RESOLUTION}, but got {self.resize}"
            )
        for what, value, allowed in (
            ("interpolation", self.interpolation, tuple(INTERPOLATIONS)),
            ("dtype", self.dtype, DTYPES),
            ("layout", self.layout, LAYOUTS),
        ):
            if value not in allowed:
                raise InputError(f"{what} must be one of {', '.join(allowed)}, but got `{value}`")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise InputError(
                f"mean and std must have 3 values each, but got {self.mean} and {self.std}"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()) or min(self.std) <= 0:
            raise InputError(
                f"mean must be finite and std above 0, but got {self.mean} and {self.std}"
            )
        if self.dtype == "int8":
            if self.scale is None or not 0 < self.scale < float("inf"):
                raise InputError(f"int8 needs a scale above 0, but got {self.scale}")
        elif self.scale is not None or self.layout != "NCHW":
            raise InputError(
                f"scale and chw4 are for int8 only, but got dtype {self.dtype}, "
                f"layout {self.layout}, scale {self.scale}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one sample's array."""
        r = self.resolution
        return (r, r, 4) if self.layout == "chw4" else (3, r, r)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Type of the array's elements."""
        return np.dtype(self.dtype)

    def rule(self) -> dict[str, Any]:
        """The rule as plain data, JSON-ready."""
        rule = asdict(self)
        rule["mean"], rule["std"] = list(self.mean), list(self.std)
        return rule

    @classmethod
    def from_rule(cls, rule: dict[str, Any]) -> "Preprocessing":
        """Inverse of `rule`."""
        return cls(**{**rule, "mean": tuple(rule["mean"]), "std": tuple(rule["std"])})

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image to `r x r x 3`, before normalisation."""
        r = self.resolution
        filter_ = INTERPOLATIONS[self.interpolation]
        if self.resize is None:
            return np.asarray(image.resize((r, r), filter_))
        width, height = image.size
        short = min(width, height)
        # Truncated long side and rounded corner as torchvision's Resize and CenterCrop do.
        size = (self.resize * width // short, self.resize * height // short)
        left, top = round((size[0] - r) / 2), round((size[1] - r) / 2)
        resized = image if size == image.size else image.resize(size, filter_)
        return np.asarray(resized.crop((left, top, left + r, top + r)))

    def apply(self, image: Image.Image) -> InputArray:
        """One sample's array, of `shape` and `numpy_dtype`, from an RGB image."""
        pixels = self.crop(image)
        output = np.zeros(self.shape, self.numpy_dtype)
        for channel in range(3):
            values = self._table[channel][pixels[:, :, channel]]
            if self.layout == "chw4":
                output[:, :, channel] = values
            else:
                output[channel] = values
        return output

    @cached_property
    def _table(self) -> InputArray:
        """`3 x 256`: what each value of a pixel becomes, per channel."""
        pixels = np.arange(256, dtype=np.float32) / np.float32(255)
        mean = np.array(self.mean, np.float32)[:, None]
        std = np.array(self.std, np.float32)[:, None]
        normalised: NDArray[np.float32] = (pixels - mean) / std
        if self.scale is None:
            return normalised
        steps = np.rint(normalised / np.float32(self.scale))
        clipped: NDArray[np.int8] = np.clip(steps, -LARGEST_INT8, LARGEST_INT8).astype(np.int8)
        return clipped
