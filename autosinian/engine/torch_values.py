"""What goes into an ONNX operator: tensors, constants, and nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Constant = NDArray[np.generic]
Value = Tensor | Constant | None
Attributes = Mapping[str, Any]


class UnsupportedError(Exception):
    """What a node asks for is not in this table; the message names it."""


def tensor(value: Value) -> Tensor:
    """A constant as a tensor of its own; a tensor as it is."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    assert value is not None
    return value


def number(value: Value, default: float | None) -> float | None:
    """A constant of one element; `default` where it is left out."""
    if value is None:
        return default
    if isinstance(value, np.ndarray) and value.size == 1:
        return float(value.item())
    raise UnsupportedError("a bound that is no constant number")


def integers(value: Value) -> list[int] | None:
    """A constant shape or list of axes; None where it is left out."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return [int(item) for item in value.reshape(-1)]
    raise UnsupportedError("a shape or axes that are no constant")
