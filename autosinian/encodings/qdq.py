"""Encodings put into an fp32 ONNX as explicit Q/DQ, as each engine can read them."""

from collections.abc import Iterator
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


def quantize_onnx(
    model: onnx.ModelProto, encodings: Encodings, *, engine: str, fused_adds: bool = False
) -> onnx.ModelProto:
    """A copy of `model`, from `export_named`, with the ranges of `encodings` as Q/DQ for `engine`.

    A convolution or fully connected layer runs in INT8 where its input and its weight have 8-bit
    encodings, an addition or a pooling where all its inputs have; the rest stays float, biases
    too. For `openvino` the grids are those of the encodings: a layer with asymmetric weights then
    reads INT8 and computes in float, as OpenVINO has no other way. For `tensorrt`, which knows no
    zero points, asymmetric weights and asymmetric or unsigned activations are encoded again
    symmetrically, over the greater side of their range. With `fused_adds` what a
    convolution gives to an addition alone is not rounded, if the addition's other input is: then
    TensorRT adds within the convolution
    (https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html,
    Q/DQ placement). Raises `InputError` for an
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
    for name in _added_within(graph, chosen) if fused_adds else ():
        wanted.pop(name, None)
    constants = initializers(graph)
    added: list[onnx.TensorProto] = []
    dequantizers: list[onnx.NodeProto] = []
    replaced: set[str] = set()
    for node in chosen:
        if node.op_type in ("Conv", "Gemm"):
            name = node.input[1]
            if name not in replaced:
                weight = np.asarray(constants[name], np.float32)
                grid = _weight_grid(weight, encodings.parameters[name], engine)
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


def _added_within(graph: onnx.GraphProto, chosen: list[onnx.NodeProto]) -> Iterator[str]:
    """Of each addition in INT8 the input that comes from a convolution in INT8 and goes nowhere
    else; of two such the first."""
    readers = consumers(graph)
    convolutions = {node.output[0] for node in chosen if node.op_type == "Conv"}
    for node in chosen:
        if node.op_type == "Add":
            alone = [
                name for name in node.input if name in convolutions and len(readers[name]) == 1
            ]
            yield from alone[:1]


def _activation_grid(encoding: Encoding, engine: str) -> _Grid:
    if encoding.highest <= 127 and encoding.lowest >= -128 and encoding.is_symmetric:
        return _Grid(np.array(encoding.scale, np.float32), np.array(0, np.int8))
    if engine == "tensorrt":
        bound = max(encoding.maximum, -encoding.minimum)
        return _Grid(np.array(bound / 127, np.float32), np.array(0, np.int8))
    return _Grid(np.array(encoding.scale, np.float32), np.array(-encoding.offset, np.uint8))


def asymmetric_layers(encodings: Encodings) -> list[str]:
    """Layers whose 8-bit weights have a zero point of their own, by name."""
    return [
        name.removesuffix(".weight")
        for name, items in encodings.parameters.items()
        if name.endswith(".weight") and any(_has_zero_point(item) for item in items)
    ]


def _has_zero_point(encoding: Encoding) -> bool:
    return encoding.is_int8 and not encoding.is_symmetric


def _weight_grid(
    weight: NDArray[np.float32], encodings: tuple[Encoding, ...], engine: str
) -> _Grid:
    """Signed, one scale per channel: equal ones where the encoding is one."""
    grids = [_weight_step(item, engine) for item in encodings]
    scales = np.array([scale for scale, _ in grids], np.float32)
    points = np.array([point for _, point in grids], np.int8)
    channels = len(weight)
    return _Grid(np.broadcast_to(scales, channels).copy(), np.broadcast_to(points, channels).copy())


def _weight_step(encoding: Encoding, engine: str) -> tuple[float, int]:
    """Scale and zero point of int8."""
    if encoding.is_symmetric and encoding.highest <= 127:
        return encoding.scale, 0
    if engine == "openvino" and _has_zero_point(encoding):
        return encoding.scale, -128 - encoding.lowest
    return max(encoding.maximum, -encoding.minimum) / 127, 0


def _quantized_weight(
    name: str, weight: NDArray[np.float32], grid: _Grid
) -> list[onnx.TensorProto]:
    shape = (-1, *[1] * (weight.ndim - 1))
    scales = grid.scale.astype(np.float64).reshape(shape)
    points = grid.zero_point.astype(np.float64).reshape(shape)
    whole = np.rint(weight.astype(np.float64) / scales) + points
    return [
        numpy_helper.from_array(np.clip(whole, -128, 127).astype(np.int8), f"{name}_quantized"),
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
