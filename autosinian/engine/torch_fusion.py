"""h-swish and h-sigmoid as OFA writes them, four and three nodes, as one node each.

On a GPU each node is a pass over the memory: in MobileNetV3 these are most of them.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

_SIXTH = 1 / 6


def fuse_activations(graph: onnx.GraphProto) -> None:
    """Rewrite `clip(x + 3, 0, 6) / 6` to HardSigmoid and `x * clip(x + 3, 0, 6) / 6` to HardSwish.

    The new node stands where the division stood; what nothing reads any more stays, for the
    tracer to drop.
    """
    fusion = _Fusion(graph)
    for node in graph.node:
        if node.op_type != "Div" or fusion.number(node.input[1]) != 6:
            continue
        before = fusion.maker(node.input[0])
        if before is None:
            continue
        if (source := fusion.clipped(before)) is not None:
            kind = helper.make_node(
                "HardSigmoid", [source], list(node.output), node.name, alpha=_SIXTH, beta=0.5
            )
        elif (source := fusion.times_clipped(before)) is not None:
            kind = helper.make_node("HardSwish", [source], list(node.output), node.name)
        else:
            continue
        node.CopyFrom(kind)


class _Fusion:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._made = {name: node for node in graph.node for name in node.output}
        self._constants = {item.name: item for item in graph.initializer}

    def number(self, name: str) -> float | None:
        """The value of a constant of one element."""
        tensor = self._constants.get(name)
        if tensor is None:
            node = self._made.get(name)
            if node is None or node.op_type != "Constant" or node.attribute[0].name != "value":
                return None
            tensor = node.attribute[0].t
        value = np.asarray(numpy_helper.to_array(tensor))
        return float(value.item()) if value.size == 1 else None

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a tensor."""
        return self._made.get(name)

    def clipped(self, node: onnx.NodeProto) -> str | None:
        """`x` where `node` is `clip(x + 3, 0, 6)`."""
        if node.op_type != "Clip" or len(node.input) != 3:
            return None
        if self.number(node.input[1]) != 0 or self.number(node.input[2]) != 6:
            return None
        added = self._made.get(node.input[0])
        if added is None or added.op_type != "Add":
            return None
        first, second = map(str, added.input)
        if self.number(second) == 3:
            return first
        return second if self.number(first) == 3 else None

    def times_clipped(self, node: onnx.NodeProto) -> str | None:
        """`x` where `node` is `x * clip(x + 3, 0, 6)`."""
        if node.op_type != "Mul":
            return None
        first, second = map(str, node.input)
        for source, other in ((first, second), (second, first)):
            clip = self._made.get(other)
            if clip is not None and self.clipped(clip) == source:
                return source
        return None
