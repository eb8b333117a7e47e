"""Opening an ONNX file that a user may have given."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import load_external_data_for_model

from autosinian.errors import InputError


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; raise `InputError` in one line where there is none or it is not one."""
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} must be an ONNX file that can be read: {reason}") from error
    except DecodeError as error:
        raise InputError(f"{path} must be an ONNX file, but it does not parse as one") from error
    if has_external_data(model):
        try:
            load_external_data_for_model(model, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"{path} must have its weights beside it, but: {reason}") from error
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path} must be a valid ONNX model, but: {reason}") from error
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path} must be an ONNX model with nodes and outputs, but it has none")
    return model


def has_external_data(model: onnx.ModelProto) -> bool:
    """Whether weights are kept in files beside the model."""
    return any(item.data_location == onnx.TensorProto.EXTERNAL for item in model.graph.initializer)


def check_onnx(path: Path) -> None:
    """Raise `InputError` unless `path` is a valid ONNX model."""
    load_onnx(path)


def load_fp32(path: Path) -> onnx.ModelProto:
    """`load_onnx` for a model that is to be quantized: one that already is raises `InputError`."""
    model = load_onnx(path)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise InputError(f"{path} must be fp32, but is quantized already: give its fp32 source")
    return model
