"""What a user's ONNX may hold: inference in float32 with ONNX's own operators, nothing else."""

import onnx
from onnx import TensorProto

from autosinian.errors import InputError

_OWN_DOMAINS = ("", "ai.onnx")
_CONTROL_FLOW = ("If", "Loop", "Scan")
_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)
_OTHER_FLOATS = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}


def refuse_unsupported(model: onnx.ModelProto, label: str) -> None:
    """Raise `InputError` naming the first thing in `model` that cannot be searched."""
    for node in model.graph.node:
        name = f"{node.op_type} `{node.name or node.output[0]}`"
        if node.op_type in _QUANTIZED:
            raise InputError(
                f"network {label} must be fp32, but is quantized already ({name}): give its fp32 "
                "source; INT8 is made by the search"
            )
        if node.domain not in _OWN_DOMAINS:
            raise InputError(
                f"network {label} must have ONNX's own operators only, but {name} is of "
                f"`{node.domain}`; export it without optimizing for one runtime"
            )
        if node.op_type in _CONTROL_FLOW:
            raise InputError(
                f"network {label} must have no control flow, but has {name}; export it with fixed "
                "branches"
            )
        if node.op_type == "BatchNormalization" and _trains(node):
            raise InputError(
                f"network {label} must be exported for inference, but {name} is in training mode"
            )
    for tensor in model.graph.initializer:
        if tensor.data_type in _OTHER_FLOATS:
            raise InputError(
                f"network {label} must have float32 weights, but `{tensor.name}` is "
                f"{_OTHER_FLOATS[tensor.data_type]}; give its fp32 source"
            )
    if model.graph.sparse_initializer:
        raise InputError(f"network {label} must have dense weights, but some are sparse")


def _trains(node: onnx.NodeProto) -> bool:
    modes = [item.i for item in node.attribute if item.name == "training_mode"]
    return any(modes) or len([name for name in node.output if name]) > 1
