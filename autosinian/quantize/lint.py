"""Rules that an ONNX file must keep for every engine to read it as it is meant.

TensorRT breaks the first three in silence or with a warning and computes nonsense: it ignores
uint8 zero points, and TensorRT 8.6 reads ReduceMean with axes as an input as a mean over all axes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from autosinian.quantize.onnx_file import load_onnx
from autosinian.quantize.simplify import consumers, initializers


def lint_onnx(path: Path) -> list[str]:
    """What is wrong with an ONNX file, one line each; empty where it keeps every rule.

    Raises `InputError` where the file is no ONNX model.
    """
    return lint(load_onnx(path))


def lint(
    model: onnx.ModelProto, *, signed: bool = True, in_float: frozenset[str] = frozenset()
) -> list[str]:
    """`lint_onnx` for a model in memory. One without Q/DQ is only checked as fp32.

    `signed=False` allows uint8 activations and zero points, also of weights, which OpenVINO alone
    reads as they are meant; nodes named `in_float` are left in float on purpose.
    """
    graph = model.graph
    problems = list(_reduce_axes(graph))
    problems += [
        f"{node.op_type} `{node.name}` must be folded into a convolution or quantized with int8"
        for node in graph.node
        if node.op_type in ("BatchNormalization", "DynamicQuantizeLinear", "QLinearConv")
    ]
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        problems += [*_parameters(graph, signed), *_pairs(graph), *_covered(graph, in_float)]
    return problems


def _reduce_axes(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        if node.op_type.startswith("Reduce") and len(node.input) > 1:
            yield f"{node.op_type} `{node.name}` must have its axes as an attribute (opset <= 17)"


def _parameters(graph: onnx.GraphProto, signed: bool) -> Iterator[str]:
    """Scale and zero point are initializers; the zero point is an int8 zero, the scale positive."""
    constants = initializers(graph)
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        label = f"{node.op_type} `{node.name}`"
        if len(node.input) < 3 or not node.input[2]:
            yield f"{label} must have an explicit zero point"
            continue
        scale, zero_point = constants.get(node.input[1]), constants.get(node.input[2])
        if scale is None or zero_point is None:
            yield f"{label} must be fed scale and zero point by initializers, with no node between"
            continue
        per_channel = node.op_type == "DequantizeLinear" and node.input[0] in constants
        if not signed and not per_channel and zero_point.dtype == np.uint8:
            pass
        elif zero_point.dtype != np.int8:
            yield f"{label} must be int8, but its zero point is {zero_point.dtype}"
        elif zero_point.any() and (signed or not per_channel):
            yield f"{label} must be symmetric, but a zero point is not 0"
        if not (np.isfinite(scale) & np.greater(scale, 0)).all():
            yield f"{label} must have positive scales"
        if scale.size != 1 and not per_channel:
            yield f"{label} must have one scale for the whole activation"


def _pairs(graph: onnx.GraphProto) -> Iterator[str]:
    """A Q feeds only DQs with its own scale; a DQ reads a Q or an int8 weight."""
    constants = initializers(graph)
    readers = consumers(graph)
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            following = readers.get(node.output[0], [])
            if not following or any(item.op_type != "DequantizeLinear" for item in following):
                yield f"QuantizeLinear `{node.name}` must feed DequantizeLinear and nothing else"
        elif node.op_type == "DequantizeLinear":
            if not readers.get(node.output[0]):
                yield f"DequantizeLinear `{node.name}` must be used"
            source = producers.get(node.input[0])
            if source is None:
                weight = constants.get(node.input[0])
                if weight is None or weight.dtype != np.int8:
                    yield f"DequantizeLinear `{node.name}` must read an int8 weight"
            elif source.op_type != "QuantizeLinear":
                yield f"DequantizeLinear `{node.name}` must read a QuantizeLinear"
            elif not np.array_equal(
                constants.get(source.input[1], np.nan), constants.get(node.input[1], np.inf)
            ):
                yield f"DequantizeLinear `{node.name}` must have the scale of its QuantizeLinear"


def _covered(graph: onnx.GraphProto, in_float: frozenset[str]) -> Iterator[str]:
    """In a quantized file no convolution or fully connected layer is left in float."""
    dequantized = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.name not in in_float:
            floats = [name for name in node.input[:2] if name not in dequantized]
            if floats:
                yield f"{node.op_type} `{node.name}` must run in INT8, but `{floats[0]}` is float"
