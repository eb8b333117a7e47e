"""A user's graph in the opset of our exports, whichever it came in."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import numpy_helper, version_converter

from autosinian.errors import InputError
from autosinian.quantize.export import OPSET


def to_opset(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """A copy of `model` in `OPSET`. Raises `InputError` naming an operator without equal there."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = onnx.inliner.inline_local_functions(copy)
    opset = next((item.version for item in copy.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset == OPSET:
        return copy
    if opset > OPSET:
        _downgrade(copy, opset, label)
        return copy
    try:
        return version_converter.convert_version(copy, OPSET)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"network {label} must convert to ONNX opset {OPSET}, but it is of {opset}: {reason}; "
            f"export it with opset {OPSET}"
        ) from error


def _downgrade(model: onnx.ModelProto, opset: int, label: str) -> None:
    """Rewrite what newer opsets say otherwise, in place; onnx's converter knows too little of it.

    Inputs became what attributes were (Reduce*), attributes came with defaults that say the old.
    """
    constants = dict(_constants(model.graph))
    for node in model.graph.node:
        name = f"{node.op_type} `{node.name or node.output[0]}`"
        told = f"network {label} must be of ONNX opset {OPSET}, but it is of {opset} and {name}"
        try:
            schema = onnx.defs.get_schema(node.op_type, OPSET, "")
        except onnx.defs.SchemaError as error:
            raise InputError(f"{told} is newer; export it with opset {OPSET}") from error
        if node.op_type.startswith("Reduce") and "axes" in schema.attributes:
            if len(node.input) > 1 and node.input[1]:
                if node.input[1] not in constants:
                    raise InputError(f"{told} computes its axes; export it with opset {OPSET}")
                axes = [int(axis) for axis in constants[node.input[1]].reshape(-1)]
                if axes:
                    node.attribute.append(onnx.helper.make_attribute("axes", axes))
            del node.input[1:]
        for item in list(node.attribute):
            if item.name not in schema.attributes:
                node.attribute.remove(item)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for item in graph.initializer:
        yield item.name, numpy_helper.to_array(item)
    for node in graph.node:
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value":
                yield node.output[0], numpy_helper.to_array(item.t)
            elif node.op_type == "Constant" and item.name == "value_ints":
                yield node.output[0], np.array(item.ints, np.int64)
