"""One convolution launched with a configuration."""

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from autosinian.int4.configurations import Configuration, shared_bytes
from autosinian.int4.gpu.compiling import CompileTask
from autosinian.int4.gpu.convolution import DOWNSAMPLE, IDENTITY, NO_RESIDUAL, convolution
from autosinian.int4.gpu.device import Device
from autosinian.int4.gpu.interpreted import INTERPRETED
from autosinian.int4.gpu.neighbourhood import neighbourhood
from autosinian.int4.gpu.plan import Layer
from autosinian.int4.gpu.pointwise import pointwise
from autosinian.int4.gpu.prepared import PreparedConv, PreparedLayer
from autosinian.int4.network import ACTIVATION_RANGES, Downsample, Quantize

INTEGER_CORES_CAPABILITY = 8
"""Major compute capability from which triton uses integer tensor cores."""

_HALVES_CAPABILITY = 9
_REGISTERS = 65536
_OTHER_REGISTERS = 80

KERNELS: dict[str, Any] = {
    "convolution": convolution,
    "pointwise": pointwise,
    "neighbourhood": neighbourhood,
}
"""The kernels of convolutions by name."""


def settle_keys(kernels: Iterable[Any]) -> None:
    """Have triton compute its cache keys of `kernels` now, in this order.

    Functions that kernels share get another key when another kernel reaches them first; without
    one order, what one process compiled would not be found by the next.
    """
    for kernel in kernels:
        if not INTERPRETED:
            _ = kernel.cache_key


settle_keys(KERNELS.values())


def kernels_version() -> str:
    """12 hex digits that change with the kernels' source: measured times are of one version."""
    if INTERPRETED:
        return "interpreted"
    keys = "".join(kernel.cache_key for kernel in KERNELS.values())
    return hashlib.sha256(keys.encode("ascii")).hexdigest()[:12]


_FOLLOWER_STEP = 64
_SHARED_BYTES = 220 << 10


def _in_float(layer: Layer, configuration: Configuration) -> bool:
    return layer.arithmetic.exact_in_float and not (
        configuration.integer_requantize and layer.arithmetic.exact_in_integers
    )


def _pairs(layer: Layer, configuration: Configuration, capability: int) -> bool:
    """Whether two results are clamped at once."""
    return (
        _in_float(layer, configuration)
        and layer.arithmetic.halves
        and layer.shape.out_bits == 4
        and capability >= _HALVES_CAPABILITY
        and not INTERPRETED
    )


def _follower_constants(
    follower: Layer | None, layer: Layer, configuration: Configuration, capability: int
) -> dict[str, Any]:
    if not configuration.chained or follower is None:
        return {
            "CHAINED": False,
            "N_CHANNELS": 64,
            "N_CHANNELS_BLOCK": 64,
            "N_BLOCK_BYTES": 32,
            "N_SHIFT": 16,
            "N_FLOAT": False,
            "N_PAIRS": False,
        }
    channels = follower.shape.out_channels
    own = layer.shape.out_channels // 2
    return {
        "CHAINED": True,
        "N_CHANNELS": channels,
        "N_CHANNELS_BLOCK": configuration.follower_channels(channels),
        "N_BLOCK_BYTES": min(_FOLLOWER_STEP, own & -own),
        "N_SHIFT": follower.quantize.shift,
        "N_FLOAT": _in_float(follower, configuration),
        "N_PAIRS": _pairs(follower, configuration, capability),
    }


def _several(layer: Layer, configuration: Configuration) -> bool:
    """Whether the kernel for several taps whose weights stay runs."""
    return configuration.stationary and layer.shape.kernel != (1, 1)


def _place_constants(layer: Layer) -> dict[str, Any]:
    shape = layer.shape
    return {
        "OUT_HEIGHT": shape.out_height,
        "OUT_WIDTH": shape.out_width,
        "HEIGHT": shape.height,
        "WIDTH": shape.width,
        "PIXEL_BYTES": shape.pixel_bytes,
        "TAPS_Y": shape.kernel[0],
        "TAPS_X": shape.kernel[1],
        "STRIDE_Y": shape.stride[0],
        "STRIDE_X": shape.stride[1],
        "PAD_Y": shape.padding[0],
        "PAD_X": shape.padding[1],
    }


def _stationary_constants(layer: Layer, identity: bool) -> dict[str, Any]:
    branch, residual = layer.shape.residual, layer.residual
    values: dict[str, Any] = {
        "IDENTITY": identity,
        "DOWNSAMPLE": False,
        "OUT_HEIGHT": layer.shape.out_height,
        "OUT_WIDTH": layer.shape.out_width,
        "R_HEIGHT": 1,
        "R_WIDTH": 1,
        "R_BYTES": 32,
        "R_STRIDE_Y": 1,
        "R_STRIDE_X": 1,
        "R_SHIFT2": 0,
    }
    if branch is not None and isinstance(residual, Downsample):
        values |= {
            "DOWNSAMPLE": True,
            "R_HEIGHT": branch.height,
            "R_WIDTH": branch.width,
            "R_BYTES": branch.channels * branch.bits // 8,
            "R_STRIDE_Y": branch.stride[0],
            "R_STRIDE_X": branch.stride[1],
            "R_SHIFT": residual.to_s8.shift,
            "R_SHIFT2": residual.to_s32.shift,
        }
    return values


def constants(
    layer: Layer, configuration: Configuration, capability: int, follower: Layer | None = None
) -> dict[str, Any]:
    """The kernel's compile-time constants for a layer; `capability`: the GPU's major number.

    `follower` is the layer that a chained configuration computes in the same launch.
    """
    shape, residual, arithmetic = layer.shape, layer.residual, layer.arithmetic
    branch = shape.residual
    in_float = _in_float(layer, configuration)
    identity = branch is not None and branch.kind == "identity"
    values: dict[str, Any] = {
        "CHANNELS": shape.out_channels,
        "BYTES": shape.slice_bytes,
        "FOUR_BIT": shape.bits == 4,
        "SHIFT": layer.quantize.shift,
        "MOST": ACTIVATION_RANGES[layer.quantize.output_type][1],
        "OUT_FOUR_BIT": shape.out_bits == 4,
        "FLOAT": in_float,
        "PAIRS": _pairs(layer, configuration, capability),
        # Interpreted, there is no sum that is rounded up.
        "R_FLOAT": in_float and arithmetic.residual_in_float and not (identity and INTERPRETED),
        "R_FOUR_BIT": branch is None or branch.bits == 4,
        "R_SHIFT": residual.shift if isinstance(residual, Quantize) else 0,
        "RESIDUAL_FIRST": configuration.residual_first,
        "PIXELS_BLOCK": configuration.pixels,
        "CHANNELS_BLOCK": configuration.channels,
        "STAGES": configuration.stages,
        "INTEGER_CORES": capability >= INTEGER_CORES_CAPABILITY,
        "INTERPRETED": INTERPRETED,
    }
    if _several(layer, configuration):
        # Without residuals.
        values = {name: value for name, value in values.items() if not name.startswith("R")}
        return values | _place_constants(layer) | {"NEAR": configuration.near}
    if configuration.stationary:
        return values | _stationary_constants(layer, identity)
    values |= _follower_constants(follower, layer, configuration, capability)
    values |= _place_constants(layer)
    values |= {
        "RESIDUAL": IDENTITY.value if identity else NO_RESIDUAL.value,
        "R_HEIGHT": 1,
        "R_WIDTH": 1,
        "R_BYTES": 32,
        "R_TAPS_Y": 1,
        "R_TAPS_X": 1,
        "R_STRIDE_Y": 1,
        "R_STRIDE_X": 1,
        "R_SHIFT2": 0,
        "RELU_FIRST": shape.relu_first,
        "PACKED_WEIGHTS": configuration.packed_weights,
        "BLOCK_BYTES": configuration.step_bytes,
        "R_BLOCK_BYTES": 32,
        "PERSISTENT": configuration.persistent,
        "NEAR": configuration.near,
    }
    if branch is not None and isinstance(residual, Downsample):
        branch_bytes = branch.channels * branch.bits // 8
        values |= {
            "RESIDUAL": DOWNSAMPLE.value,
            "R_HEIGHT": branch.height,
            "R_WIDTH": branch.width,
            "R_BYTES": branch_bytes,
            "R_TAPS_Y": branch.kernel[0],
            "R_TAPS_X": branch.kernel[1],
            "R_STRIDE_Y": branch.stride[0],
            "R_STRIDE_X": branch.stride[1],
            "R_SHIFT": residual.to_s8.shift,
            "R_SHIFT2": residual.to_s32.shift,
            "R_BLOCK_BYTES": min(configuration.step_bytes, branch_bytes),
        }
    return values


def programs(layer: Layer, configuration: Configuration, images: int, multiprocessors: int) -> int:
    """Programs of a launch: one a tile, or as many as run at once if they stay."""
    shape = layer.shape
    channel_tiles = shape.out_channels // configuration.channels
    pixel_tiles = -(-shape.out_pixels * images // configuration.pixels)
    if configuration.chained:
        return pixel_tiles
    tiles = pixel_tiles * channel_tiles
    if not configuration.persistent and not configuration.stationary:
        return tiles
    threads = 32 * configuration.warps
    registers = configuration.pixels * configuration.channels // threads + _OTHER_REGISTERS
    at_once = max(1, _REGISTERS // (registers * threads))
    if configuration.stationary:
        fits = _SHARED_BYTES // max(1, shared_bytes(configuration, shape))
        together = multiprocessors * max(1, min(at_once, fits))
        return min(tiles, max(1, together // channel_tiles) * channel_tiles)
    return min(tiles, multiprocessors * at_once)


def _tensors(
    prepared: PreparedLayer, configuration: Configuration, follower: PreparedLayer
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """Weights to scale, what the residual needs, and the follower's, as both kernels take them."""
    packed = configuration.packed_weights
    branch = prepared.conv if prepared.branch is None else prepared.branch
    factor, scale = prepared.factor, prepared.scale
    first = [_weight(prepared.conv, packed), prepared.conv.bias, factor, scale]
    residual = [
        _weight(branch, packed),
        branch.bias,
        factor if prepared.branch_factor is None else prepared.branch_factor,
        factor if prepared.branch_factor2 is None else prepared.branch_factor2,
        scale if prepared.branch_scale is None else prepared.branch_scale,
        scale if prepared.branch_scale2 is None else prepared.branch_scale2,
    ]
    if configuration.stationary:
        return first, residual, []
    return (
        first,
        residual,
        [follower.conv.weight, follower.conv.bias, follower.factor, follower.scale],
    )


def tensor_types(layer: Layer, configuration: Configuration) -> tuple[str, ...]:
    """Names of the torch types of the kernel's tensors, in order."""
    shape = layer.shape
    branch = shape.residual
    carried = _byte_type(shape.bits)
    if branch is not None:
        words = branch.kind == "identity" and branch.bits == 4
        carried = torch.int32 if words else _byte_type(branch.bits)
    weight = torch.uint8 if configuration.packed_weights else torch.int8
    out = torch.int32 if shape.out_bits == 4 else torch.int8
    first = (_byte_type(shape.bits), weight, torch.int32, torch.int32, torch.float32, out, carried)
    if _several(layer, configuration):
        return tuple(str(kind).removeprefix("torch.") for kind in first[:-1])
    rest: tuple[torch.dtype, ...] = (
        weight,
        torch.int32,
        torch.int32,
        torch.int32,
        torch.float32,
        torch.float32,
    )
    if not configuration.stationary:
        rest += (torch.uint8, torch.int8, torch.int32, torch.int32, torch.float32, torch.int32)
    return tuple(str(kind).removeprefix("torch.") for kind in first + rest)


def _kernel_name(layer: Layer, configuration: Configuration) -> str:
    if _several(layer, configuration):
        return "neighbourhood"
    return "pointwise" if configuration.stationary else "convolution"


def compile_task(
    layer: Layer, configuration: Configuration, device: Device, follower: Layer | None = None
) -> CompileTask:
    """What `launch` will need compiled."""
    values = constants(layer, configuration, device.capability[0], follower)
    return CompileTask(
        _kernel_name(layer, configuration),
        tensor_types(layer, configuration),
        tuple(sorted((values | device.overlap()).items())),
        configuration.warps,
        10 * device.capability[0] + device.capability[1],
    )


def launch(
    prepared: PreparedLayer,
    configuration: Configuration,
    source: torch.Tensor,
    added: torch.Tensor | None,
    out: torch.Tensor,
    images: int,
    device: Device,
    follower: tuple[PreparedLayer, torch.Tensor] | None = None,
) -> None:
    """Run a layer on flat uint8 tensors of packed activations (see `packing`).

    `follower`, with its output, is what a chained configuration computes too.
    """
    layer = prepared.layer
    types = [getattr(torch, name) for name in tensor_types(layer, configuration)]
    next_prepared, next_out = (prepared, out) if follower is None else follower
    first, residual, after = _tensors(prepared, configuration, next_prepared)
    if after:
        after = [out, *after, next_out.view(torch.int32)]
    grid = (programs(layer, configuration, images, device.multiprocessors),)
    carried = [(source if added is None else added).view(types[6])] if len(types) > 6 else []
    KERNELS[_kernel_name(layer, configuration)][grid](
        source.view(types[0]),
        *first,
        out.view(types[5]),
        *carried,
        *(residual if carried else []),
        *after,
        layer.shape.out_pixels * images,
        *(() if _kernel_name(layer, configuration) == "pointwise" else (0,)),
        **constants(layer, configuration, device.capability[0], next_prepared.layer),
        **device.overlap(),
        num_warps=configuration.warps,
    )


def _byte_type(bits: int) -> torch.dtype:
    return torch.uint8 if bits == 4 else torch.int8


def _weight(conv: PreparedConv, packed: bool) -> torch.Tensor:
    return conv.packed_weight if packed and conv.packed_weight is not None else conv.weight
