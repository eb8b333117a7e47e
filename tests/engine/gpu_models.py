"""Small ONNX networks with what matters on a GPU, made and run with `onnx` alone.

Neither torch nor onnxruntime is needed: machines with GPUs may have neither.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from autosinian.quantize.placement import quantized_nodes, quantized_tensors

CLASSES = 12
_OPSET = 17


class _Graph:
    """Nodes and weights as they are added; every method gives its output's name."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._generator = np.random.default_rng(seed)

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], output, **attributes))
        return output

    def weight(self, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        value = self._generator.standard_normal(shape) * np.sqrt(2 / fan_in)
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def constant(self, value: float) -> str:
        name = f"constant{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def conv(self, given: str, into: int, out: int, kernel: int, stride: int = 1) -> str:
        return self._conv(given, out, into, kernel, stride, 1)

    def depthwise(self, given: str, channels: int, kernel: int, stride: int = 1) -> str:
        return self._conv(given, channels, 1, kernel, stride, channels)

    def _conv(self, given: str, out: int, into: int, kernel: int, stride: int, group: int) -> str:
        half = kernel // 2
        return self.add(
            "Conv",
            given,
            self.weight(out, into, kernel, kernel),
            self.weight(out),
            group=group,
            kernel_shape=[kernel, kernel],
            pads=[half] * 4,
            strides=[stride, stride],
        )

    def model(self, channels: int, size: int) -> onnx.ModelProto:
        given: list[str | int | None] = ["N", channels, size, size]
        result: list[str | int | None] = ["N", CLASSES]
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, given)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, result)],
            self.weights,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        return model


def residual_model(size: int = 24) -> onnx.ModelProto:
    """A ResNet in small: stem, max pooling, a bottleneck with a residual, mean, classifier."""
    graph = _Graph(1)
    stem = graph.add("Relu", graph.conv("images", 3, 16, 3, 2))
    pool = graph.add("MaxPool", stem, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    first = graph.add("Relu", graph.conv(pool, 16, 8, 1))
    second = graph.add("Relu", graph.conv(first, 8, 8, 3))
    third = graph.conv(second, 8, 16, 1)
    block = graph.add("Relu", graph.add("Add", third, pool))
    last = graph.add("Relu", graph.conv(block, 16, 32, 3, 2))
    mean = graph.add("Flatten", graph.add("GlobalAveragePool", last), axis=1)
    graph.add(
        "Gemm", mean, graph.weight(CLASSES, 32), graph.weight(CLASSES), name="logits", transB=1
    )
    return graph.model(3, size)


def mobile_model(size: int = 20) -> onnx.ModelProto:
    """A MobileNetV3 in small: h-swish, depthwise, squeeze-and-excite, a residual, classifier."""
    graph = _Graph(2)
    stem = graph.add("HardSwish", graph.conv("images", 3, 16, 3, 2))
    wide = graph.add("HardSwish", graph.conv(stem, 16, 32, 1))
    deep = graph.add("HardSwish", graph.depthwise(wide, 32, 5))
    mean = graph.add("GlobalAveragePool", deep)
    few = graph.add("Relu", graph.conv(mean, 32, 8, 1))
    gate = graph.add("HardSigmoid", graph.conv(few, 8, 32, 1), alpha=1 / 6, beta=0.5)
    narrow = graph.conv(graph.add("Mul", deep, gate), 32, 16, 1)
    block = graph.add("Add", narrow, stem)
    lower, upper = graph.constant(0), graph.constant(6)
    last = graph.add("Clip", graph.conv(block, 16, 48, 1), lower, upper)
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", last), axis=1)
    graph.add(
        "Gemm", flat, graph.weight(CLASSES, 48), graph.weight(CLASSES), name="logits", transB=1
    )
    return graph.model(3, size)


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with Q/DQ where our own quantizer puts them, ranges from 16 normal samples."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    names = quantized_tensors(graph)
    largest = _largest(model, names)
    weights = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    made: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: NDArray[np.generic]) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def through(name: str) -> str:
        if name in made:
            return made[name]
        made[name] = f"{name}_dq"
        if name in weights:
            value = weights[name]
            scale = np.abs(value.reshape(len(value), -1)).max(axis=1) / np.float32(127)
            whole = np.rint(value / scale.reshape(-1, *[1] * (value.ndim - 1))).astype(np.int8)
            inputs = [
                constant(f"{name}_int8", whole),
                constant(f"{name}_scale", scale.astype(np.float32)),
                constant(f"{name}_zero", np.zeros(len(value), np.int8)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [made[name]], axis=0))
        else:
            parameters = [
                constant(f"{name}_scale", np.array(largest[name] / 127, np.float32)),
                constant(f"{name}_zero", np.array(0, np.int8)),
            ]
            q = [f"{name}_q"]
            nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], q, f"{name}_q"))
            nodes.append(
                helper.make_node("DequantizeLinear", [*q, *parameters], [made[name]], f"{name}_dq")
            )
        return made[name]

    chosen = {node.name for node in quantized_nodes(graph)}
    for node in graph.node:
        if node.name in chosen:
            data = 2 if node.op_type in ("Conv", "Gemm") else len(node.input)
            for position in range(data):
                node.input[position] = through(node.input[position])
        nodes.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(result)
    return result


def written(model: onnx.ModelProto, path: Path) -> Path:
    """`model` in a file."""
    onnx.save(model, path)
    return path


def reference_logits(model: onnx.ModelProto, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    """What `onnx` itself computes, slowly."""
    newer = onnx.ModelProto()
    newer.CopyFrom(model)
    newer.opset_import[0].version = 19  # the first whose Q/DQ it knows; all else is as in 17
    name = model.graph.input[0].name
    evaluator: Any = ReferenceEvaluator(newer)
    logits: NDArray[np.float32] = evaluator.run(None, {name: inputs})[0]
    return logits


def _largest(model: onnx.ModelProto, names: list[str]) -> dict[str, float]:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    samples = np.random.default_rng(3).standard_normal((16, *shape)).astype(np.float32)
    inner = [name for name in names if name != "images"]
    evaluator: Any = ReferenceEvaluator(_with_outputs(model, inner))
    values = evaluator.run(None, {"images": samples})
    found = dict(zip(inner, values[1:], strict=True)) | {"images": samples}
    return {name: float(np.abs(found[name]).max()) for name in names}


def _with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    return result
