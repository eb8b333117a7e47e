"""Each kind of layer as its text and tensors, and back: the pairs stand side by side."""

import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from autosinian.errors import InputError
from autosinian.int4.layer_text import LayerText, TensorPlace
from autosinian.int4.network import Conv, Linear, MaxPool, Quantize

Tensors = Mapping[str, NDArray[np.generic]]
Form = tuple[LayerText, dict[str, NDArray[np.generic]]]

_CONV_KEYS = (
    "compute_mode",
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
    "weight",
)
_QUANTIZE_KEYS = ("compute_mode", "output_bits", "shift_bits", "max_requant", "requant_factor")
_MAX_POOL_KEYS = (
    "compute_mode",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "return_indices",
    "ceil_mode",
)
_AVERAGE_POOL_KEYS = (
    "compute_mode",
    "kernel_size",
    "stride",
    "padding",
    "ceil_mode",
    "count_include_pad",
)
_LINEAR_KEYS = ("compute_mode", "in_features", "out_features", "bias", "weight")


def read_conv(layer: LayerText, tensors: Tensors) -> Conv:
    """A `Conv2d`."""
    layer.expect("Conv2d", *_CONV_KEYS)
    found = re.fullmatch(r"(u4|u7|s8)s([48])s32", layer.text("compute_mode"))
    if found is None:
        _refuse_mode(layer, "one of u4, u7, s8, then s4 or s8, then s32 (u4s4s32)")
    input_type, weight_bits = found[1], int(found[2])
    layer.must_be("dilation", "2:1 1")
    layer.must_be("groups", "1")
    channels, kernels = layer.integer("in_channels"), layer.integer("out_channels")
    kernel_size = layer.pair("kernel_size")
    _check_tensor(layer, "weight", (f"s{weight_bits}",), (kernels, channels, *kernel_size))
    _check_tensor(layer, "bias", ("s16", "s32"), (kernels,))
    return Conv(
        layer.name,
        tensors["weight"].astype(np.int8),
        tensors["bias"].astype(np.int32),
        layer.pair("stride"),
        layer.pair("padding"),
        weight_bits,
        input_type,
        layer.tensor("bias").dtype,
    )


def write_conv(conv: Conv) -> Form:
    """The form of `read_conv`."""
    weight_type = f"s{conv.weight_bits}"
    values: dict[str, str | TensorPlace] = {
        "compute_mode": f"{conv.input_type}{weight_type}s32",
        "in_channels": str(conv.in_channels),
        "out_channels": str(conv.out_channels),
        "kernel_size": _pair(conv.kernel_size),
        "stride": _pair(conv.stride),
        "padding": _pair(conv.padding),
        "dilation": "2:1 1",
        "groups": "1",
        "bias": TensorPlace(conv.bias_type, conv.bias.shape),
        "weight": TensorPlace(weight_type, conv.weight.shape),
    }
    return LayerText(conv.name, "Conv2d", values), {"bias": conv.bias, "weight": conv.weight}


def read_quantize(layer: LayerText, tensors: Tensors) -> Quantize:
    """A `Quantize`; its `output_bits` and `max_requant` are checked against the rest."""
    layer.expect("Quantize", *_QUANTIZE_KEYS)
    found = re.fullmatch(r"(u31|s32|s8|u4|u7)u16(u4|u7|s8|s32|u31)", layer.text("compute_mode"))
    if found is None:
        _refuse_mode(layer, "input type, u16, output type (u31u16u4)")
    place = layer.tensor("requant_factor")
    if len(place.dims) != 4:
        raise InputError(
            f"INT4 layer {layer.name}: requant_factor must be 1 x C x 1 x 1, got {place.dims}"
        )
    _check_tensor(layer, "requant_factor", ("u16",), (1, place.dims[1], 1, 1))
    factor = tensors["requant_factor"].astype(np.int32).reshape(-1)
    quantize = Quantize(layer.name, factor, layer.integer("shift_bits"), found[1], found[2])
    layer.must_be("output_bits", str(quantize.output_bits))
    layer.must_be("max_requant", str(factor.max()))
    return quantize


def write_quantize(quantize: Quantize) -> Form:
    """The form of `read_quantize`."""
    channels = len(quantize.factor)
    values: dict[str, str | TensorPlace] = {
        "compute_mode": f"{quantize.input_type}u16{quantize.output_type}",
        "output_bits": str(quantize.output_bits),
        "shift_bits": str(quantize.shift),
        "max_requant": str(quantize.factor.max()),
        "requant_factor": TensorPlace("u16", (1, channels, 1, 1)),
    }
    return LayerText(quantize.name, "Quantize", values), {"requant_factor": quantize.factor}


def read_relu(layer: LayerText) -> None:
    """A `ReLU`, which says nothing that could differ."""
    layer.expect("ReLU", "compute_mode", "inplace")
    layer.must_be("compute_mode", "s32u31")
    layer.must_be("inplace", "True")


def write_relu(name: str) -> Form:
    """The form of `read_relu`."""
    return LayerText(name, "ReLU", {"compute_mode": "s32u31", "inplace": "True"}), {}


def read_max_pool(layer: LayerText) -> tuple[MaxPool, str]:
    """A `MaxPool2d`, and the type that it reads and writes."""
    layer.expect("MaxPool2d", *_MAX_POOL_KEYS)
    found = re.fullmatch(r"(u4|u7)\1", layer.text("compute_mode"))
    if found is None:
        _refuse_mode(layer, "u4u4 or u7u7")
    layer.must_be("dilation", "1")
    layer.must_be("return_indices", "False")
    layer.must_be("ceil_mode", "False")
    pool = MaxPool(layer.integer("kernel_size"), layer.integer("stride"), layer.integer("padding"))
    return pool, found[1]


def write_max_pool(pool: MaxPool, kind: str) -> Form:
    """The form of `read_max_pool`."""
    values: dict[str, str | TensorPlace] = {
        "compute_mode": kind * 2,
        "kernel_size": str(pool.kernel_size),
        "stride": str(pool.stride),
        "padding": str(pool.padding),
        "dilation": "1",
        "return_indices": "False",
        "ceil_mode": "False",
    }
    return LayerText("maxpool", "MaxPool2d", values), {}


def read_average_pool(layer: LayerText) -> int:
    """The side of an `AvgPool2d` over the whole map."""
    layer.expect("AvgPool2d", *_AVERAGE_POOL_KEYS)
    for key, only in zip(_AVERAGE_POOL_KEYS, ("u7u7", "", "1", "0", "False", "True"), strict=True):
        if only:
            layer.must_be(key, only)
    return layer.integer("kernel_size")


def write_average_pool(size: int) -> Form:
    """The form of `read_average_pool`."""
    texts = ("u7u7", str(size), "1", "0", "False", "True")
    values: dict[str, str | TensorPlace] = dict(zip(_AVERAGE_POOL_KEYS, texts, strict=True))
    return LayerText("avgpool", "AvgPool2d", values), {}


def read_linear(layer: LayerText, tensors: Tensors) -> Linear:
    """A `Linear`."""
    layer.expect("Linear", *_LINEAR_KEYS)
    layer.must_be("compute_mode", "u7s8s32")
    features, classes = layer.integer("in_features"), layer.integer("out_features")
    _check_tensor(layer, "weight", ("s8",), (classes, features))
    _check_tensor(layer, "bias", ("s32",), (classes,))
    return Linear(tensors["weight"].astype(np.int8), tensors["bias"].astype(np.int32))


def write_linear(linear: Linear) -> Form:
    """The form of `read_linear`."""
    classes, features = linear.weight.shape
    values: dict[str, str | TensorPlace] = {
        "compute_mode": "u7s8s32",
        "in_features": str(features),
        "out_features": str(classes),
        "bias": TensorPlace("s32", (classes,)),
        "weight": TensorPlace("s8", (classes, features)),
    }
    return LayerText("fc", "Linear", values), {"bias": linear.bias, "weight": linear.weight}


def read_scale(layer: LayerText, tensors: Tensors) -> NDArray[np.float32]:
    """The output scales of a `Scale`."""
    layer.expect("Scale", "compute_mode", "out_scale")
    layer.must_be("compute_mode", "s32f32f32")
    place = layer.tensor("out_scale")
    _check_tensor(layer, "out_scale", ("f32",), place.dims[:1])
    return tensors["out_scale"].astype(np.float32)


def write_scale(out_scale: NDArray[np.float32]) -> Form:
    """The form of `read_scale`."""
    values: dict[str, str | TensorPlace] = {
        "compute_mode": "s32f32f32",
        "out_scale": TensorPlace("f32", out_scale.shape),
    }
    return LayerText("scale", "Scale", values), {"out_scale": out_scale}


def _check_tensor(
    layer: LayerText, key: str, dtypes: tuple[str, ...], dims: tuple[int, ...]
) -> None:
    place = layer.tensor(key)
    if place.dtype not in dtypes:
        raise InputError(
            f"INT4 layer {layer.name}: {key} must be of dtype {' or '.join(dtypes)} there, "
            f"got {place.dtype}"
        )
    if place.dims != dims:
        raise InputError(
            f"INT4 layer {layer.name}: {key} must be {' x '.join(map(str, dims))} by the layer's "
            f"other keys, got {' x '.join(map(str, place.dims))}"
        )


def _refuse_mode(layer: LayerText, wanted: str) -> NoReturn:
    raise InputError(
        f"INT4 layer {layer.name}: compute_mode must be {wanted}, "
        f"got {layer.text('compute_mode')!r}"
    )


def _pair(values: tuple[int, int]) -> str:
    return f"2:{values[0]} {values[1]}"
