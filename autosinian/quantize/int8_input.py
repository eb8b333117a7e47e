"""Samples go in as int8: the first Q moves from the network to whoever prepares the samples."""

import numpy as np
import onnx

from autosinian.quantize.simplify import consumers, initializers, replace_nodes


def int8_input(model: onnx.ModelProto) -> tuple[onnx.ModelProto, float] | None:
    """A copy of `model` whose input is int8, and the scale to quantize samples with.

    The samples are then `round(x / scale)`, and the network computes what it did before. None
    where the input does not go through QuantizeLinear alone, all of one scale, with zero point 0.
    """
    name = model.graph.input[0].name
    constants = initializers(model.graph)
    readers = consumers(model.graph).get(name, [])
    scales = set()
    for node in readers:
        if node.op_type != "QuantizeLinear" or len(node.input) != 3:
            return None
        scale, zero = constants.get(node.input[1]), constants.get(node.input[2])
        fits = scale is not None and zero is not None and scale.size == 1
        if not fits or zero.dtype != np.int8 or zero.any():  # type: ignore[union-attr]
            return None
        scales.add(float(scale.item()))  # type: ignore[union-attr]
    if len(scales) != 1:
        return None
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    outputs = {node.output[0] for node in readers}
    replace_nodes(graph, [node for node in graph.node if node.output[0] not in outputs])
    for node in graph.node:
        for position, read in enumerate(node.input):
            if read in outputs:
                node.input[position] = name
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    del graph.value_info[:]
    return result, scales.pop()
