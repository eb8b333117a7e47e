"""Encodings put into an fp32 ONNX as explicit Q/DQ, as each engine can read them."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from autosinian.encodings.encoding import Encoding, Encodings
from autosinian.errors import InputError, TrialFailure
from autosinian.quantize.lint import lint
from autosinian.quantize.simplify import consumers, initializers, replace_nodes

ENGINES = ("openvino", "tensorrt")
"""`openvino` takes uint8 activations with any zero point, `tensorrt` int8 with zero point 0."""

_DATA_INPUTS = {
    "Conv": 1,
    "Gemm": 1,
    "Add": 2,
    "AveragePool": 1,
    "GlobalAveragePool": 1,
    "MaxPool": 1,
}
"""Kinds that run in INT8, and how many of their inputs are activations."""


@dataclass(frozen=True)
class _Grid:
    """Scale, zero point and type of one tensor's Q/DQ; per channel where they are arrays."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int8] | NDArray[np.uint8]


def quantize_onnx(model: onnx.ModelProto, encodings: Encodings, *, engine: str) -> onnx.ModelProto:
    """A copy of `model`, from `export_named`, with the ranges of `encodings` as Q/DQ for `engine`.

    A convolution or fully connected layer runs in INT8 where its input and its weight have 8-bit
    encodings, an addition or a pooling where all its inputs have; the rest stays float, biases
    too. For `openvino` the grids are those of the encodings, but asymmetric weights, which no
    engine runs in INT8, are encoded again symmetrically; for `tensorrt` asymmetric and unsigned
    activations are as well, over the greater side of their range. Raises `InputError` for an
    encoding that the file has no tensor for, `TrialFailure` where the result breaks the lint.
    """
    if engine not in ENGINES:
        raise InputError(f"the engine must be one of {', '.join(ENGINES)}, but got `{engine}`")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    _check(graph, encodings)
    chosen = _int8_nodes(graph, encodings)
    wanted: dict[str, None] = {}
    for node in chosen:
        wanted.update((name, None) for name in node.input[: _DATA_INPUTS[node.op_type]])
    constants = initializers(graph)
    added: list[onnx.TensorProto] = []
    dequantizers: list[onnx.NodeProto] = []
    replaced: set[str] = set()
    for node in chosen:
        if node.op_type in ("Conv", "Gemm"):
            name = node.input[1]
            if name not in replaced:
                weight = np.asarray(constants[name], np.float32)
                grid = _weight_grid(weight, encodings.parameters[name])
                added += _quantized_weight(name, weight, grid)
                dequantizers.append(_node("DequantizeLinear", name, f"{name}_quantized", 0))
                replaced.add(name)
            node.input[1] = f"{name}_dequantized"
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for name in wanted:
        grid = _activation_grid(encodings.activations[name][0], engine)
        added += [
            numpy_helper.from_array(grid.scale, f"{name}_scale"),
            numpy_helper.from_array(grid.zero_point, f"{name}_zero_point"),
        ]
        quantizer = helper.make_node(
            "QuantizeLinear",
            [name, f"{name}_scale", f"{name}_zero_point"],
            [f"{name}_quantized"],
            f"{name}_QuantizeLinear",
        )
        pairs[name] = [quantizer, _node("DequantizeLinear", name, f"{name}_quantized", None)]
        for reader in consumers(graph).get(name, []):
            if reader.op_type in _DATA_INPUTS:
                for position, read in enumerate(reader.input):
                    if read == name:
                        reader.input[position] = f"{name}_dequantized"
    _insert(graph, dequantizers, pairs)
    kept = [item for item in graph.initializer if item.name not in replaced]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *added])
    onnx.checker.check_model(result)
    floats = frozenset(
        node.name
        for node in graph.node
        if node.op_type in ("Conv", "Gemm") and not node.input[1].endswith("_dequantized")
    )
    problems = lint(result, signed=engine == "tensorrt", in_float=floats)
    if problems:
        raise TrialFailure("quantize", f"{problems[0]} ({len(problems)} such problems)")
    return result


def _check(graph: onnx.GraphProto, encodings: Encodings) -> None:
    tensors = {name for node in graph.node for name in node.output}
    tensors.update(item.name for item in graph.input)
    weights = {item.name for item in graph.initializer}
    for given, known in ((encodings.activations, tensors), (encodings.parameters, weights)):
        for name in given:
            if name not in known:
                raise InputError(
                    f"encodings must belong to the ONNX model, but it has no `{name}`: were they "
                    "made for another?"
                )


def _int8_nodes(graph: onnx.GraphProto, encodings: Encodings) -> list[onnx.NodeProto]:
    def rounded(name: str) -> bool:
        items = encodings.activations.get(name) or encodings.parameters.get(name)
        return items is not None and items[0].is_int8

    chosen = []
    for node in graph.node:
        inputs = list(node.input[: _DATA_INPUTS.get(node.op_type, 0)])
        if node.op_type in ("Conv", "Gemm"):
            inputs.append(node.input[1])
        if inputs and all(rounded(name) for name in inputs):
            chosen.append(node)
    return chosen


def _activation_grid(encoding: Encoding, engine: str) -> _Grid:
    if encoding.highest <= 127 and encoding.lowest >= -128 and encoding.is_symmetric:
        return _Grid(np.array(encoding.scale, np.float32), np.array(0, np.int8))
    if engine == "tensorrt":
        bound = max(encoding.maximum, -encoding.minimum)
        return _Grid(np.array(bound / 127, np.float32), np.array(0, np.int8))
    return _Grid(np.array(encoding.scale, np.float32), np.array(-encoding.offset, np.uint8))


def _weight_grid(weight: NDArray[np.float32], encodings: tuple[Encoding, ...]) -> _Grid:
    """Signed and symmetric, one scale per channel: equal ones where the encoding is one."""
    scales = [
        item.scale
        if item.is_symmetric and item.highest <= 127
        else max(item.maximum, -item.minimum) / 127
        for item in encodings
    ]
    column = np.broadcast_to(np.array(scales, np.float32), len(weight)).copy()
    return _Grid(column, np.zeros(len(weight), np.int8))


def _quantized_weight(
    name: str, weight: NDArray[np.float32], grid: _Grid
) -> list[onnx.TensorProto]:
    scales = grid.scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    whole = np.clip(np.rint(weight.astype(np.float64) / scales), -128, 127).astype(np.int8)
    return [
        numpy_helper.from_array(whole, f"{name}_quantized"),
        numpy_helper.from_array(grid.scale, f"{name}_scale"),
        numpy_helper.from_array(grid.zero_point, f"{name}_zero_point"),
    ]


def _node(operator: str, name: str, source: str, axis: int | None) -> onnx.NodeProto:
    node = helper.make_node(
        operator,
        [source, f"{name}_scale", f"{name}_zero_point"],
        [f"{name}_dequantized"],
        f"{name}_{operator}",
    )
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    return node


def _insert(
    graph: onnx.GraphProto,
    dequantizers: list[onnx.NodeProto],
    pairs: dict[str, list[onnx.NodeProto]],
) -> None:
    """Q/DQ right behind what gives their tensor, so that the nodes stay in order."""
    nodes = list(dequantizers)
    for item in graph.input:
        nodes += pairs.get(item.name, [])
    for node in graph.node:
        nodes.append(node)
        for name in node.output:
            nodes += pairs.get(name, [])
    replace_nodes(graph, nodes)
