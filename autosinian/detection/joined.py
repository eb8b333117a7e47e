"""A detector's ONNX of one output, the form that engines take: a row for each image."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autosinian.detection.export import OUTPUT_NAMES
from autosinian.errors import InputError
from autosinian.quantize.export import BATCH_AXIS, INPUT_NAME, OUTPUT_NAME


def join_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with `boxes` and `scores` as one output, `N x (4 + classes) * boxes`.

    Its input is called as those of classifiers are. Raises `InputError` for other outputs.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if tuple(item.name for item in graph.output) != OUTPUT_NAMES:
        names = ", ".join(item.name for item in graph.output)
        raise InputError(f"a detector's outputs must be {', '.join(OUTPUT_NAMES)}, but are {names}")
    sizes = [[d.dim_value for d in item.type.tensor_type.shape.dim] for item in graph.output]
    length = (sizes[0][1] + sizes[1][1]) * sizes[0][2]
    graph.node.extend(
        [
            helper.make_node("Concat", list(OUTPUT_NAMES), ["joined"], "joined", axis=1),
            helper.make_node("Reshape", ["joined", "row"], [OUTPUT_NAME], "row"),
        ]
    )
    graph.initializer.append(numpy_helper.from_array(np.array([-1, length], np.int64), "row"))
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, [BATCH_AXIS, length])
    )
    _rename_input(graph)
    onnx.checker.check_model(result)
    return result


def _rename_input(graph: onnx.GraphProto) -> None:
    constants = {item.name for item in graph.initializer}
    (images,) = (item for item in graph.input if item.name not in constants)
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == images.name:
                node.input[position] = INPUT_NAME
    images.name = INPUT_NAME
