"""One convolution launched with a configuration."""

from typing import Any

import torch

from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu.convolution import DOWNSAMPLE, IDENTITY, NO_RESIDUAL, convolution
from autosinian.int4.gpu.device import Device
from autosinian.int4.gpu.interpreted import INTERPRETED
from autosinian.int4.gpu.plan import Layer
from autosinian.int4.gpu.prepared import PreparedConv, PreparedLayer
from autosinian.int4.network import Downsample

_HALVES_CAPABILITY = 9
_REGISTERS = 65536
_OTHER_REGISTERS = 80


def constants(layer: Layer, configuration: Configuration, capability: int) -> dict[str, Any]:
    """The kernel's compile-time constants for a layer; `capability`: the GPU's major number."""
    shape, residual = layer.shape, layer.residual
    branch = shape.residual
    in_float = layer.arithmetic.exact_in_float and not configuration.integer_requantize
    values: dict[str, Any] = {
        "OUT_HEIGHT": shape.out_height,
        "OUT_WIDTH": shape.out_width,
        "CHANNELS": shape.out_channels,
        "HEIGHT": shape.height,
        "WIDTH": shape.width,
        "PIXEL_BYTES": shape.pixel_bytes,
        "BYTES": shape.slice_bytes,
        "TAPS_Y": shape.kernel[0],
        "TAPS_X": shape.kernel[1],
        "STRIDE_Y": shape.stride[0],
        "STRIDE_X": shape.stride[1],
        "PAD_Y": shape.padding[0],
        "PAD_X": shape.padding[1],
        "FOUR_BIT": shape.bits == 4,
        "SHIFT": layer.quantize.shift,
        "OUT_FOUR_BIT": shape.out_bits == 4,
        "FLOAT": in_float,
        "PAIRS": in_float
        and layer.arithmetic.halves
        and shape.out_bits == 4
        and capability >= _HALVES_CAPABILITY
        and not INTERPRETED,
        "RESIDUAL": NO_RESIDUAL.value,
        "R_HEIGHT": 1,
        "R_WIDTH": 1,
        "R_BYTES": 32,
        "R_TAPS_Y": 1,
        "R_TAPS_X": 1,
        "R_STRIDE_Y": 1,
        "R_STRIDE_X": 1,
        "R_FOUR_BIT": True,
        "R_SHIFT": 0,
        "R_SHIFT2": 0,
        "RELU_FIRST": shape.relu_first,
        "PACKED_WEIGHTS": configuration.packed_weights,
        "PIXELS_BLOCK": configuration.pixels,
        "CHANNELS_BLOCK": configuration.channels,
        "BLOCK_BYTES": configuration.step_bytes,
        "R_BLOCK_BYTES": 32,
        "STAGES": configuration.stages,
        "PERSISTENT": configuration.persistent,
        "INTERPRETED": INTERPRETED,
    }
    if branch is not None and residual is not None:
        branch_bytes = branch.channels * branch.bits // 8
        values |= {
            "RESIDUAL": IDENTITY.value if branch.kind == "identity" else DOWNSAMPLE.value,
            "R_HEIGHT": branch.height,
            "R_WIDTH": branch.width,
            "R_BYTES": branch_bytes,
            "R_TAPS_Y": branch.kernel[0],
            "R_TAPS_X": branch.kernel[1],
            "R_STRIDE_Y": branch.stride[0],
            "R_STRIDE_X": branch.stride[1],
            "R_FOUR_BIT": branch.bits == 4,
            "R_BLOCK_BYTES": min(configuration.step_bytes, branch_bytes),
        }
        if isinstance(residual, Downsample):
            values |= {"R_SHIFT": residual.to_s8.shift, "R_SHIFT2": residual.to_s32.shift}
        else:
            values["R_SHIFT"] = residual.shift
    return values


def programs(layer: Layer, configuration: Configuration, images: int, multiprocessors: int) -> int:
    """Programs of a launch: one a tile, or as many as run at once if persistent."""
    shape = layer.shape
    tiles = -(-shape.out_pixels * images // configuration.pixels) * (
        shape.out_channels // configuration.channels
    )
    if not configuration.persistent:
        return tiles
    threads = 32 * configuration.warps
    registers = configuration.pixels * configuration.channels // threads + _OTHER_REGISTERS
    at_once = max(1, _REGISTERS // (registers * threads))
    return min(tiles, multiprocessors * at_once)


def launch(
    prepared: PreparedLayer,
    configuration: Configuration,
    source: torch.Tensor,
    added: torch.Tensor | None,
    out: torch.Tensor,
    images: int,
    device: Device,
) -> None:
    """Run a layer on flat uint8 tensors of packed activations (see `packing`)."""
    layer = prepared.layer
    shape = layer.shape
    packed = configuration.packed_weights
    branch = prepared.branch
    carried = source if added is None else added
    if shape.residual is not None:
        words = shape.residual.kind == "identity" and shape.residual.bits == 4
        carried = carried.view(torch.int32 if words else _byte_type(shape.residual.bits))
    grid = (programs(layer, configuration, images, device.multiprocessors),)
    convolution[grid](
        source.view(_byte_type(shape.bits)),
        _weight(prepared.conv, packed),
        prepared.conv.bias,
        prepared.factor,
        prepared.scale,
        out.view(torch.int32 if shape.out_bits == 4 else torch.int8),
        carried,
        _weight(prepared.conv if branch is None else branch, packed),
        (prepared.conv if branch is None else branch).bias,
        prepared.factor if prepared.branch_factor is None else prepared.branch_factor,
        prepared.factor if prepared.branch_factor2 is None else prepared.branch_factor2,
        shape.out_pixels * images,
        **constants(layer, configuration, device.capability[0]),
        num_warps=configuration.warps,
    )


def _byte_type(bits: int) -> torch.dtype:
    return torch.uint8 if bits == 4 else torch.int8


def _weight(conv: PreparedConv, packed: bool) -> torch.Tensor:
    return conv.packed_weight if packed and conv.packed_weight is not None else conv.weight
