"""A tiny classifier as a user's ONNX file, and ways to spoil it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
CLASSES = 10
Change = Callable[[onnx.ModelProto], object]


def make() -> onnx.ModelProto:
    """Conv, batch norm, ReLU, global average pooling, Reshape by its own shape, Gemm.

    `x`, `N x 3 x 16 x 16`, to `y`, `N x 10`; opset 13, random weights, always the same.
    """
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        values = generator.standard_normal(shape).astype(np.float32)
        return numpy_helper.from_array(values, name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "offset", "mean", "var"], ["b"]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Shape", ["p"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["size"], axis=0),
        helper.make_node("Reshape", ["p", "size"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "bias"], ["y"]),
    ]
    variance = numpy_helper.from_array(np.full(8, 2, np.float32), "var")
    weights = [weight("w", 8, 3, 3, 3), weight("v", 8, CLASSES), weight("bias", CLASSES)]
    weights += [weight("scale", 8), weight("offset", 8), weight("mean", 8), variance]
    weights.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    weights.append(numpy_helper.from_array(np.array([-1], np.int64), "rest"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write(path: Path, change: Change = lambda model: None) -> Path:
    """The file, changed in place before."""
    model = make()
    change(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def set_shape(model: onnx.ModelProto, *shape: int | str) -> None:
    """Give the input another shape."""
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)))
