"""Single layers with random weights, run by a kernel and by the oracle."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from autosinian.int4.configurations import Configuration
from autosinian.int4.gpu.device import Device
from autosinian.int4.gpu.launch import launch
from autosinian.int4.gpu.packing import pack_activations, unpack_activations
from autosinian.int4.gpu.plan import Layer, arithmetic
from autosinian.int4.gpu.prepared import prepare
from autosinian.int4.layer_shape import LayerShape, ResidualShape
from autosinian.int4.network import Conv, Downsample, Quantize
from tests.int4.gpu import oracle

SLACK = 256


def activations(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> NDArray[np.int64]:
    """`n x C x H x W` over the type's whole range."""
    return rng.integers(0, 16 if kind == "u4" else 128, shape)


def on_device(values: NDArray[np.int64], kind: str) -> torch.Tensor:
    """`n x C x H x W` packed as kernels want it."""
    packed = pack_activations(values.transpose(0, 2, 3, 1), 4 if kind == "u4" else 8)
    return torch.from_numpy(np.concatenate([packed.ravel(), np.zeros(SLACK, np.uint8)]))


def run(
    layer: Layer,
    choice: Configuration,
    device: Device,
    images: int,
    seed: int,
    follower: Layer | None = None,
) -> bool:
    """Whether the kernel gives the oracle's values on random activations, everywhere.

    With a chained `choice` those of the follower too.
    """
    rng = np.random.default_rng(seed)
    shape, conv, quantize = layer.shape, layer.conv, layer.quantize
    x = activations(rng, (images, conv.in_channels, shape.height, shape.width), conv.input_type)
    total = oracle.convolve(conv, x)
    added = None
    if shape.residual is not None and layer.residual is not None:
        branch, residual = shape.residual, layer.residual
        kind = residual.conv.input_type if isinstance(residual, Downsample) else residual.input_type
        channels = (
            residual.conv.in_channels if isinstance(residual, Downsample) else conv.out_channels
        )
        y = activations(rng, (images, channels, branch.height, branch.width), kind)
        total = total + oracle.residual(residual, y)
        added = on_device(y, kind)
    wanted = oracle.rescale(quantize, total.clip(min=0)).transpose(0, 2, 3, 1)
    size = images * shape.out_pixels * shape.out_channels * shape.out_bits // 8
    out = torch.full((size + SLACK,), 0xA5, dtype=torch.uint8)
    prepared = prepare(layer, None, device.torch_device)
    after = None
    if follower is not None:
        room = images * shape.out_pixels * follower.shape.out_channels // 2
        after = torch.full((room,), 0xA5, dtype=torch.uint8)
    launch(
        prepared,
        choice,
        on_device(x, conv.input_type),
        added,
        out,
        images,
        device,
        None
        if follower is None or after is None
        else (prepare(follower, None, device.torch_device), after),
    )
    if follower is not None and after is not None:
        y = oracle.convolve(follower.conv, wanted.transpose(0, 3, 1, 2)).clip(min=0)
        then = oracle.rescale(follower.quantize, y).transpose(0, 2, 3, 1)
        rows = after.numpy().reshape(images, shape.out_height, shape.out_width, -1)
        if not np.array_equal(unpack_activations(rows, follower.conv.out_channels, 4), then):
            return False
    rows = out[:size].numpy().reshape(images, shape.out_height, shape.out_width, -1)
    got = unpack_activations(rows, conv.out_channels, shape.out_bits)
    untouched = bool((out[size:] == 0xA5).all())
    return untouched and np.array_equal(got, wanted) and len(np.unique(wanted)) > 5


def pointwise(in_channels: int, out_channels: int, identity: bool, seed: int = 0) -> Layer:
    """A 1x1 convolution on a map of 3 x 2, with an identity residual or none."""
    rng = np.random.default_rng(seed)
    conv = Conv(
        "conv",
        rng.integers(-8, 8, (out_channels, in_channels, 1, 1)).astype(np.int8),
        # Weights and activations have means of -1/2 and 15/2.
        rng.integers(-500, 500, out_channels).astype(np.int32) + 15 * in_channels // 4,
        (1, 1),
        (0, 0),
        4,
        "u4",
    )
    factor = rng.integers(0, 2000, out_channels).astype(np.int32)
    factor[::3] = 1024  # makes ties
    quantize = Quantize("quantize", factor, 16, "u31", "u4")
    residual = added = None
    if identity:
        ratios = rng.integers(0, 200, out_channels).astype(np.int32)
        residual = Quantize("downsample", ratios, 1, "u4", "u31")
        added = ResidualShape("identity", 3, 2, out_channels, 4)
    shape = LayerShape(3, 2, in_channels, 4, 3, 2, out_channels, 4, residual=added)
    return Layer(
        "conv", shape, conv, quantize, residual, 0, 1, arithmetic(conv, quantize, residual, False)
    )


def chained_pair(in_channels: int, out_channels: int, seed: int = 0) -> tuple[Layer, Layer]:
    """Two 1x1 convolutions in a row, the first with an identity residual."""
    first = pointwise(in_channels, out_channels, identity=True, seed=seed)
    second = pointwise(out_channels, 64, identity=False, seed=seed + 1)
    return replace(first, shape=replace(first.shape, follower=second.shape)), second
