"""A user's graph in the form of our exports: constants folded, batch norm gone, nodes named."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from autosinian.errors import InputError
from autosinian.quantize.simplify import initializers, replace_nodes

IR_VERSION = 8  # of opset 17, and the newest that TensorRT 8.6 was made for
_OWN_DOMAIN = ""


def fold(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """An equal model whose constants, batch norm and pads are folded, its nodes named.

    Raises `InputError` where onnxruntime cannot read the model.
    """
    folded = _folded_by_onnxruntime(model, label)
    for item in list(folded.opset_import):
        if item.domain != _OWN_DOMAIN:  # onnxruntime lists every domain it knows
            folded.opset_import.remove(item)
    del folded.metadata_props[:]
    folded.ir_version = IR_VERSION
    _split_batch_norm(folded)
    _name_nodes(folded.graph)
    return folded


def _folded_by_onnxruntime(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        # Basic: rewrites within ONNX's own operators, as batch norm into convolutions.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors share no base class but this one
            reason = str(error).strip().partition("\n")[0][:300]
            raise InputError(f"network {label} must run in onnxruntime, but: {reason}") from error
        return onnx.load_model(path)


def _split_batch_norm(model: onnx.ModelProto) -> None:
    """Batch norm that no convolution took in becomes Mul and Add, which every engine fuses."""
    graph = model.graph
    constants = initializers(graph)
    ranks = {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "BatchNormalization" or not all(n in constants for n in node.input[1:]):
            kept.append(node)
            continue
        scale, offset, mean, variance = (
            constants[name].astype(np.float64) for name in node.input[1:]
        )
        epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        result = node.output[0]
        for name, values in (
            (f"{result}.factor", factor),
            (f"{result}.offset", offset - mean * factor),
        ):
            behind = (1,) * (ranks.get(node.input[0], 4) - 2)  # channels are the second axis
            shaped = values.astype(np.float32).reshape(-1, *behind)
            graph.initializer.append(numpy_helper.from_array(shaped, name))
        kept.append(
            onnx.helper.make_node(
                "Mul", [node.input[0], f"{result}.factor"], [f"{result}.scaled"], f"{node.name}.mul"
            )
        )
        kept.append(
            onnx.helper.make_node(
                "Add", [f"{result}.scaled", f"{result}.offset"], [result], f"{node.name}.add"
            )
        )
    replace_nodes(graph, kept)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Every node a name of its own: quantization refers to nodes by it."""
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
        taken.add(node.name)
