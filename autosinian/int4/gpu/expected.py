"""What a layer must give, computed with torch in float64: exact below 2^53, and no kernel of ours.

Serves to prove every configuration on the GPU it will run on.
"""

import torch

from autosinian.engine.torch_lane import as_tensor
from autosinian.int4.gpu.image import Arrangement, first_weights
from autosinian.int4.gpu.packing import channel_order
from autosinian.int4.gpu.plan import Layer
from autosinian.int4.layer_shape import padded
from autosinian.int4.network import ACTIVATION_RANGES, Conv, Downsample, Quantize


def unpacked(packed: torch.Tensor, channels: int, bits: int) -> torch.Tensor:
    """Flat uint8 to float64 `pixels x channels` (signed bytes for 8 bits)."""
    if bits == 8:
        return packed.view(torch.int8).reshape(-1, channels).double()
    rows = packed.reshape(-1, channels // 2)
    low, high = (torch.from_numpy(order).to(packed.device) for order in channel_order(channels))
    values = torch.empty(len(rows), channels, dtype=torch.float64, device=packed.device)
    values[:, low] = (rows & 15).double()
    values[:, high] = (rows >> 4).double()
    return values


def expected(
    layer: Layer,
    arranged: Arrangement,
    source: torch.Tensor,
    added: torch.Tensor | None,
    images: int,
) -> torch.Tensor:
    """The layer's output, int64 `pixels x channels` (padded), from flat packed inputs."""
    shape = layer.shape
    if shape.pixel_bytes != shape.slice_bytes:
        total = _first(layer, arranged, source, images)
    else:
        total = _convolved(
            layer.conv, _maps(source, shape.height, shape.width, shape.channels, shape.bits, images)
        )
    if shape.relu_first:
        total = total.clamp(min=0)
    branch, residual = shape.residual, layer.residual
    if branch is not None and residual is not None and added is not None:
        carried = _maps(added, branch.height, branch.width, branch.channels, branch.bits, images)
        if isinstance(residual, Downsample):
            step = _rescaled(residual.to_s8, _convolved(residual.conv, carried))
            total = total + _rescaled(residual.to_s32, step)
        else:
            total = total + _rescaled(residual, carried[:, : total.shape[1]].long())
    out = _rescaled(layer.quantize, total.clamp(min=0))
    rows = out.permute(0, 2, 3, 1).reshape(-1, out.shape[1])
    wide = torch.zeros(len(rows), shape.out_channels, dtype=torch.int64, device=rows.device)
    wide[:, : rows.shape[1]] = rows
    return wide


def _maps(
    packed: torch.Tensor, height: int, width: int, channels: int, bits: int, images: int
) -> torch.Tensor:
    size = images * height * width * channels * bits // 8
    values = unpacked(packed[:size], channels, bits)
    return values.reshape(images, height, width, channels).permute(0, 3, 1, 2)


def _convolved(conv: Conv, x: torch.Tensor) -> torch.Tensor:
    weight = torch.zeros(
        conv.out_channels, x.shape[1], *conv.kernel_size, dtype=torch.float64, device=x.device
    )
    weight[:, : conv.in_channels] = as_tensor(conv.weight).to(x.device).double()
    out = torch.nn.functional.conv2d(x, weight, stride=conv.stride, padding=conv.padding)
    bias = as_tensor(conv.bias).to(x.device).long()
    return out.round().long() + bias[None, :, None, None]


def _first(layer: Layer, arranged: Arrangement, source: torch.Tensor, images: int) -> torch.Tensor:
    shape = layer.shape
    size = images * arranged.image_bytes()
    x = source[:size].view(torch.int8).double()
    x = x.reshape(images, arranged.rows, arranged.columns, -1).permute(0, 3, 1, 2)
    flat = first_weights(layer.conv, arranged)[: layer.conv.out_channels]
    weight = as_tensor(flat).to(x.device).double()
    weight = weight.reshape(len(flat), arranged.taps_y, -1, x.shape[1]).permute(0, 3, 1, 2)
    x = torch.nn.functional.pad(x, (0, weight.shape[3] - arranged.taps_x))
    out = torch.nn.functional.conv2d(x, weight)[:, :, : shape.out_height, : shape.out_width]
    bias = as_tensor(layer.conv.bias).to(x.device).long()
    return out.round().long() + bias[None, :, None, None]


def _rescaled(quantize: Quantize, x: torch.Tensor) -> torch.Tensor:
    half = (1 << quantize.shift) >> 1
    factor = as_tensor(quantize.factor).to(x.device).long()[None, :, None, None]
    out = x.sign() * ((x.abs() * factor + half) >> quantize.shift)
    low, high = ACTIVATION_RANGES.get(quantize.output_type, (-(2**31), 2**31 - 1))
    return out.clamp(low, high)


def same(layer: Layer, got: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether a layer's flat packed output holds exactly `wanted` (see `expected`)."""
    values = unpacked(got, padded(layer.conv.out_channels), layer.shape.out_bits)
    return bool(torch.equal(values.long(), wanted))
