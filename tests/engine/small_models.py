"""Small ONNX networks for tests, made with `onnx.helper` alone."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10


def write_conv_model(path: Path, *, int8: bool = False, size: int = 16) -> Path:
    """Two convolutions, pooling and a classifier: `N x 3 x size x size -> N x 10`.

    With `int8`, every convolution and matrix product is between Q/DQ pairs: symmetric, per tensor
    for activations and per channel for weights.
    """
    generator = np.random.default_rng(7)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def through_int8(name: str, scale: float) -> str:
        if not int8:
            return name
        scales = [
            constant(f"{name}_s", np.array(scale, np.float32)),
            constant(f"{name}_z", np.array(0, np.int8)),
        ]
        nodes.append(helper.make_node("QuantizeLinear", [name, *scales], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *scales], [f"{name}_d"]))
        return f"{name}_d"

    def weight(name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:]))
        value = (generator.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        if not int8:
            return constant(name, value)
        scale = np.abs(value.reshape(shape[0], -1)).max(axis=1) / 127
        whole = np.round(value / scale.reshape(-1, *[1] * (len(shape) - 1))).astype(np.int8)
        inputs = [
            constant(f"{name}_q", whole),
            constant(f"{name}_s", scale.astype(np.float32)),
            constant(f"{name}_z", np.zeros(shape[0], np.int8)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
        return name

    first = [through_int8("images", 4 / 127), weight("w1", 16, 3, 3, 3)]
    nodes.append(helper.make_node("Conv", first, ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]))
    nodes.append(helper.make_node("Relu", ["c1"], ["r1"]))
    second = [through_int8("r1", 4 / 127), weight("w2", 32, 16, 3, 3)]
    nodes.append(helper.make_node("Conv", second, ["c2"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", ["c2"], ["r2"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["r2"], ["p"]))
    nodes.append(helper.make_node("Flatten", ["p"], ["f"], axis=1))
    last = [through_int8("f", 1 / 127), weight("w3", CLASSES, 32)]
    nodes.append(helper.make_node("Gemm", last, ["logits"], transB=1))
    return _write(path, nodes, constants, ["N", 3, size, size])


def write_label_model(path: Path, size: int = 4) -> Path:
    """`N x 10 x size x size -> N x 10`, the mean of each channel.

    The label of a sample whose brightest channel is `k` is `k`, so labels prove which samples ran.
    """
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["p"]),
        helper.make_node("Flatten", ["p"], ["logits"], axis=1),
    ]
    return _write(path, nodes, [], ["N", CLASSES, size, size])


def write_unknown_operator_model(path: Path) -> Path:
    """A valid ONNX file with an operator that no engine knows."""
    node = helper.make_node("Frobnicate", ["images"], ["logits"], domain="some.where")
    return _write(path, [node], [], ["N", 3, 8, 8])


def label_samples(count: int, size: int = 4) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Samples for `write_label_model` in random order of labels, and their labels."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, CLASSES, count)
    samples = np.zeros((count, CLASSES, size, size), np.float32)
    samples[np.arange(count), labels] = 1
    return samples, labels


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    shape: list[str | int],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("some.where", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path
