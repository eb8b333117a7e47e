"""QuantizeLinear and DequantizeLinear in floats, with the values that ONNX prescribes."""

import numpy as np
import torch
from torch import Tensor

from autosinian.engine.torch_values import Attributes, Constant, UnsupportedError, Value

# Range of the integers that QuantizeLinear saturates to.
_INTEGERS = ("int8", "uint8", "int16", "uint16")


def _along(value: Constant, attributes: Attributes) -> Tensor:
    """A scale or zero point, per tensor or per channel, so that it broadcasts over the tensor.

    A 4-dimensional one is meant where there are channels: `1 x C x 1 x 1`.
    """
    if attributes.get("block_size", 0):
        raise UnsupportedError("block_size")
    given = torch.from_numpy(np.array(value, np.float32))
    if given.numel() == 1:
        return given.reshape(())
    if attributes.get("axis", 1) != 1:
        raise UnsupportedError(f"axis={attributes['axis']} of an activation")
    return given.reshape(1, -1, 1, 1)


def quantize(attributes: Attributes, x: Tensor, scale: Value, zero: Value = None) -> Tensor:
    """Integers, kept as floats; `round` is to the nearest even, as ONNX has it."""
    if not isinstance(scale, np.ndarray) or (zero is not None and not isinstance(zero, np.ndarray)):
        raise UnsupportedError("a scale or zero point that is no constant")
    name = "uint8" if zero is None else str(zero.dtype)
    if name not in _INTEGERS:
        raise UnsupportedError(f"quantization to {name}")
    limits = np.iinfo(name)
    # By a tensor: torch on a GPU divides by a number through its reciprocal.
    whole = torch.round(x / _along(scale, attributes))
    if zero is not None and zero.any():
        whole = whole + _along(zero, attributes)
    return torch.clamp(whole, limits.min, limits.max)


def dequantize(attributes: Attributes, x: Tensor, scale: Value, zero: Value = None) -> Tensor:
    """Floats from what `quantize` gives."""
    if not isinstance(scale, np.ndarray) or (zero is not None and not isinstance(zero, np.ndarray)):
        raise UnsupportedError("a scale or zero point that is no constant")
    if zero is not None and zero.any():
        x = x - _along(zero, attributes)
    return x * _along(scale, attributes)
