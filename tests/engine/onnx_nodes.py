"""One-operator ONNX classifiers, and what onnxruntime makes of a file node by node."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE = 4, 9


def write_node_model(
    path: Path,
    operator: str,
    *constants: Any,
    opset: int = 17,
    spatial: bool = True,
    given: bool = True,
    **attributes: Any,
) -> Path:
    """`operator` on the images (without `spatial`, on their means), then the mean of each channel.

    `constants` are its inputs after the first, None for one left out; `given` is false where the
    images come second.
    """
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    names: list[str] = []
    for position, value in enumerate(constants):
        name = "" if value is None else f"constant_{position}"
        if value is not None:
            initializers.append(numpy_helper.from_array(np.asarray(value), name))
        names.append(name)
    source = "images"
    if not spatial:
        nodes.append(helper.make_node("GlobalAveragePool", ["images"], ["pooled"]))
        nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
        source = "flat"
    inputs = [source, *names] if given else [*names, source]
    nodes.append(helper.make_node(operator, inputs, ["found"], "under_test", **attributes))
    if spatial:
        nodes.append(helper.make_node("GlobalAveragePool", ["found"], ["average"]))
        nodes.append(helper.make_node("Flatten", ["average"], ["logits"]))
    else:
        nodes.append(helper.make_node("Identity", ["found"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "node",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", None])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def logits_of_onnxruntime(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without onnxruntime's own rewrites: a Q/DQ pair is then what ONNX says it is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(None, {"images": inputs})[0]
    return logits
