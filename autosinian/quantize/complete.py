"""Ranges of further tensors of a float network, from those of its quantized ones.

TensorRT 8 keeps the layers around a tensor without a range out of implicit INT8. Activations are
fused into the convolution before them, so that only what comes out of both counts; and what a
clip cuts off needs no range.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from autosinian.quantize.ranges import LEVELS
from autosinian.quantize.simplify import consumers, initializers

# What these give lies within the range of what they take.
_WITHIN = frozenset(
    (
        "AveragePool",
        "Flatten",
        "GlobalAveragePool",
        "HardSwish",
        "Identity",
        "MaxPool",
        "ReduceMean",
        "Relu",
        "Reshape",
    )
)
# What comes out of these is all that counts of what goes in.
_FUSED = frozenset(("Clip", "Flatten", "Identity", "Relu", "Reshape"))
_H_SWISH_EDGE = 3.0  # from here on h-swish gives what it reads; below the negative of it, 0


def complete(model: onnx.ModelProto, scales: Mapping[str, float]) -> dict[str, float]:
    """`scales` with those of further tensors of a float `model` that follow from them.

    h-swish and h-sigmoid may be one node or the usual four (add 3, clip to 6, multiply, divide).
    """
    ranges = _Ranges(model.graph, {name: scale * LEVELS for name, scale in scales.items()})
    ranges.spread()
    return {name: scales.get(name, bound / LEVELS) for name, bound in ranges.bounds.items()}


class _Ranges:
    """The largest magnitude of each tensor, as far as it is known."""

    def __init__(self, graph: onnx.GraphProto, bounds: dict[str, float]) -> None:
        self.bounds = bounds
        self._nodes = list(graph.node)
        self._readers = consumers(graph)
        self._constants = {
            name: float(np.abs(value).max())
            for name, value in initializers(graph).items()
            if value.size == 1
        }

    def spread(self) -> None:
        """Go through the graph both ways until nothing new is found."""
        known = -1
        while known != len(self.bounds):
            known = len(self.bounds)
            for node in self._nodes:
                self._note(node.output[0], self._given(node))
            for node in reversed(self._nodes):
                self._note(node.output[0], self._wanted(node.output[0]))
                self._note(node.input[0], self._scaled_back(node))

    def _note(self, name: str, bound: float | None) -> None:
        if bound is not None and name not in self._constants:
            self.bounds.setdefault(name, bound)

    def _given(self, node: onnx.NodeProto) -> float | None:
        """What a node gives, from what it reads."""
        if node.op_type == "HardSigmoid":
            return 1.0
        if node.op_type == "Clip":
            return self._clip(node)
        bound = self.bounds.get(node.input[0])
        if node.op_type in _WITHIN:
            return bound
        other = self._other(node, node.input[0])
        if bound is None or other is None:
            return None
        if node.op_type == "Mul":
            return bound * other
        if node.op_type == "Add" and node.input[1] in self._constants:
            return bound + other
        if node.op_type == "Div" and node.input[1] in self._constants:
            return bound / other
        return None

    def _wanted(self, name: str) -> float | None:
        """How much of a tensor reaches any of its readers, where each of them tells."""
        needs = [self._need(name, node) for node in self._readers.get(name, [])]
        known = [need for need in needs if need is not None]
        return max(known) if needs and len(known) == len(needs) else None

    def _need(self, name: str, node: onnx.NodeProto) -> float | None:
        given = self.bounds.get(node.output[0])
        if node.op_type in _FUSED:
            return given
        if node.op_type == "HardSwish":
            return None if given is None else max(given, _H_SWISH_EDGE)
        if node.op_type == "HardSigmoid":
            return _H_SWISH_EDGE
        if node.op_type == "Mul":
            other = self._other(node, name)
            return given / other if given is not None and other else None
        if node.op_type == "Add" and node.input[1] in self._constants:
            following = self._readers.get(node.output[0], [])
            if len(following) == 1 and following[0].op_type == "Clip":
                upper, shift = self._clip(following[0]), self._constants[node.input[1]]
                return None if upper is None else max(upper - shift, shift)
        return None

    def _scaled_back(self, node: onnx.NodeProto) -> float | None:
        """What a division by a constant reads, from what it gives."""
        given = self.bounds.get(node.output[0])
        if node.op_type == "Div" and given is not None and node.input[1] in self._constants:
            return given * self._constants[node.input[1]]
        return None

    def _clip(self, node: onnx.NodeProto) -> float | None:
        limits = [self._constants.get(name) for name in node.input[1:] if name]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == 2 else None

    def _other(self, node: onnx.NodeProto, name: str) -> float | None:
        others = [item for item in node.input if item != name]
        if len(others) != 1:
            return None
        return self._constants.get(others[0], self.bounds.get(others[0]))
