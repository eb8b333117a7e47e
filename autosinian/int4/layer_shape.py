"""The shape of one convolution as its kernel sees it, with its floors in bytes and operations."""

from dataclasses import dataclass, replace

GROUP = 64
"""Channels are padded to a multiple of this in device memory (see `gpu/packing`)."""


def padded(channels: int) -> int:
    """`channels` rounded up to whole groups."""
    return -(-channels // GROUP) * GROUP


@dataclass(frozen=True)
class ResidualShape:
    """What is added to the accumulators before the ReLU: `identity` of the output's size, or a
    downsample convolution (`kernel`, `stride` of input pixels `height x width`).
    """

    kind: str
    height: int
    width: int
    channels: int
    bits: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    weight_bits: int = 4


@dataclass(frozen=True)
class LayerShape:
    """One launch: a convolution, its residual and its requantization, for one image.

    `channels` are input channels padded to whole groups; `kernel` taps (vertical, horizontal);
    `pixel_bytes` is the distance of neighbouring input pixels in memory and `slice_bytes` what one
    tap reads: both `channels * bits / 8`, but for a first convolution on an arranged image (see
    `gpu/image`). `relu_first` is a stem unit's order. `follower` is the 1x1 convolution of 4 bits
    that reads the output next and may be computed in the same launch. Equal shapes take equal time.
    """

    height: int
    width: int
    channels: int
    bits: int
    out_height: int
    out_width: int
    out_channels: int
    out_bits: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    pixel_bytes: int = 0
    slice_bytes: int = 0
    residual: ResidualShape | None = None
    relu_first: bool = False
    weight_bits: int = 4
    follower: "LayerShape | None" = None

    def __post_init__(self) -> None:
        own = self.channels * self.bits // 8
        if not self.pixel_bytes:
            object.__setattr__(self, "pixel_bytes", own)
        if not self.slice_bytes:
            object.__setattr__(self, "slice_bytes", own)

    @property
    def out_pixels(self) -> int:
        """Output pixels of an image."""
        return self.out_height * self.out_width

    @property
    def multiply_adds(self) -> int:
        """Per image, padded channels included, the downsample convolution too."""
        taps = self.kernel[0] * self.kernel[1]
        depth = taps * self.slice_bytes * 8 // self.bits
        branch = self.residual
        if branch is not None and branch.kind == "downsample":
            depth += branch.kernel[0] * branch.kernel[1] * branch.channels
        return self.out_pixels * self.out_channels * depth

    @property
    def activation_bytes(self) -> int:
        """Device memory read and written per image: each input once, the output once."""
        total = self.height * self.width * self.pixel_bytes
        if self.kernel == (1, 1):  # a strided 1x1 convolution reads only some pixels
            total = self.out_pixels * self.pixel_bytes
        total += self.out_pixels * self.out_channels * self.out_bits // 8
        branch = self.residual
        if branch is not None:
            pixels = branch.height * branch.width
            if branch.kind == "identity" or branch.kernel == (1, 1):
                pixels = self.out_pixels
            total += pixels * branch.channels * branch.bits // 8
        return total

    @property
    def weight_bytes(self) -> int:
        """Weights as 8-bit operands, read once a launch."""
        return self.multiply_adds // self.out_pixels

    def shrunk(self, height: int, width: int) -> "LayerShape":
        """The same layer on a map of `height x width` output pixels, for tests on the CPU."""
        stride_y, stride_x = self.stride
        residual, follower = self.residual, self.follower
        if follower is not None:
            follower = follower.shrunk(height, width)
        if residual is not None:
            y, x = residual.stride
            residual = replace(residual, height=height * y, width=width * x)
        grown_y = self.height - self.out_height * stride_y
        grown_x = self.width - self.out_width * stride_x
        return replace(
            self,
            height=height * stride_y + grown_y,
            width=width * stride_x + grown_x,
            out_height=height,
            out_width=width,
            residual=residual,
            follower=follower,
        )

    @property
    def text(self) -> str:
        """Short name for tables, e.g. `56x56 64->256 1x1 +identity`."""
        added = "" if self.residual is None else f" +{self.residual.kind}"
        if self.follower is not None:
            added += f", then {self.follower.out_channels}"
        stride = "" if self.stride == (1, 1) else f"/{self.stride[0]}"
        return (
            f"{self.out_height}x{self.out_width} {self.channels}->{self.out_channels} "
            f"{self.kernel[0]}x{self.kernel[1]}{stride}{added}"
        )
