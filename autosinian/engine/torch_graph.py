"""An ONNX classifier as a torch module: traced once, so that it compiles and can be captured.

Its constants are buffers, so `half()` and `to(memory_format=...)` do what they do for any module.
Q/DQ files run as fake quantization with the values that ONNX prescribes: the reference for what
other engines make of the same file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx

from autosinian.engine.torch_fusion import fuse_activations
from autosinian.engine.torch_operators import OPERATORS
from autosinian.engine.torch_values import Constant, UnsupportedError, Value
from autosinian.errors import InputError, TrialFailure

OLDEST_OPSET = 13
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class TorchNetwork:
    """`module` takes `N x C x H x W` and gives `N x classes`; `input_shape` is `C x H x W`."""

    module: fx.GraphModule
    input_shape: tuple[int, int, int]
    classes: int


def read_onnx(path: Path) -> bytes:
    """The bytes of a valid ONNX file, with the weights that it keeps beside it.

    Raises `InputError` for any other file.
    """
    if not path.is_file():
        raise InputError(f"model {path} must be an ONNX file, but there is no such file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise InputError(f"model {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf's errors have no base of their own
        raise InputError(f"model {path} must be an ONNX file, but it cannot be parsed") from error
    return bytes(model.SerializeToString(deterministic=True))


def torch_network(content: bytes, told: str) -> TorchNetwork:
    """The network of the ONNX bytes `content`; `told` is what messages call it.

    Raises `InputError` where it is no classifier, `TrialFailure` that names the operator where one
    is not supported.
    """
    model = onnx.load_model_from_string(content)
    opsets = {item.domain: item.version for item in model.opset_import}
    opset = max((opsets.get(domain, 0) for domain in _STANDARD), default=0)
    if opset < OLDEST_OPSET:
        raise TrialFailure(
            "build",
            f"{told} must have operator set {OLDEST_OPSET} or newer, but has {opset}; convert it "
            "with onnx.version_converter",
        )
    input_shape, classes = _classifier_shape(model, told)
    fuse_activations(model.graph)
    module = fx.symbolic_trace(_Interpreter(model.graph, opset, told))
    module.graph.eliminate_dead_code()
    module.recompile()
    module.requires_grad_(False)
    return TorchNetwork(module.eval(), input_shape, classes)


def reference_logits(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What an ONNX file means: its logits, `n x classes`, of `inputs`, `n x C x H x W`.

    Computed in fp32 on the processor; Q/DQ pairs round to the nearest even and saturate.
    """
    network = torch_network(read_onnx(model), f"model {model}")
    with torch.inference_mode():
        logits: NDArray[np.float32] = network.module(torch.from_numpy(np.array(inputs))).numpy()
    return logits


class _Interpreter(torch.nn.Module):
    """Runs a graph node by node; only ever traced."""

    def __init__(self, graph: onnx.GraphProto, opset: int, told: str) -> None:
        super().__init__()
        self.graph, self.opset, self.told = graph, opset, told
        self.constants: dict[str, Constant] = {
            item.name: numpy_helper.to_array(item) for item in graph.initializer
        }

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        names = {item.name for item in self.graph.initializer}
        entry = next(item.name for item in self.graph.input if item.name not in names)
        values: dict[str, Value] = {**self.constants, entry: images, "": None}
        for node in self.graph.node:
            inputs = [values[name] for name in node.input]
            if all(value is None or isinstance(value, np.ndarray) for value in inputs):
                values.update(self._folded(node, inputs))
            else:
                values[node.output[0]] = self._traced(node, inputs)
        result = values[self.graph.output[0].name]
        if not isinstance(result, torch.Tensor | fx.Proxy):
            raise InputError(f"the logits of {self.told} must depend on its input, but do not")
        return result

    def _folded(self, node: onnx.NodeProto, inputs: list[Value]) -> dict[str, Value]:
        """A node of constants alone, computed by ONNX's own reference."""
        try:
            evaluator = ReferenceEvaluator(node, opsets={"": self.opset})
            given = {name: value for name, value in zip(node.input, inputs, strict=True) if name}
            outputs: Any = evaluator.run(None, given)
        except Exception as error:  # any operator, and any way in which it can fail
            raise self._unsupported(node, str(error).partition("\n")[0]) from error
        return {name: np.asarray(value) for name, value in zip(node.output, outputs, strict=False)}

    def _traced(self, node: onnx.NodeProto, inputs: list[Value]) -> torch.Tensor:
        operator = OPERATORS.get(node.op_type) if node.domain in _STANDARD else None
        if operator is None:
            raise self._unsupported(node, "it is not known here")
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        while inputs and inputs[-1] is None:
            inputs.pop()
        try:
            return operator(attributes, *inputs)
        except (UnsupportedError, TypeError, KeyError) as error:
            raise self._unsupported(node, str(error)) from error

    def _unsupported(self, node: onnx.NodeProto, reason: str) -> TrialFailure:
        where = f"{node.domain}." if node.domain else ""
        return TrialFailure(
            "build",
            f"the PyTorch engine cannot run operator {where}{node.op_type} of {self.told} "
            f"(node {node.name or node.output[0]}): {reason}",
        )


def _classifier_shape(model: onnx.ModelProto, told: str) -> tuple[tuple[int, int, int], int]:
    """`C x H x W` and the number of classes of a network `N x C x H x W -> N x classes`."""
    constants = {item.name for item in model.graph.initializer}
    inputs = [_sizes(item) for item in model.graph.input if item.name not in constants]
    outputs = [_sizes(item) for item in model.graph.output]
    if len(inputs) == len(outputs) == 1 and len(inputs[0]) == 4 and None in (*outputs[0], None):
        inferred = onnx.shape_inference.infer_shapes(model).graph.output
        outputs = [_sizes(item) for item in inferred]
    if len(inputs) == len(outputs) == 1 and len(inputs[0]) == 4 and len(outputs[0]) == 2:
        channels, height, width = inputs[0][1:]
        classes = outputs[0][1]
        if channels and height and width and classes:
            return (channels, height, width), classes
    raise InputError(
        f"{told} must have one input N x C x H x W and one output N x classes, got "
        f"inputs {inputs}, outputs {outputs}"
    )


def _sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    return [
        item.dim_value if item.HasField("dim_value") else None
        for item in value.type.tensor_type.shape.dim
    ]
