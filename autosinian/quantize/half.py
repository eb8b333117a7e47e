"""A float network in fp16, in the ONNX file itself, for engines that keep the types they read."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autosinian.quantize.simplify import consumers

# What these read beside their data are sizes and counts, or scales that must stay float32.
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
_LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
# From 19 on Q/DQ take fp16 scales; before, everything quantized must stay in fp32.
_QUANTIZE_OPSET = 19


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` that computes in fp16: weights, activations and scales.

    The input becomes fp16 too, where it was float; the output stays float32, by one Cast at the
    end. Values beyond fp16's range are clipped to it. Scales of Q/DQ must not be below
    `SMALLEST_NORMAL`, 6e-5: they would lose digits.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if any(node.op_type == "DequantizeLinear" for node in result.graph.node):
        result = _newer(result, _QUANTIZE_OPSET)
    graph = result.graph
    kept = {
        node.input[position]
        for node in graph.node
        for position in _FLOAT32_INPUTS.get(node.op_type, ())
        if position < len(node.input)
    }
    for item in graph.initializer:
        if item.name not in kept:
            item.CopyFrom(_halved(item))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and node.output[0] not in kept:
                attribute.t.CopyFrom(_halved(attribute.t))
            if node.op_type == "Cast" and attribute.name == "to":
                attribute.i = (
                    TensorProto.FLOAT16 if attribute.i == TensorProto.FLOAT else (attribute.i)
                )
    for item in graph.input:
        if item.type.tensor_type.elem_type == TensorProto.FLOAT:
            item.type.tensor_type.elem_type = TensorProto.FLOAT16
    _cast_output(graph)
    del graph.value_info[:]
    onnx.checker.check_model(result)
    return result


def smallest_scale(model: onnx.ModelProto) -> float:
    """The smallest scale of any Q or DQ; infinity where there is none."""
    names = {
        node.input[1]
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }
    scales = [
        float(numpy_helper.to_array(item).min())
        for item in model.graph.initializer
        if item.name in names
    ]
    return min(scales, default=float("inf"))


def _newer(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    version = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if version >= opset:
        return model
    return onnx.version_converter.convert_version(model, opset)


def _halved(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type != TensorProto.FLOAT:
        return tensor
    values = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, tensor.name)


def _cast_output(graph: onnx.GraphProto) -> None:
    """Rename what computes the output, and cast it back to float32 under the output's name."""
    readers = consumers(graph)
    for output in graph.output:
        if output.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        inner = f"{output.name}_half"
        for node in graph.node:
            for position, name in enumerate(node.output):
                if name == output.name:
                    node.output[position] = inner
        for node in readers.get(output.name, []):
            for position, name in enumerate(node.input):
                if name == output.name:
                    node.input[position] = inner
        graph.node.append(
            helper.make_node("Cast", [inner], [output.name], f"{output.name}_cast", to=1)
        )
