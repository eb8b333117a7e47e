"""A layer's weights and requantization on the device, prepared once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.engine.torch_lane import as_tensor
from autosinian.int4.gpu.image import Arrangement, first_weights
from autosinian.int4.gpu.packing import arrange_weights, pack_weights, pad_channels
from autosinian.int4.gpu.plan import IMAGE, Layer
from autosinian.int4.layer_shape import padded
from autosinian.int4.network import Conv, Downsample, Quantize


@dataclass(frozen=True, eq=False)
class PreparedConv:
    """Weights `K x taps x planes x bytes` (int8), the same packed (None for 8-bit), bias `K`."""

    weight: torch.Tensor
    packed_weight: torch.Tensor | None
    bias: torch.Tensor


@dataclass(frozen=True, eq=False)
class PreparedLayer:
    """What a launch of `layer` needs besides activations.

    `scale` is the float32 next above `factor / 2^shift` (see `gpu/epilogue`), 0 where it is 0.
    `branch_scale`: of a downsample's `to_s8`; of an identity residual `factor / 2 / 16^k`, k the
    place of the channel's nibble in its word, less 3 beyond 4. `branch_scale2`: of `to_s32`.
    """

    layer: Layer
    conv: PreparedConv
    factor: torch.Tensor
    scale: torch.Tensor
    branch: PreparedConv | None
    branch_factor: torch.Tensor | None
    branch_factor2: torch.Tensor | None
    branch_scale: torch.Tensor | None
    branch_scale2: torch.Tensor | None


def prepare(layer: Layer, arranged: Arrangement | None, device: torch.device) -> PreparedLayer:
    """Lay out and upload a layer's weights; `arranged` is for one that reads images."""
    if (
        arranged is not None
        and layer.reads == IMAGE
        and layer.shape.pixel_bytes != layer.shape.slice_bytes
    ):
        weight = first_weights(layer.conv, arranged)
    else:
        weight = arrange_weights(layer.conv.weight, layer.shape.bits)
    residual = layer.residual
    branch = factor = factor2 = scale = scale2 = None
    if isinstance(residual, Downsample):
        bits = 4 if residual.conv.input_type == "u4" else 8
        branch = _conv(residual.conv, arrange_weights(residual.conv.weight, bits), bits, device)
        factor = _vector(residual.to_s8.factor, device)
        factor2 = _vector(residual.to_s32.factor, device)
        scale = on_device(scales(residual.to_s8), device)
        scale2 = on_device(scales(residual.to_s32), device)
    elif residual is not None:
        factor = _vector(residual.factor, device)
        scale = on_device(nibble_scales(residual), device)
    return PreparedLayer(
        layer,
        _conv(layer.conv, weight, layer.shape.bits, device),
        _vector(layer.quantize.factor, device),
        on_device(scales(layer.quantize), device),
        branch,
        factor,
        factor2,
        scale,
        scale2,
    )


def scales(quantize: Quantize) -> NDArray[np.float32]:
    """The float32 next above `factor / 2^shift` for each channel, itself where there is no tie."""
    exact = (pad_channels(quantize.factor) / 2.0**quantize.shift).astype(np.float32)
    above = np.nextafter(exact, np.float32(np.inf))
    return np.where((exact > 0) & (quantize.shift > 0), above, exact)


def nibble_scales(quantize: Quantize) -> NDArray[np.float32]:
    """`factor / 2 / 16^k` for each channel: exact in float32."""
    nibble = np.arange(padded(len(quantize.factor))) // 8 % 8
    place = np.where(nibble > 4, nibble - 3, nibble)
    return (pad_channels(quantize.factor) / 2.0 / 16.0**place).astype(np.float32)


def _conv(conv: Conv, weight: NDArray[np.int8], bits: int, device: torch.device) -> PreparedConv:
    packed = None
    if bits == 4 and conv.weight_bits == 4:
        packed = on_device(pack_weights(weight), device)
    return PreparedConv(on_device(weight, device), packed, _vector(conv.bias, device))


def _vector(values: NDArray[np.int32], device: torch.device) -> torch.Tensor:
    return on_device(pad_channels(values), device)


def on_device(values: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """`values` on `device`, one element after another as kernels read them."""
    return as_tensor(np.ascontiguousarray(values)).to(device)
