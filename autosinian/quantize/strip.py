"""From explicit Q/DQ back to a float network and ranges of its tensors: implicit INT8.

TensorRT 8 quantizes a float network itself where each tensor has a dynamic range, and so fuses as
it likes. The ranges are the scales of the Q nodes, which is what `calibrator.cache` holds.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from autosinian.errors import InputError
from autosinian.quantize.ranges import LEVELS
from autosinian.quantize.simplify import attributes, consumers, initializers, replace_nodes

# What these give lies within the range of what they take.
_WITHIN = frozenset(
    (
        "AveragePool",
        "Flatten",
        "GlobalAveragePool",
        "Identity",
        "MaxPool",
        "ReduceMean",
        "Relu",
        "Reshape",
    )
)
# One that is fused into the convolution before it: only its own range counts.
_FUSED = frozenset(("Relu", "Clip"))


def strip_qdq(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, float]]:
    """A copy of `model` in float without Q/DQ, and the scale of each tensor that had them.

    Weights are those that the int8 ones stand for. Raises `InputError` where two Q nodes of one
    tensor differ in scale.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = initializers(graph)
    quantizers = {n.output[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
    scales: dict[str, float] = {}
    renamed: dict[str, str] = {}
    weights: list[onnx.TensorProto] = []
    kept = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            name, scale = node.input[0], float(constants[node.input[1]].item())
            if scales.setdefault(name, scale) != scale:
                raise InputError(
                    f"the Q nodes of `{name}` must have one scale, but have {scales[name]} and "
                    f"{scale}"
                )
        elif node.op_type == "DequantizeLinear":
            if node.input[0] in quantizers:
                renamed[node.output[0]] = quantizers[node.input[0]].input[0]
            else:
                weight = _dequantized(node, constants)
                weights.append(numpy_helper.from_array(weight, node.output[0]))
        else:
            kept.append(node)
    for node in kept:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    replace_nodes(graph, kept)
    used = {name for node in kept for name in node.input}
    floats = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*floats, *weights])
    del graph.value_info[:]
    return result, scales


def complete(model: onnx.ModelProto, scales: dict[str, float]) -> dict[str, float]:
    """`scales` with those of further tensors of a float `model` that follow from them.

    A tensor without a range keeps the layers around it out of INT8. Pooling and ReLU stay within
    the range of what they read; a convolution that an activation follows is fused with it; and
    what h-swish reads needs no more range than what it gives, but at least 3.
    """
    graph = model.graph
    found = dict(scales)
    readers = consumers(graph)
    for node in graph.node:
        if node.op_type in _WITHIN and node.input[0] in found:
            found.setdefault(node.output[0], found[node.input[0]])
    for node in reversed(graph.node):
        output = node.output[0]
        following = readers.get(output, [])
        if output in found or not following:
            continue
        if len(following) == 1 and following[0].op_type in _FUSED:
            given = found.get(following[0].output[0])
            if given is not None:
                found[output] = given
        elif len(following) == 1 and following[0].op_type == "HardSwish":
            given = found.get(following[0].output[0])
            if given is not None:
                found[output] = max(given, 3 / LEVELS)
    return found


def _dequantized(
    node: onnx.NodeProto, constants: dict[str, NDArray[np.generic]]
) -> NDArray[np.float32]:
    whole = constants[node.input[0]].astype(np.float32)
    scale = constants[node.input[1]].astype(np.float32)
    if scale.size > 1:
        axis = attributes(node).get("axis", 1)
        assert isinstance(axis, int)
        shape = [1] * whole.ndim
        shape[axis] = scale.size
        scale = scale.reshape(shape)
    return whole * scale
