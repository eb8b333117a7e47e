"""ONNX operators as torch calls: what a classifier is made of, one function each.

A function gets the node's attributes and its inputs: tensors, `None` where an optional one is not
given, and numpy arrays for constants. It makes no decision on a tensor's value or shape, so that
it can be traced.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autosinian.engine.torch_qdq import dequantize, quantize
from autosinian.engine.torch_values import (
    Attributes,
    UnsupportedError,
    Value,
    integers,
    number,
    tensor,
)

Operator = Callable[..., Tensor]


def _operand(value: Value) -> Tensor | float:
    """A constant of one element as a number, which needs no memory and keeps every precision."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind == "f":
        return float(value.item())
    return tensor(value)


def _elementwise(function: Callable[[Any, Any], Any]) -> Operator:
    def operator(_: Attributes, left: Value, right: Value) -> Tensor:
        result: Tensor = function(_operand(left), _operand(right))
        return result

    return operator


def _plain(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _, x: function(x)


def _pads(attributes: Attributes, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding as torch's operators take it (equal on both sides), and as `F.pad` where it is not.

    One of the two is all zeros.
    """
    how = attributes.get("auto_pad", b"NOTSET")
    pads = list(attributes.get("pads", [0] * 2 * len(kernel)))
    if how == b"VALID":
        pads = [0] * 2 * len(kernel)
    elif how != b"NOTSET":
        raise UnsupportedError(f"auto_pad={how.decode()}; give the pads")
    begins, ends = pads[: len(kernel)], pads[len(kernel) :]
    nothing = [0] * len(kernel)
    if begins == ends:
        return begins, [0] * len(pads)
    around = [side for pair in zip(reversed(begins), reversed(ends), strict=True) for side in pair]
    return nothing, around


def _conv(attributes: Attributes, x: Tensor, weight: Value, bias: Value = None) -> Tensor:
    weights = tensor(weight)
    if not isinstance(weight, np.ndarray) or weights.ndim not in (3, 4, 5):
        raise UnsupportedError("weights that are no constant of 3 to 5 dimensions")
    spatial = weights.ndim - 2
    padding, around = _pads(attributes, weights.shape[2:])
    if any(around):
        x = F.pad(x, around)
    convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    return convolve(
        x,
        weights,
        None if bias is None else tensor(bias),
        stride=attributes.get("strides", [1] * spatial),
        padding=padding,
        dilation=attributes.get("dilations", [1] * spatial),
        groups=attributes.get("group", 1),
    )


def _gemm(attributes: Attributes, x: Tensor, weight: Value, bias: Value = None) -> Tensor:
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if attributes.get("transA", 0):
        x = x.t()
    weights = tensor(weight)
    if not attributes.get("transB", 0):
        weights = weights.t()
    if isinstance(weight, np.ndarray):
        weights = (alpha * weights).contiguous()
    elif alpha != 1:
        weights = alpha * weights
    added = None if bias is None else tensor(bias)
    if added is not None and beta != 1:
        added = beta * added
    if added is not None and isinstance(bias, np.ndarray) and bias.ndim != 1:
        return F.linear(x, weights) + added
    return F.linear(x, weights, added)


def _clip(_: Attributes, x: Tensor, low: Value = None, high: Value = None) -> Tensor:
    lowest, highest = number(low, None), number(high, None)
    if lowest is None and highest is None:
        return x
    if (lowest, highest) == (0.0, 6.0):
        return F.relu6(x)
    return torch.clamp(x, lowest, highest)


def _pool_arguments(attributes: Attributes) -> tuple[list[int], list[int], list[int], list[int]]:
    kernel = list(attributes["kernel_shape"])
    if len(kernel) != 2:
        raise UnsupportedError(f"pooling over {len(kernel)} dimensions")
    padding, around = _pads(attributes, kernel)
    if any(p > k // 2 for p, k in zip(padding, kernel, strict=True)):
        raise UnsupportedError("pads above half the kernel")
    return kernel, list(attributes.get("strides", [1, 1])), padding, around


def _max_pool(attributes: Attributes, x: Tensor) -> Tensor:
    kernel, strides, padding, around = _pool_arguments(attributes)
    if any(around):
        x = F.pad(x, around, value=float("-inf"))
    return F.max_pool2d(
        x,
        kernel,
        strides,
        padding,
        dilation=attributes.get("dilations", [1, 1]),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _average_pool(attributes: Attributes, x: Tensor) -> Tensor:
    kernel, strides, padding, around = _pool_arguments(attributes)
    counts = bool(attributes.get("count_include_pad", 0))
    if any(around):
        if not counts or attributes.get("ceil_mode", 0):
            raise UnsupportedError("uneven pads that are not counted")
        x = F.pad(x, around)
    if any(size != 1 for size in attributes.get("dilations", [1, 1])):
        raise UnsupportedError("dilations")
    ceil_mode = bool(attributes.get("ceil_mode", 0))
    return F.avg_pool2d(x, kernel, strides, padding, ceil_mode, counts)


def _axes(attributes: Attributes, axes: Value) -> list[int] | None:
    """From the attribute or, since opset 13 or 18, from the input."""
    given: list[int] | None = attributes.get("axes")
    return given if axes is None else integers(axes)


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def operator(attributes: Attributes, x: Tensor, axes: Value = None) -> Tensor:
        over = _axes(attributes, axes)
        if over is None:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            raise UnsupportedError("a reduction over every axis, the batch included")
        return function(x, over, keepdim=bool(attributes.get("keepdims", 1)))

    return operator


def _global_average(_: Attributes, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _flatten(attributes: Attributes, x: Tensor) -> Tensor:
    if attributes.get("axis", 1) != 1:
        raise UnsupportedError(f"axis={attributes['axis']}: the batch would not stay apart")
    return torch.flatten(x, 1)


def _reshape(attributes: Attributes, x: Tensor, shape: Value) -> Tensor:
    sizes = integers(shape)
    assert sizes is not None
    if attributes.get("allowzero", 0):
        return x.reshape(sizes)
    return x.reshape([x.size(n) if size == 0 else size for n, size in enumerate(sizes)])


def _transpose(attributes: Attributes, x: Tensor) -> Tensor:
    return x.permute(attributes["perm"])


def _concat(attributes: Attributes, *parts: Value) -> Tensor:
    return torch.cat([tensor(part) for part in parts], attributes["axis"])


def _squeeze(attributes: Attributes, x: Tensor, axes: Value = None) -> Tensor:
    over = _axes(attributes, axes)
    if over is None:
        raise UnsupportedError("no axes: the batch may be 1")
    return x.squeeze(tuple(over))


def _pad(attributes: Attributes, x: Tensor, pads: Value, value: Value = None, *more: Value) -> Any:
    mode = attributes.get("mode", b"constant").decode()
    sides = integers(pads)
    if mode not in ("constant", "reflect") or sides is None or more:
        raise UnsupportedError(f"mode={mode}" if not more else "axes")
    half = len(sides) // 2
    around = [side for n in reversed(range(half)) for side in (sides[n], sides[half + n])]
    while around[-2:] == [0, 0]:
        around = around[:-2]
    if mode == "reflect":
        return F.pad(x, around, "reflect")
    return F.pad(x, around, value=number(value, 0.0))


def _batch_norm(
    attributes: Attributes, x: Tensor, scale: Value, bias: Value, mean: Value, variance: Value
) -> Tensor:
    return F.batch_norm(
        x,
        tensor(mean),
        tensor(variance),
        tensor(scale),
        tensor(bias),
        eps=attributes.get("epsilon", 1e-5),
    )


def _layer_norm(attributes: Attributes, x: Tensor, scale: Value, bias: Value = None) -> Tensor:
    weights = tensor(scale)
    if not isinstance(scale, np.ndarray) or attributes.get("axis", -1) != -weights.ndim:
        raise UnsupportedError("an axis other than the last")
    offset = None if bias is None else tensor(bias)
    return F.layer_norm(x, weights.shape, weights, offset, attributes.get("epsilon", 1e-5))


def _hard_sigmoid(attributes: Attributes, x: Tensor) -> Tensor:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


OPERATORS: dict[str, Operator] = {
    "Add": _elementwise(lambda a, b: a + b),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": dequantize,
    "Div": _elementwise(lambda a, b: a / b),
    "Dropout": lambda _, x, *more: x,
    "Elu": lambda attributes, x: F.elu(x, attributes.get("alpha", 1.0)),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Flatten": _flatten,
    "Gelu": lambda attributes, x: F.gelu(
        x, approximate=attributes.get("approximate", b"none").decode()
    ),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": lambda _, x: torch.amax(x, (2, 3), keepdim=True),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(F.hardswish),
    "Identity": _plain(lambda x: x),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda attributes, x: F.leaky_relu(x, attributes.get("alpha", 0.01)),
    "LogSoftmax": lambda attributes, x: F.log_softmax(x, attributes.get("axis", -1)),
    "MatMul": lambda _, a, b: torch.matmul(tensor(a), tensor(b)),
    "MaxPool": _max_pool,
    "Mul": _elementwise(lambda a, b: a * b),
    "Neg": _plain(torch.neg),
    "PRelu": lambda _, x, slope: torch.where(x < 0, x * tensor(slope), x),
    "Pad": _pad,
    "Pow": _elementwise(lambda a, b: a**b),
    "QuantizeLinear": quantize,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _plain(F.relu),
    "Reshape": _reshape,
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": lambda attributes, x: F.softmax(x, attributes.get("axis", -1)),
    "Softplus": _plain(F.softplus),
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _elementwise(lambda a, b: a - b),
    "Tanh": _plain(torch.tanh),
    "Transpose": _transpose,
}
"""By `op_type`, in the operator sets 13 to 19 (newer ones where they have not changed)."""
