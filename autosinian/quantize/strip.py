"""From explicit Q/DQ back to a float network and scales of its tensors: implicit INT8.

TensorRT 8 quantizes a float network itself where each tensor has a dynamic range, and so fuses as
it likes. The ranges are the scales of the Q nodes, which is what `calibrator.cache` holds.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from autosinian.errors import InputError
from autosinian.quantize.simplify import attributes, initializers, replace_nodes


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
