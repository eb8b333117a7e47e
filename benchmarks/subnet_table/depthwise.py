"""A depthwise convolution in channels-last layout for GPUs, compiled once for all shapes.

cuDNN compiles or searches anew for every shape that it meets, seconds for each subnet while the
subnets are all different; this kernel depends on kernel size and stride alone.
"""

import torch
import triton
import triton.language as tl
from torch.nn import functional

PIXELS, CHANNELS = 32, 64


@triton.jit(  # type: ignore[untyped-decorator]
    do_not_specialize=["total", "height", "width", "out_height", "out_width", "eighths"]
)
def _kernel(  # type: ignore[no-untyped-def]
    x, taps, bias, y, total, height, width, out_height, out_width, eighths,
    size: tl.constexpr, stride: tl.constexpr, relu6: tl.constexpr,
    pixels: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    channels = eighths * 8  # so that the compiler may load and store eight at once
    pixel = tl.program_id(0) * pixels + tl.arange(0, pixels)
    channel = tl.program_id(1) * block + tl.arange(0, block)
    there = channel < channels
    image = pixel // (out_height * out_width)
    place = pixel % (out_height * out_width)
    top = (place // out_width) * stride - size // 2
    left = (place % out_width) * stride - size // 2
    total_of = tl.zeros((pixels, block), dtype=tl.float32)
    for row in range(size):
        for column in tl.static_range(size):
            inside = (
                (pixel < total)
                & (top + row >= 0) & (top + row < height)
                & (left + column >= 0) & (left + column < width)
            )  # fmt: skip
            source = ((image * height + top + row) * width + left + column) * channels
            values = tl.load(
                x + source[:, None] + channel[None, :],
                mask=inside[:, None] & there[None, :],
                other=0.0,
            )
            tap = tl.load(taps + (row * size + column) * channels + channel, mask=there, other=0.0)
            total_of += values.to(tl.float32) * tap.to(tl.float32)[None, :]
    total_of += tl.load(bias + channel, mask=there, other=0.0).to(tl.float32)[None, :]
    if relu6:
        total_of = tl.minimum(tl.maximum(total_of, 0.0), 6.0)
    tl.store(
        y + (pixel * channels)[:, None] + channel[None, :],
        total_of.to(y.dtype.element_ty),
        mask=(pixel < total)[:, None] & there[None, :],
    )


def depthwise(
    x: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor, stride: int, relu6: bool
) -> torch.Tensor:
    """`N x C x H x W` in channels-last layout, padded by half the kernel; so is the result.

    `taps` is `k^2 x C`, row after row of the kernel; `bias` is `C`, a multiple of 8. Sums are in
    float32. Raises `ValueError` for other channels.
    """
    count, channels, height, width = x.shape
    if channels % 8:
        raise ValueError(f"channels must be a multiple of 8, but got {channels}")
    x = x.contiguous(memory_format=torch.channels_last)
    size = round(len(taps) ** 0.5)
    out_height, out_width = -(-height // stride), -(-width // stride)
    y = torch.empty(
        (count, channels, out_height, out_width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    total = count * out_height * out_width
    grid = (triton.cdiv(total, PIXELS), triton.cdiv(channels, CHANNELS))
    _kernel[grid](
        x, taps, bias, y, total, height, width, out_height, out_width, channels // 8,
        size=size, stride=stride, relu6=relu6, pixels=PIXELS, block=CHANNELS,
    )  # fmt: skip
    return y


def check(device: torch.device) -> None:
    """Raise `RuntimeError` where the kernel differs from torch's own convolution on `device`."""
    generator = torch.Generator().manual_seed(0)
    for size in (3, 5, 7):
        for stride in (1, 2):
            x = torch.randn(4, 72, 13, 13, generator=generator)
            weight = torch.randn(72, 1, size, size, generator=generator) / size
            bias = torch.randn(72, generator=generator)
            expected = functional.conv2d(x, weight, bias, stride, size // 2, 1, 72).clamp(0, 6)
            x, taps, bias = (
                t.to(device, torch.float16) for t in (x, weight.flatten(1).t().contiguous(), bias)
            )
            found = depthwise(x, taps, bias, stride, relu6=True).float().cpu()
            worst = float((found - expected).abs().max())
            if not worst < 0.02:
                raise RuntimeError(
                    f"the depthwise kernel must agree with torch to 0.02, but {size} x {size} at "
                    f"stride {stride} is off by {worst}"
                )
